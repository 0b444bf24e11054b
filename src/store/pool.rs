//! Connections for everything beside the deliveries: the admin API, and the tasks in the background.
//!
//! Invariants:
//!
//! - The way of a delivery never waits for one of these connections.
//! - Behind a pooler in transaction mode, a statement is prepared in the transaction that runs it. So every access is a
//!   transaction.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, SqlSafeStr, SqlStr, Transaction,
    postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions},
    query::Query,
};
use tokio::time::timeout;

/// Of waiting for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Of a connection that shows whether Postgres is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The timeout of one statement is below that of a request to the admin listener. Not behind a pooler, whose settings are its
/// own.
const SETTINGS: &str = "set statement_timeout = '20s'; set jit = off";

/// Clones share the connections.
#[derive(Clone)]
pub struct Pool {
    pool: PgPool,
    transaction_pooler: bool,
    /// Whether Postgres accepted no connection when that was tried last.
    is_away: Arc<AtomicBool>,
}

impl Pool {
    /// Connects when it is used.
    pub fn new(options: PgConnectOptions, max_connections: u32, transaction_pooler: bool) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !transaction_pooler {
                        connection.execute(SETTINGS).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Self { pool, transaction_pooler, is_away: Arc::default() }
    }

    /// A transaction that reads, all of it in one snapshot.
    ///
    /// # Errors
    ///
    /// No connection is free or can be made within five seconds.
    pub async fn read(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.begin("begin isolation level repeatable read read only").await
    }

    /// A transaction that writes; each of its statements sees what was committed before it.
    ///
    /// # Errors
    ///
    /// No connection is free or can be made within five seconds.
    pub async fn write(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.begin("begin").await
    }

    /// The pool tells of no reason for which it has no connection: whether all are in use, or Postgres is away, a connection
    /// of its own shows. While Postgres is away that is tried first, for an answer at once.
    async fn begin(&self, statement: &'static str) -> sqlx::Result<Transaction<'static, Postgres>> {
        if self.is_away.load(Ordering::Relaxed) {
            self.connect().await?;
        }
        match self.pool.begin_with(statement).await {
            Err(sqlx::Error::PoolTimedOut) => {
                self.connect().await?;
                Err(sqlx::Error::PoolTimedOut)
            }
            begun => begun,
        }
    }

    /// Whether Postgres accepts a connection now.
    async fn connect(&self) -> sqlx::Result<()> {
        let options = self.pool.connect_options();
        let connected = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
        let connected = connected.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())));
        self.is_away.store(connected.is_err(), Ordering::Relaxed);
        connected?.close().await
    }

    /// A statement for one of these transactions.
    pub fn query<'q>(&self, sql: &'static str) -> Query<'q, Postgres, PgArguments> {
        sqlx::query(sql).persistent(!self.transaction_pooler)
    }

    /// A statement whose text was put together from parts of the program, never from input.
    pub fn query_of_parts<'q>(&self, sql: String) -> Query<'q, Postgres, PgArguments> {
        let sql: SqlStr = AssertSqlSafe(sql).into_sql_str();
        sqlx::query(sql).persistent(!self.transaction_pooler)
    }

    /// Sends a notification without content. It is not worth a sync of the disk.
    pub(crate) async fn notify(&self, channel: &'static str) -> sqlx::Result<()> {
        let mut transaction = self.begin("begin; set local synchronous_commit = off").await?;
        self.query("select pg_notify($1, '')").bind(channel).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// A connection for notifications; `None` behind a pooler, which gives it to others.
    pub(crate) async fn listener(&self) -> sqlx::Result<Option<PgListener>> {
        if self.transaction_pooler {
            return Ok(None);
        }
        Ok(Some(PgListener::connect_with(&self.pool).await?))
    }

    /// For connections that are opened from now on.
    pub fn set_connect_options(&self, options: PgConnectOptions) {
        self.pool.set_connect_options(options);
    }

    /// Connections that are idle and in use.
    pub fn usage(&self) -> (usize, usize) {
        let idle = self.pool.num_idle();
        (idle, (self.pool.size() as usize).saturating_sub(idle))
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}
