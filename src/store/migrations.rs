//! Applies the migrations, and waits for a database whose schema is up to date.
//!
//! Invariants:
//!
//! - Replicas of two versions may run side by side: migrations that this version does not know are ignored.
//! - Checking for pending migrations needs only the right to read, and prepares no statement, which a pooler in
//!   transaction mode would lose.

use std::{
    collections::HashSet,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sqlx::{
    PgPool, Row,
    migrate::{MigrateError, Migrator},
    raw_sql,
};
use tokio::{sync::oneshot, time::sleep};

/// Unknown migrations are those of a later version, during an upgrade or after a rollback.
static MIGRATOR: Migrator = Migrator { ignore_missing: true, ..sqlx::migrate!() };

const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(3);

/// Why waiting does not bring the schema up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// They have to be applied by other means.
    #[error(
        "migrations are pending: {0}; run `ticket-webhooks migrate`, or serve without --no-migrate and without a pooler"
    )]
    Pending(Pending),
    /// The order of the feed needs a new generation, which is begun by the owner of the tables.
    #[error(
        "the database was restored into another cluster; run `ticket-webhooks migrate`, or serve without --no-migrate"
    )]
    RestoredElsewhere,
    /// The database does not answer, or refuses them.
    #[error("the migrations were not applied: {0}")]
    Failed(MigrateError),
    /// Its encoding cannot hold UTF-8.
    #[error("the database has the encoding {0}; create one with the encoding UTF8 (template0)")]
    NotUtf8(String),
}

impl From<MigrateError> for MigrationError {
    fn from(error: MigrateError) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(MigrateError::Execute(error))
    }
}

/// Applies pending migrations, and begins a new generation of the feed where the database was restored into another
/// cluster. Replicas that start together wait for one another (advisory lock).
///
/// # Errors
///
/// The database does not answer, refuses a migration, or has an encoding that cannot hold UTF-8.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrationError> {
    let encoding: String = raw_sql("select current_setting('server_encoding')").fetch_one(pool).await?.try_get(0)?;
    match encoding.as_str() {
        "UTF8" => {}
        // stores any bytes, UTF-8 included
        "SQL_ASCII" => tracing::warn!(encoding, "the database checks no encoding; one with the encoding UTF8 does"),
        _ => return Err(MigrationError::NotUtf8(encoding)),
    }
    MIGRATOR.run(pool).await?;
    let raised: bool = raw_sql("select ticket_feed_raise_generation()").fetch_one(pool).await?.try_get(0)?;
    if raised {
        tracing::warn!("the database was restored into another cluster: a new generation of the feed begins");
    }
    Ok(())
}

/// Waits until the schema is up to date, with `apply` by applying the migrations, and sets `schema_ready`.
/// `first_attempt` is sent after the first attempt, or dropped when that fails for good.
///
/// # Errors
///
/// Waiting does not help.
pub async fn wait_for_schema(
    pool: &PgPool,
    apply: bool,
    schema_ready: &AtomicBool,
    first_attempt: oneshot::Sender<()>,
) -> Result<(), MigrationError> {
    let (mut first_attempt, mut delay) = (Some(first_attempt), FIRST_RETRY_DELAY);
    loop {
        let is_ready = match bring_up_to_date(pool, apply).await {
            Ok(()) => true,
            Err(MigrationError::Failed(error)) if is_transient(&error) => {
                tracing::error!(%error, "the database does not answer yet");
                false
            }
            Err(error) => return Err(error),
        };
        if is_ready {
            schema_ready.store(true, Ordering::Release);
        }
        if let Some(first_attempt) = first_attempt.take() {
            // the receiver is gone when the service is stopping
            let _ = first_attempt.send(());
        }
        if is_ready {
            return Ok(());
        }
        sleep(delay).await;
        delay = MAX_RETRY_DELAY.min(delay * 2);
    }
}

async fn bring_up_to_date(pool: &PgPool, apply: bool) -> Result<(), MigrationError> {
    if apply {
        migrate(pool).await?;
    }
    if let Some(pending) = pending(pool).await? {
        return Err(MigrationError::Pending(pending));
    }
    // what is recorded before the new generation begins would be sorted among what was there
    let is_misplaced: bool = raw_sql("select ticket_feed_is_misplaced()").fetch_one(pool).await?.try_get(0)?;
    if is_misplaced { Err(MigrationError::RestoredElsewhere) } else { Ok(()) }
}

/// Not transient: SQLSTATE class 42 (syntax error or access rule violation), and a migration that was changed.
fn is_transient(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match error {
            sqlx::Error::Database(error) => error.code().is_none_or(|code| !code.starts_with("42")),
            _ => true,
        },
        _ => false,
    }
}

/// Names of migrations.
#[derive(Debug)]
pub struct Pending(Vec<String>);

impl fmt::Display for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

/// `None`: all are applied.
async fn pending(pool: &PgPool) -> Result<Option<Pending>, sqlx::Error> {
    let query = "select to_regclass('_sqlx_migrations') is not null";
    let has_table: bool = raw_sql(query).fetch_one(pool).await?.try_get(0)?;
    let applied: HashSet<i64> = if has_table {
        let versions = raw_sql("select version from _sqlx_migrations where success").fetch_all(pool).await?;
        versions.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
    } else {
        HashSet::new()
    };
    let missing = MIGRATOR.iter().filter(|migration| !applied.contains(&migration.version));
    let names: Vec<_> =
        missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect();
    Ok((!names.is_empty()).then_some(Pending(names)))
}
