//! What the replicas receive, in the database: `delivery_counts` and `refused_requests`, for people who look at all replicas
//! at once.
//!
//! A replica counts in memory ([`ProviderActivity`], [`RefusedRequests`]). A task ([`ActivityWriter`]) adds to the database
//! what has come since it last did.
//!
//! Invariants:
//!
//! - No delivery waits for it: an accepted one costs a few relaxed atomic operations, no lock and no allocation.
//! - Counts are not lost while the database is away: they are added once it is back, to the period of that time.
//! - A refused request is described by what its log line shows, never by a credential or a part of its body.
//! - Strangers cannot fill memory or tables: refused requests beyond a limit are only counted.
//!
//! It is for showing, not for accounting: the last seconds before a crash are missing, and a write whose answer was lost is
//! repeated.

mod counters;
mod refused;
mod writer;

use std::{sync::Arc, time::Instant};

use self::counters::Totals;
pub use self::{
    counters::ProviderActivity,
    refused::{Refusal, Refused, RefusedRequests},
    writer::ActivityWriter,
};
use crate::{
    providers::{PROVIDERS, Provider},
    store::AddedCounts,
};

/// What this process has received.
pub struct Activity {
    providers: Vec<Arc<ProviderActivity>>,
    pub refused: Arc<RefusedRequests>,
}

impl Default for Activity {
    fn default() -> Self {
        let (started, refused) = (Instant::now(), Arc::new(RefusedRequests::default()));
        let provider =
            |provider: &&dyn Provider| Arc::new(ProviderActivity::new(provider.name(), started, Arc::clone(&refused)));
        Self { providers: PROVIDERS.iter().map(provider).collect(), refused }
    }
}

impl Activity {
    pub fn provider(&self, provider: &dyn Provider) -> Arc<ProviderActivity> {
        let found = self.providers.iter().find(|activity| activity.provider() == provider.name());
        Arc::clone(found.expect("every provider is in the list"))
    }

    /// In an order that does not change.
    fn totals(&self) -> Vec<Totals> {
        self.providers.iter().flat_map(|activity| activity.totals()).collect()
    }

    /// What has come since earlier totals.
    fn added(&self, totals: &[Totals], earlier: &[Totals]) -> Vec<AddedCounts> {
        let of_provider = totals.chunks(Totals::PER_PROVIDER).zip(earlier.chunks(Totals::PER_PROVIDER));
        self.providers.iter().zip(of_provider).flat_map(|(activity, (now, then))| activity.added(now, then)).collect()
    }
}
