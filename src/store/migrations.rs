//! Bringing the tables up to date, and waiting for a database that can be.

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

/// Migrations that this version does not know are those of a later one: replicas of both run side by side during an
/// upgrade, and after a rollback.
static MIGRATOR: Migrator = Migrator { ignore_missing: true, ..sqlx::migrate!() };

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Why the tables are not up to date and will not be by waiting.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Somebody else has to apply them.
    #[error(
        "migrations are pending: {0}; run `ticket-webhooks migrate`, or serve without --no-migrate and without a pooler"
    )]
    Pending(Pending),
    /// The database refuses them.
    #[error("the migrations were not applied: {0}")]
    Failed(MigrateError),
    /// What providers send cannot be stored in it.
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

/// Applies the migrations that were not applied yet. Replicas that start together wait for one another.
///
/// # Errors
///
/// The database does not answer, refuses a migration, or has an encoding that cannot hold UTF-8.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrationError> {
    let encoding: String = raw_sql("select current_setting('server_encoding')").fetch_one(pool).await?.try_get(0)?;
    match encoding.as_str() {
        "UTF8" => {}
        // takes any bytes, and so also those of UTF-8
        "SQL_ASCII" => tracing::warn!(encoding, "the database checks no encoding; one with the encoding UTF8 does"),
        _ => return Err(MigrationError::NotUtf8(encoding)),
    }
    Ok(MIGRATOR.run(pool).await?)
}

/// Waits for a database that answers, and sees to it that its tables are up to date: by applying the migrations, or by
/// looking whether that was done. `tried` is told when the first attempt is over, unless
/// it shows that waiting does not help.
///
/// # Errors
///
/// Waiting does not help.
pub async fn prepare(
    pool: &PgPool,
    apply: bool,
    is_prepared: &AtomicBool,
    tried: oneshot::Sender<()>,
) -> Result<(), MigrationError> {
    let (mut tried, mut pause) = (Some(tried), FIRST_PAUSE);
    loop {
        let result = if apply { migrate(pool).await } else { Ok(()) };
        let result = match result {
            Ok(()) => pending(pool).await.map_err(MigrationError::from),
            Err(error) => Err(error),
        };
        let result = match result {
            Ok(None) => {
                is_prepared.store(true, Ordering::Release);
                Ok(true)
            }
            Ok(Some(pending)) => Err(MigrationError::Pending(pending)),
            Err(MigrationError::Failed(error)) if may_pass(&error) => {
                tracing::error!(%error, "the database does not answer yet");
                Ok(false)
            }
            Err(error) => Err(error),
        };
        let is_done = result?;
        // nobody listens when the service is stopping
        tried.take().map(|tried| tried.send(()));
        if is_done {
            return Ok(());
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Whether the same may work later: not when the statement or its right is missing, nor when a migration was changed.
fn may_pass(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match error {
            sqlx::Error::Database(error) => error.code().is_none_or(|code| !code.starts_with("42")),
            _ => true,
        },
        _ => false,
    }
}

/// Migrations that were not applied yet.
#[derive(Debug)]
pub struct Pending(Vec<String>);

impl fmt::Display for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

/// The migrations that were not applied yet, if there are any.
///
/// It asks with nothing but the right to read, so that a role which owns no table can serve, and prepares nothing, which
/// a pooler in transaction mode would lose.
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
