//! Answers questions about events: those about a booking, with a record locator, of a status…
//!
//! Events up to the position of the consumer `search` are found by their keys (`search_keys`), those behind it by reading
//! them, a bounded number at a time. Notices are found by reading them; those about a booking by an index.
//!
//! Invariants:
//!
//! - An answer is complete however far the keys are behind. Both parts are read in one snapshot.
//! - Nothing is skipped: where a scan ends at its limit, nothing behind its last row is given out.
//! - The event decides: one that is found by its keys is compared again.

mod indexer;
mod scan;

use sqlx::{PgConnection, Row};

pub use self::indexer::Indexed;
pub(super) use self::indexer::LOCK_SEARCH_KEYS;
use self::scan::Scan;
use super::{
    Cursor, FeedError, Filter, Items, Pool, Position,
    feed::{Item, truncate},
};

/// How many events with a key are scanned for those that match the other conditions, and how many notices.
const MAX_SCANNED: i64 = 10_000;

/// Of events without keys, of which each is read, and its keys computed.
const MAX_SCANNED_WITHOUT_KEYS: i64 = 2_000;

/// Up to this many, events of a time are sorted; more are looked for in the order of the feed.
const MAX_SORTED: i64 = 200_000;

/// In which order items are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As in the feed, behind a position.
    OldestFirst,
    /// Backwards, before a position.
    NewestFirst,
}

/// Between which positions: behind the one, up to the other.
#[derive(Clone, Copy, Debug)]
struct Span {
    after: Position,
    until: Position,
}

const FIRST: Position = Position { generation: 0, transaction: 0, sequence: 0 };
const LAST: Position = Position { generation: i32::MAX, transaction: i64::MAX, sequence: i64::MAX };

/// A filter in the words of `search_keys`.
struct Question<'a> {
    filter: &'a Filter,
    /// How far there are keys.
    indexed: Position,
    kinds: Vec<String>,
    keys: Vec<String>,
    direction: Direction,
}

/// What was found, in order.
struct Found {
    places: Vec<Position>,
    /// The last row that was scanned where a scan ended at its limit.
    end: Option<Position>,
}

impl Pool {
    /// Up to `limit` items that match, and about `max_bytes`: those behind the cursor, or with [`Direction::NewestFirst`]
    /// those before it, `None` being the end of the feed. The cursor is not checked.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    #[expect(clippy::too_many_arguments, reason = "as next_items")]
    pub async fn find_items(
        &self,
        connection: &mut PgConnection,
        filter: &Filter,
        from: Option<Cursor>,
        direction: Direction,
        limit: i64,
        max_bytes: usize,
        include_payload: bool,
    ) -> Result<Items, FeedError> {
        let span = match direction {
            Direction::OldestFirst => Span { after: from.unwrap_or_default().position, until: LAST },
            Direction::NewestFirst => Span { after: FIRST, until: from.map_or(LAST, |cursor| before(cursor.position)) },
        };
        let question = self.question(connection, filter, direction).await?;
        let Found { mut places, end } = self.find(connection, &question, span, limit).await?;
        let is_cut = places.len() as i64 > limit;
        places.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let mut items = self.items(connection, &places, max_bytes, include_payload).await?;
        truncate(&mut items, max_bytes);
        let more = is_cut || items.len() < places.len() || end.is_some();
        let next = match (items.last(), end) {
            (Some(last), _) if is_cut || items.len() < places.len() => last.cursor,
            (_, Some(end)) => self.cursor_at(connection, end).await?,
            _ if direction == Direction::NewestFirst => Cursor::START,
            _ => self.newest_cursor(connection).await?,
        };
        Ok(Items { items, next, more })
    }

