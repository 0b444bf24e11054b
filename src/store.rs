//! Everything that is kept in Postgres, and all SQL.
//!
//! Invariants: a delivery's id is written once however often it is handed in; a revision is numbered by exactly
//! one replica; a batch is one statement and one commit.

mod allowance;
mod connections;
mod error;
mod migrations;
mod record;
mod session;
mod unprocessed;
mod writer;

use sqlx::{PgPool, Row};

pub use self::{
    allowance::{Allowance, BYTES_A_MINUTE, DELIVERIES_A_MINUTE, Keeper},
    connections::WriterConnections,
    error::StoreError,
    migrations::{MigrationError, Pending, migrate, prepare},
    writer::Writer,
};

/// Whether the database takes writes: it answers, has the tables, and is not a standby. Nothing is prepared for it, which
/// a pooler in transaction mode would lose.
pub async fn takes_writes(pool: &PgPool) -> Result<bool, StoreError> {
    let query = "select current_setting('transaction_read_only') = 'off' \
                 and not exists (select from ticket_events where false)";
    Ok(sqlx::raw_sql(query).fetch_one(pool).await?.try_get(0)?)
}
