//! A connection to write over: as it is, or through a pooler in transaction mode.
//!
//! Such a pooler hands a connection of the server to somebody else after each transaction, and with it what was prepared
//! and set. Invariants behind one: a statement is prepared, settings included, in the transaction that runs it,
//! and nothing of it stays behind.

use sqlx::{
    Connection, Executor, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};

/// The statement is planned once, and for many rows: planning it for each batch would take longer than running it, and
/// a plan made while the tables are small would read them whole when they no longer are. Postgres compiles what looks
/// expensive to it, which takes a hundred times as long as to run this.
const PLANNING: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off";

/// The same for one transaction.
const BEGIN: &str =
    "begin; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off; set local jit = off";

/// See the module.
pub(super) struct Session {
    connection: PgConnection,
    is_pooled: bool,
}

impl Session {
    /// Connects; `is_pooled` says that a pooler in transaction mode stands in between.
    pub(super) async fn open(options: &PgConnectOptions, is_pooled: bool) -> sqlx::Result<Self> {
        let mut connection = PgConnection::connect_with(options).await?;
        if !is_pooled {
            connection.execute(PLANNING).await?;
        }
        Ok(Self { connection, is_pooled })
    }

    /// One statement, one commit; its rows, if it has any.
    pub(super) async fn fetch_all(&mut self, query: Query<'_, Postgres, PgArguments>) -> sqlx::Result<Vec<PgRow>> {
        if !self.is_pooled {
            return query.fetch_all(&mut self.connection).await;
        }
        self.connection.execute(BEGIN).await?;
        let result = query.persistent(false).fetch_all(&mut self.connection).await;
        self.end(result).await
    }

    async fn end<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        match result {
            Ok(done) => self.connection.execute("commit").await.map(|_| done),
            Err(error) => {
                // what failed with the connection is told by the next statement
                let _ = self.connection.execute("rollback").await;
                Err(error)
            }
        }
    }
}
