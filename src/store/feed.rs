//! The SQL of the feed: checked cursors, and the items behind a position.

mod cursor;
mod item;
mod item_row;

use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

pub(super) use self::item_row::raw_json;
pub use self::{
    cursor::{Cursor, InvalidCursor, Position},
    item::{Content, Erased, Item, Order, Overdue, Revision},
};
use super::Pool;

/// Of the items of a page.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which items are wanted; `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub provider: Option<String>,
    pub environment: Option<String>,
    /// An erased item matches any status: it is about an event that had one.
    pub status: Option<String>,
    pub booking_ref: Option<String>,
    /// A record locator of any kind, or the booking number.
    pub pnr: Option<String>,
    /// A ticket number, normalized.
    pub ticket: Option<String>,
    /// Words of passengers' names.
    pub name: Option<String>,
    /// Received then or later.
    pub received_from: Option<OffsetDateTime>,
    /// Received before.
    pub received_to: Option<OffsetDateTime>,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether only revisions match: no other item has what is asked for.
    pub fn is_of_revisions(&self) -> bool {
        self.pnr.is_some()
            || self.ticket.is_some()
            || self.name.is_some()
            || self.received_from.is_some()
            || self.received_to.is_some()
    }

    /// Whether it asks for something that few items have: a person waits for the answer.
    pub fn is_of_few(&self) -> bool {
        self.is_of_revisions() || self.booking_ref.is_some()
    }

    /// By provider, environment, status and booking alone: what else there is to ask is answered in SQL.
    pub fn matches(&self, item: &Item) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let content = &item.content;
        let is_of_status = match content {
            Content::Erased(_) => true,
            _ => self.status.is_none() || content.status() == self.status.as_deref(),
        };
        is_of_status
            && is(&self.provider, content.provider())
            && is(&self.environment, content.environment())
            && is(&self.booking_ref, content.booking_ref())
    }
}

/// Items that follow one another.
#[derive(Debug)]
pub struct Items {
    pub items: Vec<Item>,
    /// The last item that was scanned: to go on from.
    pub next: Cursor,
    /// Whether there are more, matching or not.
    pub more: bool,
}

/// How long committed items have been held back by an older transaction that is open.
#[derive(Clone, Copy, Debug)]
pub struct HeldBack {
    pub is_held_back: bool,
    /// 0 when there are none.
    pub seconds: f64,
    /// The backend of that transaction; 0 when there is none, or the transaction is a prepared one.
    pub pid: i32,
}

/// Why the feed cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// The cursor's item is not what it was: the database was recovered to an earlier point in time.
    #[error("the history of the feed has changed: go on from the cursor {0}; items may come again, none is missed")]
    HistoryChanged(String),
    #[error("the database was restored into another cluster: run `ticket-webhooks migrate`")]
    RestoredElsewhere,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for FeedError {
    fn from(error: sqlx::Error) -> Self {
        let database_error = match &error {
            sqlx::Error::Database(error) => error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>(),
            _ => None,
        };
        // the errors of ticket_feed_position
        match database_error.map(|error| (error.code(), error.detail())) {
            Some(("TWF01", Some(restart))) => Self::HistoryChanged(restart.to_owned()),
            Some(("TWF02", _)) => Self::RestoredElsewhere,
            _ => Self::Database(error),
        }
    }
}

impl Pool {
    /// Whether the item of the cursor is what it was.
    pub(crate) async fn check_cursor(&self, connection: &mut PgConnection, after: Cursor) -> Result<(), FeedError> {
        self.query("select ticket_feed_position($1)").bind(after.to_string()).execute(connection).await?;
        Ok(())
    }

    /// Up to `limit` items, and about `max_bytes`, after the cursor.
    pub(crate) async fn next_items(
        &self,
        connection: &mut PgConnection,
        after: Cursor,
        limit: i64,
        max_bytes: usize,
        include_payload: bool,
    ) -> Result<Items, FeedError> {
        let Position { generation, transaction, sequence } = after.position;
        let rows = self
            .query(include_str!("feed/next.sql"))
            .bind(generation)
            .bind(transaction.to_string())
            .bind(sequence)
            // one more tells whether there are more
            .bind(limit + 1)
            .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX))
            .bind(include_payload)
            .fetch_all(connection)
            .await?;
        let found: i64 = rows.first().map(|row| row.try_get("found")).transpose()?.unwrap_or_default();
        let mut items = rows.iter().map(Item::from_row).collect::<sqlx::Result<Vec<_>>>()?;
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        truncate(&mut items, max_bytes);
        let more = i64::try_from(items.len()).is_ok_and(|given| given < found);
        let next = items.last().map_or(after, |item| item.cursor);
        Ok(Items { items, next, more })
    }

    /// How long items are held back that are committed.
    pub(crate) async fn held_back(&self, connection: &mut PgConnection) -> sqlx::Result<HeldBack> {
        let query = "select coalesce(greatest(seconds, 0), 0), \
                     case when seconds is null then 0 else coalesce(pid, 0) end, seconds is not null \
                     from ticket_feed_held_back()";
        let row = self.query(query).fetch_one(connection).await?;
        Ok(HeldBack { seconds: row.try_get(0)?, pid: row.try_get(1)?, is_held_back: row.try_get(2)? })
    }

    /// The cursor of the newest item that is given out.
    pub(crate) async fn newest_cursor(&self, connection: &mut PgConnection) -> Result<Cursor, FeedError> {
        let query = "select ticket_feed_last_cursor(ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))";
        let row = self.query(query).fetch_one(connection).await?;
        Ok(row.try_get::<&str, _>(0)?.parse()?)
    }
}

/// The stored sizes are those of compressed values.
pub(super) fn truncate(items: &mut Vec<Item>, max_bytes: usize) {
    let mut bytes = 0;
    let fitting = items.iter().position(|item| {
        bytes += item.content.bytes();
        bytes > max_bytes
    });
    if let Some(fitting) = fitting {
        items.truncate(fitting.max(1));
    }
}