    /// The revision with this id and its payload.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn event(&self, id: uuid::Uuid) -> sqlx::Result<Option<Item>> {
        let mut snapshot = self.read().await?;
        let place =
            "select generation, recorded_xid::text::bigint as recorded_xid, sequence from ticket_events where id = $1";
        let Some(row) = self.query(place).bind(id).fetch_optional(&mut *snapshot).await? else { return Ok(None) };
        Ok(self.items(&mut snapshot, &[Position::from_row(&row)?], usize::MAX, true).await?.pop())
    }

    async fn question<'a>(
        &self,
        connection: &mut PgConnection,
        filter: &'a Filter,
        direction: Direction,
    ) -> Result<Question<'a>, FeedError> {
        let query = self.query(include_str!("search/wanted.sql"));
        let query = query.bind(&filter.pnr).bind(&filter.ticket).bind(&filter.name).bind(MAX_SCANNED);
        let row = query.fetch_one(connection).await?;
        let indexed = row.try_get::<Option<&str>, _>("position")?.map(str::parse::<Cursor>).transpose()?;
        Ok(Question {
            filter,
            indexed: indexed.unwrap_or_default().position,
            kinds: row.try_get("kinds")?,
            keys: row.try_get("keys")?,
            direction,
        })
    }

    /// The places of up to `limit` matching items, and one more where there is one.
    async fn find(
        &self,
        connection: &mut PgConnection,
        question: &Question<'_>,
        span: Span,
        limit: i64,
    ) -> Result<Found, FeedError> {
        let Question { filter, indexed, direction, .. } = question;
        let of_notices = match (filter.is_of_revisions(), &filter.booking_ref) {
            (true, _) => None,
            (false, Some(_)) => Some(Scan::BookingNotices),
            (false, None) => Some(Scan::Notices),
        };
        let mut found = match of_notices {
            Some(scan) => self.scan(connection, question, scan, span, limit).await?,
            None => Found { places: Vec::new(), end: None },
        };
        let of_events = if filter.booking_ref.is_some() {
            vec![(Scan::Booking, span)]
        } else {
            let scan = self.scan_of_keys(connection, question, limit).await?;
            let with_keys = (scan, Span { after: span.after, until: span.until.min(*indexed) });
            let without = (Scan::WithoutKeys, Span { after: span.after.max(*indexed), until: span.until });
            match direction {
                Direction::OldestFirst => vec![with_keys, without],
                Direction::NewestFirst => vec![without, with_keys],
            }
        };
        let mut events = 0;
        for (scan, span) in of_events.into_iter().filter(|(_, span)| span.after < span.until) {
            let Found { places, end } = self.scan(connection, question, scan, span, limit + 1 - events).await?;
            events += places.len() as i64;
            found.places.extend(places);
            found.end = direction.first(found.end, end);
            if events > limit || end.is_some() {
                break;
            }
        }
        if let Some(end) = found.end {
            found.places.retain(|place| *place == end || direction.is_before(*place, end));
        }
        found.places.sort_by(|one, other| direction.compare(*one, *other));
        Ok(found)
    }

    /// By which keys the events are found that have some.
    async fn scan_of_keys(
        &self,
        connection: &mut PgConnection,
        question: &Question<'_>,
        limit: i64,
    ) -> sqlx::Result<Scan> {
        let Filter { received_from, received_to, .. } = question.filter;
        if !question.keys.is_empty() {
            return Ok(Scan::Key);
        }
        // all that are scanned match
        let max_scanned = limit + 1;
        if received_from.is_none() && received_to.is_none() {
            return Ok(Scan::Class { max_scanned });
        }
        let query = self.query(include_str!("search/time_count.sql"));
        let row = query.bind(received_from).bind(received_to).bind(MAX_SORTED + 1).fetch_one(connection).await?;
        let is_sorted = row.try_get::<i64, _>("count")? <= MAX_SORTED;
        Ok(if is_sorted { Scan::Time { max_scanned } } else { Scan::Class { max_scanned: MAX_SCANNED } })
    }

    /// The items at these places, in their order, up to about `max_bytes`.
    pub(super) async fn items(
        &self,
        connection: &mut PgConnection,
        places: &[Position],
        max_bytes: usize,
        include_payload: bool,
    ) -> sqlx::Result<Vec<Item>> {
        let query = self
            .query(include_str!("search/items.sql"))
            .bind(places.iter().map(|place| place.generation).collect::<Vec<_>>())
            .bind(places.iter().map(|place| place.transaction).collect::<Vec<_>>())
            .bind(places.iter().map(|place| place.sequence).collect::<Vec<_>>())
            .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX))
            .bind(include_payload);
        query.fetch_all(connection).await?.iter().map(Item::from_row).collect()
    }

    async fn cursor_at(&self, connection: &mut PgConnection, place: Position) -> Result<Cursor, FeedError> {
        let query = "select ticket_feed_cursor(generation, recorded_xid, sequence, id, recorded_at) from feed_items \
                     where generation = $1 and recorded_xid = $2::text::xid8 and sequence = $3";
        let query = self.query(query).bind(place.generation).bind(place.transaction.to_string()).bind(place.sequence);
        Ok(query.fetch_one(connection).await?.try_get::<&str, _>(0)?.parse()?)
    }
}

impl Direction {
    fn compare(self, one: Position, other: Position) -> std::cmp::Ordering {
        match self {
            Self::OldestFirst => one.cmp(&other),
            Self::NewestFirst => other.cmp(&one),
        }
    }

    fn is_before(self, one: Position, other: Position) -> bool {
        self.compare(one, other).is_lt()
    }

    /// The one that comes first, of those that there are.
    fn first(self, one: Option<Position>, other: Option<Position>) -> Option<Position> {
        [one, other].into_iter().flatten().min_by(|one, other| self.compare(*one, *other))
    }
}

/// The position before one.
fn before(position: Position) -> Position {
    Position { sequence: position.sequence - 1, ..position }
}
