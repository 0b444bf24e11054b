//! What is in the spools.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    registry::{FloatGauges, Registry},
    scrape::labels,
};
use crate::{
    clock,
    readiness::MAX_CHECK_TIME,
    spool::{Spool, Spools},
    ticket_event::Environment,
};

const ENVIRONMENTS: [Environment; 2] = [Environment::Live, Environment::Test];

#[derive(Default)]
pub(super) struct SpoolMetrics {
    /// Keeps its value while a spool cannot be read.
    oldest_age: FloatGauges,
}

impl SpoolMetrics {
    pub(super) async fn add(&self, registry: &mut Registry, spools: Option<&Spools>) {
        registry.gauge(
            "ticket_webhooks_spool_enabled",
            "Whether there is a spool (spool.directory): 1 or 0.",
            u64::from(spools.is_some()),
        );
        let read = |read: fn(&Spool) -> u64| {
            ENVIRONMENTS
                .map(|environment| (labels(environment), spools.map_or(0, |spools| read(spools.of(environment)))))
        };
        registry.gauges("ticket_webhooks_spool_records", "Deliveries in the spool.", read(Spool::records));
        registry.gauges("ticket_webhooks_spool_bytes", "Bytes of deliveries in the spool.", read(Spool::bytes));
        registry.gauges(
            "ticket_webhooks_spool_limit_bytes",
            "Bytes of deliveries that the spool may hold (spool.max_bytes); 0 without a spool.",
            read(Spool::max_bytes),
        );
        registry.counts(
            "ticket_webhooks_spool_files_set_aside_total",
            "Spool files that were found damaged and set aside since the start; their undamaged records were kept.",
            read(Spool::files_set_aside),
        );
        registry.gauges(
            "ticket_webhooks_spool_files_aside",
            "Files set aside, whenever that was, that are still in the spool's directory.",
            read(Spool::files_aside),
        );
        registry.counts(
            "ticket_webhooks_spool_files_replaced_total",
            "How often the spool's file was deleted or replaced while the service ran; its records were kept.",
            read(Spool::files_replaced),
        );
        registry.counts(
            "ticket_webhooks_spool_records_damaged_total",
            "Acknowledged deliveries that were damaged in the spool and are lost from it.",
            read(Spool::records_damaged),
        );
        for environment in ENVIRONMENTS {
            let age = match spools {
                Some(spools) => oldest_age(spools.of(environment)).await,
                None => Some(Duration::ZERO),
            };
            let gauge = self.oldest_age.get_or_create_owned(&labels(environment));
            if let Some(age) = age {
                gauge.set(age.as_secs_f64());
            }
        }
        registry.add(
            "ticket_webhooks_spool_oldest_age_seconds",
            "Time since the oldest delivery in the spool was received, in seconds; 0 when it is empty.",
            self.oldest_age.clone(),
        );
    }
}

/// `None` when the spool cannot be read within [`MAX_CHECK_TIME`].
async fn oldest_age(spool: &Spool) -> Option<Duration> {
    if spool.is_empty() {
        return Some(Duration::ZERO);
    }
    let received_at = timeout(MAX_CHECK_TIME, spool.oldest()).await.ok()?.ok()?;
    Some(
        received_at
            .map_or(Duration::ZERO, |received_at| Duration::try_from(clock::now() - received_at).unwrap_or_default()),
    )
}
