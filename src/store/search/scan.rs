//! The ways through the tables to the events that match, each by an index.

use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::Query};

use super::{Direction, Found, MAX_SCANNED, MAX_SCANNED_WITHOUT_KEYS, Pool, Question, Span};
use crate::store::Position;

/// What is scanned, in the order of the feed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scan {
    /// Events with the rarest of the wanted keys.
    Key,
    /// Events of the wanted provider, environment and status.
    Class {
        max_scanned: i64,
    },
    /// Those of them that were received in the wanted time.
    Time {
        max_scanned: i64,
    },
    /// Events that have no keys yet.
    WithoutKeys,
    /// Events of a booking.
    Booking,
    Notices,
    /// Notices about a booking.
    BookingNotices,
}

impl Scan {
    fn sql(self, direction: Direction) -> &'static str {
        match self {
            Self::Key => include_str!("scan_key.sql"),
            Self::Class { .. } => include_str!("scan_class.sql"),
            Self::Time { .. } => include_str!("scan_time.sql"),
            Self::WithoutKeys if direction == Direction::NewestFirst => include_str!("scan_all_backwards.sql"),
            Self::WithoutKeys => include_str!("scan_all.sql"),
            Self::Booking => include_str!("scan_booking.sql"),
            Self::Notices => include_str!("scan_notices.sql"),
            Self::BookingNotices => include_str!("scan_booking_notices.sql"),
        }
    }

    /// The statement that finds what matches among the scanned.
    fn found_sql(self, direction: Direction) -> String {
        let scanned = match self {
            Self::Key | Self::Class { .. } | Self::Time { .. } => {
                include_str!("with_keys.sql").replace("{scanned}", self.sql(direction))
            }
            _ => self.sql(direction).to_owned(),
        };
        let found = match self {
            Self::Notices | Self::BookingNotices => include_str!("found_notices.sql"),
            _ => include_str!("found_events.sql"),
        };
        found.replace("{scanned}", &scanned)
    }

    fn max_scanned(self) -> i64 {
        match self {
            Self::Class { max_scanned } | Self::Time { max_scanned } => max_scanned,
            Self::WithoutKeys => MAX_SCANNED_WITHOUT_KEYS,
            Self::Key | Self::Booking | Self::Notices | Self::BookingNotices => MAX_SCANNED,
        }
    }
}

impl Pool {
    /// What matches in a span, up to `max_found`.
    pub(super) async fn scan(
        &self,
        connection: &mut PgConnection,
        question: &Question<'_>,
        scan: Scan,
        span: Span,
        max_found: i64,
    ) -> sqlx::Result<Found> {
        let statement = |sql: String| {
            let sql = match question.direction {
                Direction::OldestFirst => sql.replace("{direction}", "asc"),
                Direction::NewestFirst => sql.replace("{direction}", "desc"),
            };
            bind(self.query_of_parts(sql), question, span, scan.max_scanned(), max_found)
        };
        let rows = statement(scan.found_sql(question.direction)).fetch_all(&mut *connection).await?;
        let places = rows.iter().map(Position::from_row).collect::<sqlx::Result<Vec<_>>>()?;
        if places.len() as i64 == max_found {
            // what is behind the last place was not scanned
            let end = places.last().copied();
            return Ok(Found { places, end });
        }
        let end = statement(include_str!("scan_end.sql").replace("{scanned}", scan.sql(question.direction)));
        let end = end.fetch_optional(connection).await?.as_ref().map(Position::from_row).transpose()?;
        Ok(Found { places, end })
    }
}

/// The parameters that all of the statements share.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    question: &'q Question<'_>,
    Span { after, until }: Span,
    max_scanned: i64,
    max_found: i64,
) -> Query<'q, Postgres, PgArguments> {
    let filter = question.filter;
    let query = [after, until].into_iter().fold(query, |query, position| {
        query.bind(position.generation).bind(position.transaction.to_string()).bind(position.sequence)
    });
    query
        .bind(max_scanned)
        .bind(max_found)
        .bind(&filter.provider)
        .bind(&filter.environment)
        .bind(&filter.status)
        .bind(filter.received_from)
        .bind(filter.received_to)
        .bind(&question.kinds)
        .bind(&question.keys)
        .bind(&filter.booking_ref)
}
