//! The SQL of erasing personal data: where there is some, and the steps that erase it.
//!
//! Invariants:
//!
//! - A step is one statement, the first write of its transaction, as it adds to the feed (see `feed`).
//! - The keys of an event are written and erased under one advisory lock, so that none is written of data that was erased in
//!   between.
//! - An event that holds nothing of a person any more is not touched again, and gets no further notice.

mod record;

use sqlx::{
    Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::record::{Erasure, ErasureRecord, RequestedBy};
use super::{Cursor, FeedError, Pool, Position, search::LOCK_SEARCH_KEYS};
use crate::clock;

/// Held by the replica whose step it is.
const RETENTION_LOCK: &str = "select pg_try_advisory_xact_lock(hashtext('ticket_webhooks_retention'))";

/// The service's own consumer: up to its position, everything was looked at for being too old when it was recorded.
const RETENTION_CONSUMER: &str = "retention";

/// Whose data is erased, normalized as search keys are.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// All of them are words of the person's name.
    pub name_words: Option<Vec<String>>,
    pub document: Option<String>,
}

/// Where events are looked for.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The revisions of a booking.
    Booking { providers: &'a [&'static str], environments: &'a [&'static str], booking_ref: &'a str },
    /// By the time in their ids.
    Received { from: OffsetDateTime, before: OffsetDateTime },
    /// By search keys of one kind, up to a position.
    Keyed { kind: &'static str, keys: &'a [String], until: Position },
    /// In the order of the feed, behind a position and up to another.
    Recorded { from: Position, until: Option<Position>, received_before: Option<OffsetDateTime> },
}

/// An event that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub id: Uuid,
    pub position: Position,
    pub is_erasable: bool,
}

/// A body that may be of the person or booking.
#[derive(Debug)]
pub struct FoundBody {
    pub id: Uuid,
    pub provider: String,
    pub environment: String,
    pub received_at: OffsetDateTime,
    pub body: Vec<u8>,
}

/// What became of a step.
#[derive(Debug, Default)]
pub struct Step {
    pub erased: Vec<Uuid>,
    /// Locked by another transaction.
    pub left: Vec<Uuid>,
}

/// What a step erases from.
#[derive(Clone, Copy, Debug)]
pub enum EraseTarget<'a> {
    Events(&'a Person),
    Bodies,
}

impl Pool {
    /// The words of a name, and the number of a document, as search keys have them.
    pub(crate) async fn search_words(&self, name: &str) -> sqlx::Result<Vec<String>> {
        let mut snapshot = self.read().await?;
        self.query("select search_name_words($1)").bind(name).fetch_one(&mut *snapshot).await?.try_get(0)
    }

    pub(crate) async fn search_document(&self, number: &str) -> sqlx::Result<String> {
        let mut snapshot = self.read().await?;
        self.query("select search_document_number($1)").bind(number).fetch_one(&mut *snapshot).await?.try_get(0)
    }

    /// Those of texts, by their index, that hold all words of a name.
    pub(crate) async fn texts_with_words(&self, texts: &[String], words: &[String]) -> sqlx::Result<Vec<usize>> {
        let mut snapshot = self.read().await?;
        let query = "select position from unnest($1::text[]) with ordinality as listed (text, position) \
                     where search_name_words(text) @> $2::text[] order by position";
        let rows = self.query(query).bind(texts).bind(words).fetch_all(&mut *snapshot).await?;
        rows.iter().map(|row| Ok(usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or_default())).collect()
    }

    /// Up to `limit` events of a source behind `after`.
    pub(crate) async fn find_events(
        &self,
        source: Source<'_>,
        person: &Person,
        after: Option<Found>,
        limit: i64,
    ) -> sqlx::Result<Vec<Found>> {
        let after_id = after.map_or(Uuid::nil(), |found| found.id);
        let position = after.map(|found| found.position);
        let (words, document) = (&person.name_words, &person.document);
        let query = match source {
            Source::Booking { providers, environments, booking_ref } => self
                .query(include_str!("erase/booking.sql"))
                .bind(after_id)
                .bind(limit)
                .bind(providers)
                .bind(environments)
                .bind(booking_ref),
            Source::Received { from, before } => self
                .query(include_str!("erase/received.sql"))
                .bind(after_id.max(first_id_of(from)))
                .bind(limit)
                .bind(before)
                .bind(first_id_of(before + time::Duration::MILLISECOND)),
            Source::Keyed { kind, keys, until } => {
                let (first, others) = keys.split_first().map_or(("", keys), |(first, others)| (first.as_str(), others));
                let query = self.behind(include_str!("erase/keyed.sql"), position.unwrap_or_default());
                let query = query.bind(limit).bind(kind).bind(first).bind(others).bind(words).bind(document);
                query.bind(until.generation).bind(until.transaction.to_string()).bind(until.sequence)
            }
            Source::Recorded { from, until, received_before } => self
                .behind(include_str!("erase/recorded.sql"), position.unwrap_or(from))
                .bind(limit)
                .bind(until.map(|until| until.generation))
                .bind(until.map(|until| until.transaction.to_string()))
                .bind(until.map(|until| until.sequence))
                .bind(received_before)
                .bind(words)
                .bind(document),
        };
        let mut snapshot = self.read().await?;
        query.fetch_all(&mut *snapshot).await?.iter().map(found).collect()
    }

