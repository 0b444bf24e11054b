//! `migrate`

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use sqlx::postgres::PgPoolOptions;

use crate::{
    config::{ConfigError, Settings},
    store,
};

/// For connecting.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Apply the migrations to the database
///
/// They can be applied while replicas of the version before serve. Several that run at once wait for one another.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let settings = load()?;
    ensure!(
        !settings.database.transaction_pooler,
        "migrations cannot be applied through a connection pooler in transaction mode: set \
         database.transaction_pooler to false, and database.url to Postgres itself"
    );
    let options = settings.database.connect_options()?;
    super::block_on(settings.log.format, async {
        let connected = PgPoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT).connect_with(options).await;
        let pool = connected.context("the database did not accept a connection")?;
        store::migrate(&pool).await?;
        tracing::info!("the tables are up to date");
        Ok(ExitCode::SUCCESS)
    })
}
