//! The SQL of the forwards: which replica works on each, how far it is, and what it could not deliver yet.
//!
//! Invariants:
//!
//! - Only the holder of the lease writes how far a forward is: its statements name it, and change nothing once another
//!   replica has taken over. That is a column of a row, not a lock of a session: a pooler may stand in between.
//! - What the holder knows is what the database has: a statement that meets another `version` changes nothing. After a recovery
//!   to an earlier point in time, or a commit whose answer was lost, the holder begins anew with what the database has.
//! - `forward_items` is the holder's alone. To skip an item, others write `forward_skips`, which the holder reads.

mod list;

use serde::Serialize;
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::list::{BlockedItem, ForwardStatus, PauseReason, SkippedItem};
use super::{BookingKey, Cursor, FeedError, Item, Pool, Position};

/// Without a sign of life for this long, the holder may be replaced, in seconds.
pub const LEASE_SECONDS: i32 = 10;

/// An item that is not delivered yet.
#[derive(Clone, Debug, Serialize)]
pub struct ForwardItem {
    pub id: Uuid,
    #[serde(flatten)]
    pub position: Position,
    /// The cursor of the item before it in the feed.
    #[serde(serialize_with = "as_text")]
    pub preceding: Cursor,
    #[serde(flatten)]
    pub booking: BookingKey,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// Those that failed.
    pub attempts: i32,
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_attempt_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_attempt_at: Option<OffsetDateTime>,
    pub last_outcome: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
}

/// How far a forward was when it was taken over.
#[derive(Debug)]
pub struct AcquiredForward {
    pub scanned: Cursor,
    pub version: i64,
    /// The receiver asked that nothing is sent before.
    pub not_before: Option<OffsetDateTime>,
    /// In the order of the feed.
    pub items: Vec<ForwardItem>,
    pub control: ForwardControl,
}

/// What operators want of a forward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardControl {
    pub is_paused: bool,
    /// How often it was resumed.
    pub resumes: i32,
    /// Items that are given up.
    pub skipped: Vec<Uuid>,
}

/// What is recorded at once.
#[derive(Debug)]
pub struct ForwardProgress {
    /// Every item up to there is done, not wanted, or kept.
    pub scanned: Cursor,
    /// Every item up to there is done or not wanted.
    pub position: Cursor,
    /// Kept items that are delivered: nobody skipped them.
    pub delivered: Vec<Uuid>,
    /// Kept items that are skipped, or not wanted any more.
    pub dropped: Vec<Uuid>,
    pub kept: Vec<ForwardItem>,
    /// The receiver answered 410: the forward is paused.
    pub is_receiver_gone: bool,
    /// The receiver asked that nothing is sent before.
    pub not_before: Option<OffsetDateTime>,
}

impl Pool {
    /// Takes the lease of a forward, which begins at the start of the feed or behind its present end when it is new. `None`
    /// while another replica has it.
    pub async fn acquire_forward(
        &self,
        name: &str,
        holder: Uuid,
        from_start: bool,
    ) -> Result<Option<AcquiredForward>, FeedError> {
        let mut transaction = self.write().await?;
        let is_known = self.query("select from forwards where name = $1").bind(name);
        if is_known.fetch_optional(&mut *transaction).await?.is_none() {
            let begin =
                if from_start { Cursor::START } else { self.newest_cursor(&mut transaction).await? }.to_string();
            let consumer = "insert into consumers (name, position) values ($1, $2) on conflict do nothing";
            self.query(consumer).bind(name).bind(&begin).execute(&mut *transaction).await?;
            let forward = "insert into forwards (name, scanned) values ($1, $2) on conflict do nothing";
            self.query(forward).bind(name).bind(&begin).execute(&mut *transaction).await?;
        }
        let acquire = self.query(include_str!("forwards/acquire.sql")).bind(name).bind(holder).bind(LEASE_SECONDS);
        let Some(row) = acquire.fetch_optional(&mut *transaction).await? else {
            return Ok(None);
        };
        let scanned = row.try_get::<&str, _>("scanned")?.parse()?;
        let version = row.try_get("version")?;
        let not_before = row.try_get("not_before")?;
        let control = ForwardControl::from_row(&row)?;
        let items = "select * from forward_items where forward = $1 \
                     order by generation, recorded_xid, sequence";
        let rows = self.query(items).bind(name).fetch_all(&mut *transaction).await?;
        let items = rows.iter().map(ForwardItem::from_row).collect::<Result<_, FeedError>>()?;
        transaction.commit().await?;
        Ok(Some(AcquiredForward { scanned, version, not_before, items, control }))
    }

