//! Takes what waits, all of it up to a full batch, and makes it durable.

use std::{sync::Arc, time::Instant};

use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};

use super::{Shared, Waiting};
use crate::{
    delivery::{Delivery, Receipt},
    store::Writer,
};

pub(super) struct Committer {
    queue: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    writer: Writer,
    shared: Arc<Shared>,
}

impl Committer {
    pub(super) fn new(queue: Arc<Mutex<mpsc::Receiver<Waiting>>>, writer: Writer, shared: Arc<Shared>) -> Self {
        Self { queue, writer, shared }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let max_batch = self.shared.settings.max_batch;
        let mut batch = Vec::with_capacity(max_batch);
        let metrics = Arc::clone(&self.shared.metrics);
        while self.queue.lock().await.recv_many(&mut batch, max_batch).await > 0 {
            let taken = Instant::now();
            for waiting in &batch {
                metrics.phases.wait.record(taken - waiting.since);
            }
            metrics.batch_size.record(batch.len() as f64);
            let (deliveries, answers): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|waiting| (waiting.delivery, waiting.answer)).unzip();
            let receipts = self.make_durable(&deliveries).await;
            metrics.phases.commit.record(taken.elapsed());
            let Some(receipts) = receipts else {
                // dropping the answers tells the callers
                continue;
            };
            for (answer, receipt) in answers.into_iter().zip(receipts) {
                // a caller that went away needs no answer
                let _ = answer.send(receipt);
            }
        }
    }

    async fn make_durable(&mut self, deliveries: &[Delivery]) -> Option<Vec<Receipt>> {
        let Some(spool) = &self.shared.spool else {
            return self.write(deliveries).await;
        };
        if spool.is_empty()
            && let Some(receipts) = self.write(deliveries).await
        {
            return Some(receipts);
        }
        let _turn = self.shared.turn.lock().await;
        match self.shared.spool.as_ref()?.append(deliveries).await {
            Ok(()) => {
                self.shared.metrics.spooled.increment(deliveries.len() as u64);
                Some(vec![Receipt::Spooled; deliveries.len()])
            }
            Err(error) => {
                tracing::error!(%error, deliveries = deliveries.len(), "deliveries not spooled");
                None
            }
        }
    }

    async fn write(&mut self, deliveries: &[Delivery]) -> Option<Vec<Receipt>> {
        if !self.shared.is_prepared() {
            return None;
        }
        let why = match timeout(self.shared.settings.write_timeout, self.writer.write(deliveries, false)).await {
            Ok(Ok(receipts)) => {
                self.shared.metrics.written(deliveries, &receipts);
                return Some(receipts);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the write timed out (database.write_timeout_ms)".to_owned(),
        };
        tracing::error!(error = why, deliveries = deliveries.len(), "deliveries not written to Postgres");
        None
    }
}
