//! A connection that writes, direct or through a pooler in transaction mode (PgBouncer).
//!
//! Such a pooler gives the server's connection to another client after each transaction, with its prepared statements and
//! settings.
//!
//! Invariants:
//!
//! - One statement is one transaction.
//! - Behind a pooler, a statement is prepared, and its settings made, in the transaction that runs it; neither outlives
//!   it.

use sqlx::{
    Connection, Executor, PgConnection, Postgres, Row,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};

/// A generic plan without sequential scans: planning takes longer than running, and a plan made for small tables would
/// scan them when they have grown. JIT compilation takes a hundred times as long as running.
const PLANNER_SETTINGS: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off";

/// The same for one transaction.
const BEGIN: &str =
    "begin; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off; set local jit = off";

pub(super) struct Session {
    connection: PgConnection,
    transaction_pooler: bool,
    /// `None` behind a pooler, which lends backends to others.
    backend: Option<Backend>,
}

/// A server process: its id may be used again, its start may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pid: i32,
    started: String,
}

/// Of waiting for a backend to end, in milliseconds.
const END_TIMEOUT_MS: i64 = 1000;

impl Session {
    /// Connects; `transaction_pooler`: through a pooler in transaction mode.
    pub(super) async fn open(options: &PgConnectOptions, transaction_pooler: bool) -> sqlx::Result<Self> {
        Self::over(PgConnection::connect_with(options).await?, transaction_pooler).await
    }

    pub(super) async fn over(mut connection: PgConnection, transaction_pooler: bool) -> sqlx::Result<Self> {
        let mut backend = None;
        if !transaction_pooler {
            connection.execute(PLANNER_SETTINGS).await?;
            let this = "select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()";
            let row = sqlx::query(this).persistent(false).fetch_one(&mut connection).await?;
            backend = Some(Backend { pid: row.try_get(0)?, started: row.try_get(1)? });
        }
        Ok(Self { connection, transaction_pooler, backend })
    }

    pub(super) fn backend(&self) -> Option<&Backend> {
        self.backend.as_ref()
    }

    /// Ends another backend of this role, and waits for that. Whether it is gone.
    pub(super) async fn end_backend(&mut self, backend: &Backend) -> sqlx::Result<bool> {
        let end = "select coalesce(bool_and(pg_terminate_backend(pid, $3)), true) from pg_stat_activity \
                   where pid = $1 and backend_start::text = $2";
        let query = sqlx::query(end).bind(backend.pid).bind(&backend.started).bind(END_TIMEOUT_MS);
        query.persistent(false).fetch_one(&mut self.connection).await?.try_get(0)
    }

    /// Runs one statement in its own transaction.
    pub(super) async fn fetch_all(&mut self, query: Query<'_, Postgres, PgArguments>) -> sqlx::Result<Vec<PgRow>> {
        if !self.transaction_pooler {
            return query.fetch_all(&mut self.connection).await;
        }
        self.connection.execute(BEGIN).await?;
        let result = query.persistent(false).fetch_all(&mut self.connection).await;
        self.end(result).await
    }

    /// Waits until all that this connection sees is as durable as a commit of its own.
    ///
    /// A commit that waits for a synchronous standby becomes visible, unconfirmed, when its backend is ended. The standby
    /// may lack it for good and become the primary, and a statement that only reads does not wait for it.
    pub(super) async fn confirm_what_it_sees(&mut self) -> sqlx::Result<()> {
        // transactional: with a transaction id and something in the log, so that its commit waits, and for all before it
        let write = "select pg_logical_emit_message(true, 'ticket_webhooks', '')::text";
        self.fetch_all(sqlx::query(write)).await.map(drop)
    }

    /// Inserts a row into `ticket_events` and rolls it back. It prepares no statement.
    pub(super) async fn try_insert(&mut self) -> sqlx::Result<()> {
        let row = "insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, \
                   airline_pnrs, passengers, ticket_numbers, warnings, payload, content_hash, received_at, \
                   last_received_at) values (gen_random_uuid(), 'trial', 'trial', 'test', gen_random_uuid()::text, 1, \
                   'pending', '{}', '[]', '{}', '{}', '{}', decode(repeat('00', 32), 'hex'), now(), now())";
        let mut transaction = self.connection.begin().await?;
        transaction.execute(row).await?;
        transaction.rollback().await
    }

    pub(super) async fn close(self) -> sqlx::Result<()> {
        self.connection.close().await
    }

    async fn end<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        match result {
            Ok(rows) => self.connection.execute("commit").await.map(|_| rows),
            Err(error) => {
                // a broken connection fails the next statement too
                let _ = self.connection.execute("rollback").await;
                Err(error)
            }
        }
    }
}
