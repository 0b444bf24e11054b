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
    Connection, Executor, PgConnection, Postgres,
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
}

impl Session {
    /// Connects; `transaction_pooler`: through a pooler in transaction mode.
    pub(super) async fn open(options: &PgConnectOptions, transaction_pooler: bool) -> sqlx::Result<Self> {
        let mut connection = PgConnection::connect_with(options).await?;
        if !transaction_pooler {
            connection.execute(PLANNER_SETTINGS).await?;
        }
        Ok(Self { connection, transaction_pooler })
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
