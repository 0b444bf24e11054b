//! Bookings in the order of their keys.

use super::{BookingState, state::IS_STUCK};
use crate::store::Pool;

/// Which bookings are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookingFilter {
    pub overdue: bool,
    pub stuck: bool,
}

/// The bookings of a provider in an environment, behind a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingRange {
    pub provider: &'static str,
    pub environment: &'static str,
    pub after: String,
}

/// All of a range: those with events, which have a revision 1, and those that are expected.
const ALL: &str = "select booking_ref from (
            (select booking_ref from ticket_events
             where provider = range.provider and environment = range.environment and booking_ref > range.after
             and revision = 1
             order by booking_ref limit $4)
            union
            (select booking_ref from bookings
             where provider = range.provider and environment = range.environment and booking_ref > range.after
             order by booking_ref limit $4)
        ) as booking";

/// Those of a range that may be overdue.
const OVERDUE: &str = "select booking_ref from bookings
        where provider = range.provider and environment = range.environment and booking_ref > range.after
        and expected_by < now() and not is_settled
        order by booking_ref limit $4";

/// Those of a range that may be stuck.
const STUCK: &str = "select booking_ref from open_bookings
        where provider = range.provider and environment = range.environment and booking_ref > range.after
        and last_received_at < now() - make_interval(mins => $5)
        order by booking_ref limit $4";

impl Pool {
    /// The next `limit` candidates in the order of the ranges: the filter is to be asked of each again, because the lists
    /// of candidates are some seconds old.
    pub(crate) async fn bookings(
        &self,
        ranges: &[BookingRange],
        filter: BookingFilter,
        limit: i64,
        stuck_after_minutes: i32,
    ) -> sqlx::Result<Vec<BookingState>> {
        let candidates = match filter {
            BookingFilter { overdue: true, .. } => OVERDUE,
            BookingFilter { stuck: true, .. } => STUCK,
            BookingFilter { overdue: false, stuck: false } => ALL,
        };
        let is_stuck = IS_STUCK.replace("{minutes}", "$5");
        let query = include_str!("list.sql").replace("{candidates}", candidates).replace("{is_stuck}", &is_stuck);
        let mut snapshot = self.read().await?;
        let rows = self
            .query_of_parts(query)
            .bind(ranges.iter().map(|range| range.provider).collect::<Vec<_>>())
            .bind(ranges.iter().map(|range| range.environment).collect::<Vec<_>>())
            .bind(ranges.iter().map(|range| range.after.as_str()).collect::<Vec<_>>())
            .bind(limit)
            .bind(stuck_after_minutes)
            .fetch_all(&mut *snapshot)
            .await?;
        rows.iter().map(BookingState::from_row).collect()
    }
}
