//! Takes what waits, all of it up to a full batch, and makes it durable.

use std::{sync::Arc, time::Instant};

use tokio::time::timeout;

use super::{
    Lane, Shared,
    batches::{Batch, Batches},
    queue::Waiting,
};
use crate::{
    delivery::{Delivery, Outcome},
    store::Writer,
};

pub(super) struct Committer {
    batches: Arc<Batches>,
    max_batch: usize,
    lane: Arc<Lane>,
    writer: Writer,
    shared: Arc<Shared>,
}

impl Committer {
    pub(super) fn new(
        batches: Arc<Batches>,
        max_batch: usize,
        lane: Arc<Lane>,
        writer: Writer,
        shared: Arc<Shared>,
    ) -> Self {
        Self { batches, max_batch, lane, writer, shared }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let metrics = Arc::clone(&self.shared.metrics);
        while let Some(Batch { deliveries, bookings, .. }) = self.batches.next(self.max_batch).await {
            let began = Instant::now();
            metrics.batch_size.observe(deliveries.len() as f64);
            let (deliveries, answers): (Vec<_>, Vec<_>) = deliveries
                .into_iter()
                .map(|Waiting { delivery, since, outcome, memory, .. }| {
                    metrics.phases.queue.observe((began - since).as_secs_f64());
                    (delivery, (outcome, memory))
                })
                .unzip();
            let outcomes = self.make_durable(deliveries).await;
            self.batches.written(&bookings);
            metrics.phases.write.observe(began.elapsed().as_secs_f64());
            // without any, dropping the answers tells the callers
            for ((answer, _), outcome) in answers.into_iter().zip(outcomes.into_iter().flatten()) {
                // a caller that went away needs no answer
                let _ = answer.send(outcome);
            }
        }
    }

    async fn make_durable(&mut self, deliveries: Vec<Delivery>) -> Option<Vec<Outcome>> {
        let Some(spool) = self.lane.spool.clone() else {
            return self.write(&deliveries).await;
        };
        if spool.is_empty()
            && let Some(outcomes) = self.write(&deliveries).await
        {
            return Some(outcomes);
        }
        let outcomes = deliveries.iter().map(|delivery| self.shared.outcome_of_spool(delivery)).collect::<Vec<_>>();
        let of_kept = deliveries.into_iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Spooled);
        let kept: Vec<_> = of_kept.map(|(delivery, _)| delivery).collect();
        let _turn = self.lane.turn.lock().await;
        match spool.append(&kept).await {
            Ok(()) => {
                self.shared.metrics.spooled.inc_by(kept.len() as u64);
                Some(outcomes)
            }
            Err(error) => {
                tracing::error!(%error, deliveries = kept.len(), "deliveries not spooled");
                None
            }
        }
    }

    async fn write(&mut self, deliveries: &[Delivery]) -> Option<Vec<Outcome>> {
        if !self.shared.is_prepared() {
            return None;
        }
        let why = match timeout(self.shared.settings.write_timeout, self.writer.write(deliveries, false)).await {
            Ok(Ok(outcomes)) => {
                self.shared.metrics.count_stored(deliveries, &outcomes);
                return Some(outcomes);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the write timed out (database.write_timeout_ms)".to_owned(),
        };
        tracing::error!(error = why, deliveries = deliveries.len(), "deliveries not written to Postgres");
        None
    }
}