    fn behind<'q>(&self, sql: &'static str, position: Position) -> Query<'q, Postgres, PgArguments> {
        let Position { generation, transaction, sequence } = position;
        self.query(sql).bind(generation).bind(transaction.to_string()).bind(sequence)
    }

    /// Up to `limit` unprocessed deliveries that are not erased, received before a time, behind the id and time of `after`.
    /// Their bodies only with `with_body`.
    pub(crate) async fn find_bodies(
        &self,
        received_before: OffsetDateTime,
        after: Option<(OffsetDateTime, Uuid)>,
        with_body: bool,
        limit: i64,
    ) -> sqlx::Result<Vec<FoundBody>> {
        let (after, after_id) = after.unwrap_or((OffsetDateTime::UNIX_EPOCH, Uuid::nil()));
        let query = "select id, provider, environment, received_at, case when $4 then body else '' end as body from unprocessed_deliveries \
                     where erased_at is null and received_at < $1 and (received_at, id) > ($2, $3) \
                     order by received_at, id limit $5";
        let query = self.query(query).bind(received_before).bind(after).bind(after_id).bind(with_body).bind(limit);
        let mut snapshot = self.read().await?;
        let rows = query.fetch_all(&mut *snapshot).await?;
        rows.iter()
            .map(|row| {
                Ok(FoundBody {
                    id: row.try_get("id")?,
                    provider: row.try_get("provider")?,
                    environment: row.try_get("environment")?,
                    received_at: row.try_get("received_at")?,
                    body: row.try_get("body")?,
                })
            })
            .collect()
    }

    /// Erases what these ids name, in a transaction. `None`: it is another replica's turn.
    pub(crate) async fn erase(
        &self,
        erased: EraseTarget<'_>,
        ids: &[Uuid],
        erasure: &Erasure,
    ) -> sqlx::Result<Option<Step>> {
        let mut transaction = self.write().await?;
        if erasure.requested_by == RequestedBy::Retention
            && !self.query(RETENTION_LOCK).fetch_one(&mut *transaction).await?.try_get::<bool, _>(0)?
        {
            return Ok(None);
        }
        let query = match erased {
            EraseTarget::Events(person) => {
                self.query(LOCK_SEARCH_KEYS).execute(&mut *transaction).await?;
                let query = self.query(include_str!("erase/events.sql")).bind(ids);
                query.bind(&person.name_words).bind(&person.document)
            }
            EraseTarget::Bodies => self.query(include_str!("erase/bodies.sql")).bind(ids),
        };
        let rows = erasure.bind(query).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        let mut step = Step::default();
        for row in rows {
            let ids = if row.try_get("is_erased")? { &mut step.erased } else { &mut step.left };
            ids.push(row.try_get("id")?);
        }
        Ok(Some(step))
    }

    /// The position up to which events have search keys.
    pub(crate) async fn search_position(&self) -> Result<Position, FeedError> {
        let mut snapshot = self.read().await?;
        match self.consumer_position(&mut snapshot, "search").await? {
            Some(position) => Ok(position.parse::<Cursor>()?.position),
            None => Ok(Position::default()),
        }
    }

    /// Where retention goes on: behind which position it has not looked at what was recorded, if it ever has; up to which
    /// position there is something; from which time of receipt nothing was erased yet.
    pub(crate) async fn retention_progress(&self) -> Result<(Option<Position>, Cursor, OffsetDateTime), FeedError> {
        let mut snapshot = self.read().await?;
        let newest = self.newest_cursor(&mut snapshot).await?;
        let query = "select coalesce(max(received_before), 'epoch') from erasures \
                     where requested_by = 'retention' and finished_at is not null";
        let from = self.query(query).fetch_one(&mut *snapshot).await?.try_get(0)?;
        let Some(position) = self.consumer_position(&mut snapshot, RETENTION_CONSUMER).await? else {
            return Ok((None, newest, from));
        };
        let cursor: Cursor = position.parse()?;
        let position = match self.check_cursor(&mut snapshot, cursor).await {
            Err(FeedError::HistoryChanged(restart)) => restart.parse::<Cursor>()?.position,
            checked => checked.map(|()| cursor.position)?,
        };
        Ok((Some(position), newest, from))
    }

    pub(crate) async fn move_retention(&self, cursor: Cursor) -> sqlx::Result<()> {
        let query = "insert into consumers (name, position) values ($1, $2) \
                     on conflict (name) do update set position = excluded.position, updated_at = now()";
        let mut transaction = self.write().await?;
        self.query(query).bind(RETENTION_CONSUMER).bind(cursor.to_string()).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

/// No id of an event that was received then or later is below it.
fn first_id_of(received_at: OffsetDateTime) -> Uuid {
    let millis = u128::from_be_bytes(*clock::id_at(received_at).as_bytes()) >> 80;
    Uuid::from_u128(millis << 80)
}

fn found(row: &PgRow) -> sqlx::Result<Found> {
    let position = Position::from_row(row)?;
    Ok(Found { id: row.try_get("id")?, position, is_erasable: row.try_get("is_erasable")? })
}
