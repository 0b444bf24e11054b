//! The service as a whole: it runs until a signal, then shuts down in order.
//!
//! The steps of the shutdown, each after the one before:
//!
//! 1. `/readyz` is 503; deliveries are still accepted during the drain delay.
//! 2. The listeners stop accepting and finish the requests in flight.
//! 3. The inbox closes, and the committers finish what is queued.
//! 4. The drainer ends, the pool closes, traces are flushed.
//!
//! A task that fails, a second signal and the deadline abort it at any time.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use sqlx::PgPool;
use tokio::{
    select,
    sync::oneshot,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    inbox::Inbox,
    lifecycle::{Signals, Stage, Tasks},
    store::Pool,
    telemetry::Traces,
};

/// A service that was built and may be running.
pub(super) struct Service {
    pub(super) tasks: Tasks,
    /// `None` once it runs.
    pub(super) start: Option<Start>,
    pub(super) inbox: Inbox,
    pub(super) pool: PgPool,
    pub(super) shared_pool: Pool,
    pub(super) traces: Arc<Traces>,
    /// Makes the service not ready.
    pub(super) is_stopping: Arc<AtomicBool>,
    pub(super) drain_delay: Duration,
    pub(super) shutdown_timeout: Duration,
}

/// What a service needs to start to serve.
pub(super) struct Start {
    /// Completes after the first attempt to bring the tables up to date, unless that shows that waiting is of no use:
    /// then the task fails.
    pub(super) first_attempt: oneshot::Receiver<()>,
    pub(super) public: Listener,
    pub(super) admin: Listener,
}

/// Bound, not accepting until `serve` is polled.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) serve: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

impl Service {
    /// Serves until a signal. `started` is called with the addresses of the public and the admin listener once they
    /// accept.
    ///
    /// # Errors
    ///
    /// A task failed.
    pub(super) async fn run(
        &mut self,
        signals: &mut Signals,
        started: impl FnOnce(SocketAddr, SocketAddr),
    ) -> anyhow::Result<()> {
        let drain_delay_ms = self.drain_delay.as_millis() as u64;
        select! {
            error = self.serve(started) => Err(error),
            signal = signals.next() => {
                tracing::info!(signal, drain_delay_ms, "stopping");
                Ok(())
            }
        }
    }

    /// Serves until a task fails.
    async fn serve(&mut self, started: impl FnOnce(SocketAddr, SocketAddr)) -> anyhow::Error {
        if let Some(Start { first_attempt, public, admin }) = self.start.take() {
            select! {
                error = self.tasks.failed() => return error,
                // a database that is up is ready before the first delivery
                Ok(()) = first_attempt => {}
            }
            tracing::info!(public.address = %public.address, admin.address = %admin.address, "serving");
            started(public.address, admin.address);
            self.tasks.spawn("public listener", Stage::Intake, public.serve);
            self.tasks.spawn("admin listener", Stage::Intake, admin.serve);
        }
        self.tasks.failed().await
    }

    /// Shuts down in order: see the module.
    ///
    /// # Errors
    ///
    /// A task failed, the deadline passed, or a second signal came: what was in flight is aborted.
    pub(super) async fn shut_down(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let result = select! {
            result = self.stop_in_order() => result,
            signal = signals.next() => Err(anyhow!("ended at once by a second signal ({signal})")),
        };
        match &result {
            Ok(()) => tracing::info!("stopped"),
            Err(_) => self.tasks.abort(),
        }
        result
    }

    async fn stop_in_order(&mut self) -> anyhow::Result<()> {
        self.is_stopping.store(true, Ordering::Relaxed);
        select! {
            () = sleep(self.drain_delay) => {}
            error = self.tasks.failed() => return Err(error),
        }
        let finished = timeout(self.shutdown_timeout, async {
            self.tasks.stop(Stage::Intake).await?;
            self.inbox.close();
            self.tasks.stop(Stage::Commit).await?;
            self.tasks.stop(Stage::Drain).await
        });
        finished.await.context("the requests in flight did not finish within server.shutdown_timeout_ms")??;
        self.shared_pool.close().await;
        self.pool.close().await;
        let traces = Arc::clone(&self.traces);
        spawn_blocking(move || traces.stop()).await?;
        Ok(())
    }
}
