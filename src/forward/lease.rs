//! The right to forward: one replica has it at a time, as long as it records that it is alive.

use std::{io, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::schedule::Settled;
use crate::store::{ForwardControl, LEASE_SECONDS, Pool};

/// The lease is extended, and what operators want is read, at least so often.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_secs(2);

/// Of a database that does not answer. If it has recorded it nevertheless, the forward begins anew with what is recorded.
pub(super) const DATABASE_TIMEOUT: Duration = Duration::from_secs(10);

/// The right to forward, and where it is recorded how far that is.
pub(super) struct Lease {
    pool: Pool,
    name: String,
    holder: Uuid,
    version: i64,
    pub(super) control: ForwardControl,
    /// Nothing is sent then.
    pub(super) ends: Instant,
    pub(super) renew_at: Instant,
}

impl Lease {
    /// One that was just acquired.
    pub(super) fn new(pool: Pool, name: String, holder: Uuid, version: i64, control: ForwardControl) -> Self {
        let now = Instant::now();
        Self { pool, name, holder, version, control, ends: now + RENEW_INTERVAL, renew_at: now }
    }

    /// Records after a delay, and extends the lease.
    pub(super) fn record(&self, settled: Settled, delay: Duration) -> impl Future<Output = Recorded> + use<> {
        let (pool, name, holder, version) = (self.pool.clone(), self.name.clone(), self.holder, self.version);
        async move {
            pause(delay).await;
            let began = Instant::now();
            let advanced =
                timeout(DATABASE_TIMEOUT, pool.advance_forward(&name, holder, version, &settled.progress)).await;
            let control = advanced.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())));
            Recorded { settled, began, control }
        }
    }

    /// What was recorded at some time has come to the database.
    pub(super) fn extend(&mut self, began: Instant) {
        self.version += 1;
        self.ends = began + Duration::from_secs(LEASE_SECONDS.unsigned_abs().into());
    }
}

/// What was to be recorded, when that began, and what came of it.
pub(super) struct Recorded {
    pub(super) settled: Settled,
    pub(super) began: Instant,
    /// `None`: the lease is lost.
    pub(super) control: sqlx::Result<Option<ForwardControl>>,
}

/// A timer without a duration would wait for up to a millisecond.
pub(super) async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}
