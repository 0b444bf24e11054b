//! Fills `search_keys`.
//!
//! Invariant: keys are written, and the position of the consumer `search` moved, by one statement under an advisory lock of
//! the transaction. Whatever removes keys takes the lock too, before its statement: else a batch that has read the event
//! before could write them again.

use sqlx::{PgConnection, Row};

use crate::store::{FeedError, Pool};

/// Compiling takes longer than the statement behind it.
pub(in crate::store) const LOCK_SEARCH_KEYS: &str =
    "select pg_advisory_xact_lock(hashtext('ticket_webhooks_search')), set_config('jit', 'off', true)";

/// The same without waiting: whether it has the lock.
const TRY_LOCK_SEARCH_KEYS: &str =
    "select pg_try_advisory_xact_lock(hashtext('ticket_webhooks_search')), set_config('jit', 'off', true)";

/// What a batch has done.
#[derive(Debug)]
pub struct Indexed {
    /// To where it moved the position.
    pub position: String,
    /// The number of items up to there.
    pub items: i64,
}

impl Pool {
    /// Adds the keys of the next items. `None`: there are none, or another replica does it: it holds the lock, or has moved
    /// the position within two seconds from where this one has left it (`last`).
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn index(&self, max_items: i64, last: &str) -> Result<Option<Indexed>, FeedError> {
        let mut transaction = self.write().await?;
        if !self.query(TRY_LOCK_SEARCH_KEYS).fetch_one(&mut *transaction).await?.try_get::<bool, _>(0)? {
            return Ok(None);
        }
        let query = self.query(include_str!("index.sql")).bind(max_items).bind(last);
        let Some(row) = query.fetch_optional(&mut *transaction).await? else { return Ok(None) };
        let indexed = Indexed { position: row.try_get("position")?, items: row.try_get("scanned")? };
        transaction.commit().await?;
        Ok(Some(indexed))
    }

    /// Begins again behind a cursor: the history of the feed has changed.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn index_again(&self, cursor: &str) -> Result<(), FeedError> {
        let mut transaction = self.write().await?;
        for statement in [LOCK_SEARCH_KEYS, "select set_config('statement_timeout', '0', true)"] {
            self.query(statement).execute(&mut *transaction).await?;
        }
        self.remove_keys_behind(&mut transaction, cursor).await?;
        Ok(transaction.commit().await?)
    }

    async fn remove_keys_behind(&self, connection: &mut PgConnection, cursor: &str) -> Result<(), FeedError> {
        let keys = "delete from search_keys using ticket_feed_position($1) as after \
                    where (search_keys.generation, search_keys.recorded_xid, search_keys.sequence) \
                        > (after.generation, after.recorded_xid, after.sequence)";
        self.query(keys).bind(cursor).execute(&mut *connection).await?;
        let position = "update consumers set position = $1, updated_at = now() where name = 'search'";
        self.query(position).bind(cursor).execute(connection).await?;
        Ok(())
    }
}
