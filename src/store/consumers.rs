//! The named positions of consumers.

use sqlx::{PgConnection, Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{Cursor, FeedError, Pool};

/// So that a page of metrics stays small.
pub const MAX_CONSUMERS: i64 = 50;

/// How far items behind a position are counted.
pub const MAX_LAG_EVENTS: i64 = 10_000;

/// A position with a name.
#[derive(Debug)]
pub struct Consumer {
    pub name: String,
    pub position: String,
    pub updated_at: OffsetDateTime,
    /// Since the first item behind it was recorded; 0 when there is none.
    pub lag_seconds: f64,
    /// Items behind it, counted up to 10,000.
    pub lag_events: i64,
}

/// What became of a position that was to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetPosition {
    Created,
    Moved,
    /// It is before the present one.
    WouldRewind,
    /// There are [`MAX_CONSUMERS`] already.
    TooMany,
}

impl Consumer {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            name: row.try_get("name")?,
            position: row.try_get("position")?,
            updated_at: row.try_get("updated_at")?,
            lag_seconds: row.try_get("lag_seconds")?,
            lag_events: row.try_get("lag_events")?,
        })
    }
}

impl Pool {
    /// All, or the one with this name.
    pub async fn consumers(&self, name: Option<&str>) -> sqlx::Result<Vec<Consumer>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("consumers.sql")).bind(name).bind(MAX_LAG_EVENTS);
        query.fetch_all(&mut *snapshot).await?.iter().map(Consumer::from_row).collect()
    }

    /// The position of one as it stands there.
    pub(super) async fn consumer_position(
        &self,
        connection: &mut PgConnection,
        name: &str,
    ) -> sqlx::Result<Option<String>> {
        let query = self.query("select position from consumers where name = $1").bind(name);
        query.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()
    }

    /// Sets a position, forwards only unless `may_rewind`.
    ///
    /// # Errors
    ///
    /// See [`FeedError`]: the cursor is checked.
    pub async fn set_position(&self, name: &str, cursor: Cursor, may_rewind: bool) -> Result<SetPosition, FeedError> {
        let mut transaction = self.write().await?;
        self.check_cursor(&mut transaction, cursor).await?;
        let set = self.try_set_position(&mut transaction, name, cursor, may_rewind).await?;
        if matches!(set, SetPosition::Created | SetPosition::Moved) {
            transaction.commit().await?;
        }
        Ok(set)
    }

    async fn try_set_position(
        &self,
        connection: &mut PgConnection,
        name: &str,
        cursor: Cursor,
        may_rewind: bool,
    ) -> sqlx::Result<SetPosition> {
        let move_it = "update consumers set position = $2, updated_at = now() where name = $1 and ($3 or \
             (string_to_array(position, '.'))[1:3]::bigint[] <= (string_to_array($2, '.'))[1:3]::bigint[])";
        let cursor = cursor.to_string();
        let moved = self.query(move_it).bind(name).bind(&cursor).bind(may_rewind).execute(&mut *connection).await?;
        if moved.rows_affected() > 0 {
            return Ok(SetPosition::Moved);
        }
        let insert = "insert into consumers (name, position) \
             select $1, $2 where (select count(*) from consumers) < $3 on conflict do nothing";
        let created = self.query(insert).bind(name).bind(&cursor).bind(MAX_CONSUMERS).execute(&mut *connection).await?;
        if created.rows_affected() > 0 {
            return Ok(SetPosition::Created);
        }
        let exists = self.query("select from consumers where name = $1").bind(name).fetch_optional(connection).await?;
        Ok(if exists.is_some() { SetPosition::WouldRewind } else { SetPosition::TooMany })
    }

    /// Whether there was one with this name with which no replica forwards.
    pub async fn delete_consumer(&self, name: &str) -> sqlx::Result<bool> {
        let mut transaction = self.write().await?;
        let query = self
            .query(
                "delete from consumers where name = $1 \
                 and not exists (select from forwards where name = $1 and leased_until > clock_timestamp())",
            )
            .bind(name);
        let deleted = query.execute(&mut *transaction).await?.rows_affected() > 0;
        transaction.commit().await?;
        Ok(deleted)
    }
}
