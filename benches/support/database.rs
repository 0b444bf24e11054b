//! The Postgres of a benchmark: durable, as production has it, and the same for all contestants.

use std::{fs, path::PathBuf};

use anyhow::Context;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use ticket_webhooks::embedded_postgres::{EmbeddedPostgres, Options};
use tokio::runtime::Runtime;

/// Durable, with enough memory, and without a checkpoint during a run.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "16GB"),
    ("min_wal_size", "4GB"),
    ("checkpoint_timeout", "1h"),
    ("max_connections", "200"),
];

/// A Postgres that can be stopped and started again.
pub struct Server {
    options: Options,
    running: Option<EmbeddedPostgres>,
    runtime: Runtime,
}

impl Server {
    /// Starts it in a directory that [`Self::remove`] removes.
    pub fn start(directory: PathBuf) -> anyhow::Result<Self> {
        Self::start_with(directory, &[])
    }

    /// The same with further settings, which count more than the usual ones.
    pub fn start_with(directory: PathBuf, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut options = Options::new(directory);
        let settings = [SETTINGS, settings].concat();
        options.settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut server = Self { options, running: None, runtime };
        server.come_back()?;
        Ok(server)
    }

    /// Shuts it down cleanly.
    pub fn go_away(&mut self) -> anyhow::Result<()> {
        Ok(self.running.take().context("it is away")?.stop()?)
    }

    /// Starts it again.
    pub fn come_back(&mut self) -> anyhow::Result<()> {
        self.running = Some(EmbeddedPostgres::start(&self.options)?);
        Ok(())
    }

    /// A database without tables.
    pub fn create_empty_database(&self, name: &str) -> anyhow::Result<()> {
        self.execute("postgres", &format!("drop database if exists {name} with (force)"))?;
        self.execute("postgres", &format!("create database {name}"))
    }

    pub fn url(&self, database: &str) -> anyhow::Result<String> {
        Ok(self.running()?.url(database))
    }

    /// Executes statements.
    pub fn execute(&self, database: &str, statements: &str) -> anyhow::Result<()> {
        self.with(database, async |pool| {
            sqlx::raw_sql(AssertSqlSafe(statements)).execute(&pool).await?;
            Ok(())
        })
    }

    /// The rows of a query with one text column.
    pub fn texts(&self, database: &str, query: &str) -> anyhow::Result<Vec<String>> {
        self.with(database, async |pool| Ok(sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&pool).await?))
    }

    /// Stops it and removes its files.
    pub fn remove(mut self) -> anyhow::Result<()> {
        let home = self.home()?;
        self.go_away()?;
        Ok(fs::remove_dir_all(home)?)
    }

    /// The directory with its files: another than it was started in if its user may not enter that one.
    pub fn home(&self) -> anyhow::Result<PathBuf> {
        Ok(self.running()?.log().parent().context("a log is in a directory")?.to_path_buf())
    }

    pub fn running(&self) -> anyhow::Result<&EmbeddedPostgres> {
        self.running.as_ref().context("Postgres is away")
    }

    pub fn with<T>(&self, database: &str, query: impl AsyncFnOnce(PgPool) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let options = self.running()?.connect_options(database);
        self.runtime.block_on(async {
            let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await?;
            let answer = query(pool.clone()).await;
            pool.close().await;
            answer
        })
    }
}
