//! Creates and empties the service's tables.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::ensure;
use ticket_webhooks::store;

use crate::database::Server;

/// Of waiting for autovacuum.
const QUIET_TIMEOUT: Duration = Duration::from_secs(600);

impl Server {
    /// A database with empty tables of the service.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.create_empty_database(name)?;
        self.with(name, async |pool| Ok(store::migrate(&pool).await?))
    }

    /// Waits until autovacuum has done what a load has left to it, and nothing else works in the background.
    pub fn wait_until_quiet(&self) -> anyhow::Result<()> {
        let busy =
            "select backend_type from pg_stat_activity where backend_type in ('autovacuum worker', 'parallel worker')";
        let deadline = Instant::now() + QUIET_TIMEOUT;
        while !self.texts("postgres", busy)?.is_empty() {
            ensure!(Instant::now() < deadline, "autovacuum does not come to an end");
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Empties the tables; the checkpoint keeps writes of the last run out of the next measurement.
    pub fn empty(&self, database: &str) -> anyhow::Result<()> {
        self.execute(database, "truncate ticket_events, unprocessed_deliveries; checkpoint")
    }
}