    /// Records how far a forward is, and extends the lease; the version is one more then. `None` when another replica has taken
    /// over, the forward was deleted, or the version is another one.
    pub async fn advance_forward(
        &self,
        name: &str,
        holder: Uuid,
        version: i64,
        progress: &ForwardProgress,
    ) -> sqlx::Result<Option<ForwardControl>> {
        let kept = serde_json::to_value(&progress.kept).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let mut transaction = self.write().await?;
        let query = self
            .query(include_str!("forwards/advance.sql"))
            .bind(name)
            .bind(holder)
            .bind(LEASE_SECONDS)
            .bind(progress.scanned.to_string())
            .bind(progress.position.to_string())
            .bind([&progress.delivered[..], &progress.dropped].concat())
            .bind(kept)
            .bind(progress.is_receiver_gone)
            .bind(version)
            .bind(progress.not_before);
        let row = query.fetch_optional(&mut *transaction).await?;
        if row.is_some() && !progress.delivered.is_empty() {
            // skipped while it was being sent; a statement of its own sees what was skipped until now
            let take_back = self.query("delete from forward_skips where forward = $1 and id = any ($2)");
            take_back.bind(name).bind(&progress.delivered).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        row.as_ref().map(ForwardControl::from_row).transpose()
    }

    /// Lets a forward go on from an earlier cursor after the history of the feed has changed.
    pub async fn rewind_forward(&self, name: &str, holder: Uuid, cursor: Cursor) -> sqlx::Result<()> {
        let Position { generation, transaction: xid, sequence } = cursor.position;
        let mut transaction = self.write().await?;
        let query = self.query(include_str!("forwards/rewind.sql")).bind(name).bind(holder).bind(cursor.to_string());
        query.bind(generation).bind(xid).bind(sequence).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// Gives the lease back.
    pub async fn release_forward(&self, name: &str, holder: Uuid) -> sqlx::Result<()> {
        let mut transaction = self.write().await?;
        let release = "update forwards set holder = null, leased_until = null where name = $1 and holder = $2";
        self.query(release).bind(name).bind(holder).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// The item at a position as it is now; `None` when there is none any more.
    pub(crate) async fn item_at(&self, position: Position, include_payload: bool) -> sqlx::Result<Option<Item>> {
        let mut snapshot = self.read().await?;
        Ok(self.items(&mut snapshot, &[position], usize::MAX, include_payload).await?.pop())
    }
}

impl ForwardItem {
    /// One that was never tried.
    pub fn new(item: &Item, preceding: Cursor) -> Self {
        let content = &item.content;
        Self {
            id: content.id(),
            position: item.cursor.position,
            preceding,
            booking: BookingKey {
                provider: content.provider().to_owned(),
                environment: content.environment().to_owned(),
                booking_ref: content.booking_ref().to_owned(),
            },
            recorded_at: content.recorded_at(),
            attempts: 0,
            first_attempt_at: None,
            last_attempt_at: None,
            last_outcome: None,
            next_attempt_at: None,
        }
    }

    fn from_row(row: &PgRow) -> Result<Self, FeedError> {
        Ok(Self {
            id: row.try_get("id")?,
            position: Position::from_row(row)?,
            preceding: row.try_get::<&str, _>("preceding")?.parse()?,
            booking: BookingKey::from_row(row)?,
            recorded_at: row.try_get("recorded_at")?,
            attempts: row.try_get("attempts")?,
            first_attempt_at: row.try_get("first_attempt_at")?,
            last_attempt_at: row.try_get("last_attempt_at")?,
            last_outcome: row.try_get("last_outcome")?,
            next_attempt_at: row.try_get("next_attempt_at")?,
        })
    }
}

impl ForwardControl {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            is_paused: row.try_get("is_paused")?,
            resumes: row.try_get("resumes")?,
            skipped: row.try_get("skipped")?,
        })
    }
}

fn as_text<S: serde::Serializer>(cursor: &Cursor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cursor)
}
