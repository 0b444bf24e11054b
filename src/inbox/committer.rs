//! Makes batches durable.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;

use super::{
    batcher::Batch,
    context::{CommitError, Context, FairSpool, WriteError},
    in_flight::InFlight,
    queue::QueuedDelivery,
    write_timer::WriteTimer,
};
use crate::{
    delivery::{Delivery, Outcome},
    store::{Destination, Writer},
};

pub(super) struct Committer {
    in_flight: Arc<InFlight>,
    next: oneshot::Receiver<Batch>,
    spool: Option<Arc<FairSpool>>,
    writer: Writer,
    timer: WriteTimer,
    context: Arc<Context>,
}

impl Committer {
    /// It waits for its first batch from now on.
    pub(super) fn new(
        in_flight: Arc<InFlight>,
        spool: Option<Arc<FairSpool>>,
        writer: Writer,
        context: Arc<Context>,
    ) -> Self {
        let next = in_flight.add_idle();
        Self { in_flight, next, spool, writer, timer: WriteTimer::new(), context }
    }

    /// Runs until there are no more batches.
    pub(super) async fn run(mut self) {
        while let Ok(batch) = (&mut self.next).await {
            self.commit(batch).await;
        }
    }

    async fn commit(&mut self, Batch { deliveries, bookings, .. }: Batch) {
        let metrics = Arc::clone(&self.context.metrics);
        let began = Instant::now();
        metrics.batch_size.observe(deliveries.len() as f64);
        // the memory permits are held until the outcomes are sent
        let (deliveries, callers): (Vec<_>, Vec<_>) = deliveries
            .into_iter()
            .map(|QueuedDelivery { delivery, since, outcome, memory, .. }| {
                metrics.phases.queue.observe((began - since).as_secs_f64());
                (delivery, (outcome, memory))
            })
            .unzip();
        let outcomes = match self.make_durable(deliveries).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                log_not_durable(&error, callers.len());
                vec![Outcome::NotDurable; callers.len()]
            }
        };
        let took = began.elapsed();
        let is_in_postgres = !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Spooled | Outcome::NotDurable));
        metrics.phases.write.observe(took.as_secs_f64());
        for ((caller, _), outcome) in callers.into_iter().zip(outcomes) {
            // the caller may be gone
            let _ = caller.send(outcome);
        }
        // afterwards, so that what these callers deliver next may be in the next batch
        self.next = self.in_flight.end(&bookings, is_in_postgres.then_some(took));
    }

    async fn make_durable(&mut self, deliveries: Vec<Delivery>) -> Result<Vec<Outcome>, CommitError> {
        let Some(fair_spool) = self.spool.clone() else {
            return Ok(self.write(&deliveries).await?);
        };
        // what is in the spool comes first
        if fair_spool.spool.is_empty() {
            match self.write(&deliveries).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => log_not_written(&error, deliveries.len()),
            }
        }
        self.append(&fair_spool, deliveries).await
    }

    async fn write(&mut self, deliveries: &[Delivery]) -> Result<Vec<Outcome>, WriteError> {
        let limit = self.context.write_timeout;
        self.context.write(&mut self.writer, &mut self.timer, deliveries, false, limit).await
    }

    async fn append(&self, fair_spool: &FairSpool, deliveries: Vec<Delivery>) -> Result<Vec<Outcome>, CommitError> {
        let outcomes: Vec<_> = deliveries.iter().map(|delivery| self.outcome_in_spool(delivery)).collect();
        let to_append = deliveries.into_iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Spooled);
        let to_append: Vec<_> = to_append.map(|(delivery, _)| delivery).collect();
        let _fifo = fair_spool.lock.lock().await;
        fair_spool.spool.append(&to_append).await?;
        self.context.metrics.spooled.inc_by(to_append.len() as u64);
        Ok(outcomes)
    }

    /// The outcome of a delivery once the spool is synced.
    fn outcome_in_spool(&self, delivery: &Delivery) -> Outcome {
        match delivery {
            Delivery::Unprocessed(unprocessed)
                if unprocessed.reason.is_error()
                    && !self.context.quota.try_consume(unprocessed, Destination::Spool) =>
            {
                self.context.metrics.count_not_kept(delivery);
                Outcome::NotKept
            }
            _ => Outcome::Spooled,
        }
    }
}

fn log_not_durable(error: &CommitError, deliveries: usize) {
    match error {
        CommitError::Write(error) => log_not_written(error, deliveries),
        CommitError::Spool(error) => tracing::error!(%error, deliveries, "deliveries not spooled"),
    }
}

fn log_not_written(error: &WriteError, deliveries: usize) {
    // until the schema is ready, the wait for it is logged
    if !matches!(error, WriteError::SchemaNotReady) {
        tracing::error!(%error, deliveries, "deliveries not written to Postgres");
    }
}
