//! Creates and empties the service's tables.

use ticket_webhooks::store;

use crate::database::Server;

impl Server {
    /// A database with empty tables of the service.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.create_empty_database(name)?;
        self.with(name, async |pool| Ok(store::migrate(&pool).await?))
    }

    /// Empties the tables; the checkpoint keeps writes of the last run out of the next measurement.
    pub fn empty(&self, database: &str) -> anyhow::Result<()> {
        self.execute(database, "truncate ticket_events, unprocessed_deliveries; checkpoint")
    }
}
