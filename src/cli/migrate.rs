//! `migrate`

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use sqlx::postgres::PgPoolOptions;

use crate::{
    config::{ConfigError, Settings},
    store,
};

/// How long the database may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Create or update the tables in the database, then exit
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let settings = load()?;
    ensure!(
        !settings.database.transaction_pooler,
        "a pooler in transaction mode (database.transaction_pooler) cannot take migrations: set it to false, and \
         database.url to Postgres itself"
    );
    let options = settings.database.connect_options()?;
    super::block_on(settings.log.format, async {
        let connected = PgPoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT).connect_with(options).await;
        let pool = connected.context("the database does not answer")?;
        store::migrate(&pool).await?;
        tracing::info!("the tables are up to date");
        Ok(ExitCode::SUCCESS)
    })
}
