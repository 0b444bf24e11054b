//! Deciding what is a duplicate and what the next revision, and writing it, for a whole batch at once.
//!
//! Deliveries of one booking that follow one another and say the same are a group, the groups of one booking a chain.
//! `first_revision.sql` tries what is most frequent, a booking's first revision, and writes nothing for bookings that
//! have one; `record.sql` numbers whole chains, of which only the first group is compared with what is known of the booking.
//! A chain that lost a race against another replica goes into the next round as a whole, so that the order within a
//! booking holds.

use std::collections::{HashMap, hash_map::Entry};

use sqlx::Row;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, session::Session};
use crate::{
    delivery::Outcome,
    ticket_event::{Environment, TicketEvent},
};

const FIRST_REVISIONS: &str = concat!(include_str!("batch.sql"), include_str!("first_revision.sql"));
const FIRST_REVISION: &str = concat!(include_str!("one.sql"), include_str!("first_revision.sql"));
const RECORD: &str = concat!(include_str!("batch.sql"), include_str!("record.sql"));

/// Deliveries of one booking that follow one another and say the same: the first, and those behind it.
struct EqualDeliveries<'a> {
    event: &'a TicketEvent,
    /// Positions in the batch.
    members: Vec<usize>,
    last_received_at: OffsetDateTime,
}

/// What became of a group.
struct Decided {
    outcome: Outcome,
    /// It is one that was written before, and so were those behind it that were received until then. A group may have
    /// grown since.
    counted_until: Option<OffsetDateTime>,
}

/// Binds the columns of a batch, $1 to $21: arrays ([`of_all`]) or, of a lone delivery, values ([`of_one`]).
macro_rules! bind_columns {
    ($query:expr, $of:ident, $groups:expr) => {
        $query
            .bind($of!($groups, group => group.event.id))
            .bind($of!($groups, group => group.event.provider))
            .bind($of!($groups, group => group.event.account.as_str()))
            .bind($of!($groups, group => group.event.environment.as_str()))
            .bind($of!($groups, group => group.event.booking.booking_ref.as_str()))
            .bind($of!($groups, group => group.event.booking.status.as_str()))
            .bind($of!($groups, group => group.event.booking.pnr.as_deref()))
            .bind($of!($groups, group => group.event.booking.gds_pnr.as_deref()))
            // neither record locators nor ticket numbers nor warnings can hold a line feed
            .bind($of!($groups, group => group.event.booking.airline_pnrs.join("\n")))
            .bind($of!($groups, group => group.event.booking.booking_number.as_deref()))
            .bind($of!($groups, group => group.event.booking.trace_id.as_deref()))
            .bind($of!($groups, group => group.event.booking.provider_status.as_deref()))
            .bind($of!($groups, group => group.event.booking.remark.as_deref()))
            .bind($of!($groups, group => group.passengers()))
            .bind($of!($groups, group => group.event.booking.ticket_numbers().join("\n")))
            .bind($of!($groups, group => group.event.booking.warnings.join("\n")))
            .bind($of!($groups, group => group.event.payload.as_str()))
            .bind($of!($groups, group => group.event.content_hash.as_slice()))
            .bind($of!($groups, group => group.event.received_at))
            .bind($of!($groups, group => group.last_received_at))
            .bind($of!($groups, group => i32::try_from(group.members.len()).unwrap_or(i32::MAX)))
    };
}

macro_rules! of_all {
    ($groups:expr, $group:ident => $value:expr) => {
        $groups.iter().map(|$group| $value).collect::<Vec<_>>()
    };
}

macro_rules! of_one {
    ($one:expr, $group:ident => $value:expr) => {{
        let $group = $one;
        $value
    }};
}

/// Records events, decided in their order; the answers are in the same order.
///
/// An event whose id is recorded already is not written again. When it fails, some of the events may be written.
pub(super) async fn record(
    session: &mut Session,
    events: &[&TicketEvent],
    spooled: bool,
    known_bookings_only: &[&str],
) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; events.len()];
    let mut undecided: Vec<usize> = (0..events.len()).collect();
    while !undecided.is_empty() {
        let groups = groups(events, &undecided);
        let decided = match record_round(session, &groups, spooled, known_bookings_only).await {
            Err(error) if error.is_conflict() => continue,
            decided => decided?,
        };
        undecided.clear();
        for mut group in groups {
            match decided.get(&group.event.id) {
                Some(Decided { outcome, counted_until }) => {
                    undecided.extend(counted_until.map(|until| group.split_off(events, until)).unwrap_or_default());
                    assign(&mut outcomes, &group, outcome);
                }
                None => undecided.extend(group.members),
            }
        }
        // in the order in which they were handed in
        undecided.sort_unstable();
    }
    Ok(outcomes.into_iter().map(|outcome| outcome.expect("every round decides or carries over")).collect())
}

/// One commit, or two. What lost a race is missing in the answer.
async fn record_round(
    session: &mut Session,
    groups: &[EqualDeliveries<'_>],
    spooled: bool,
    known_bookings_only: &[&str],
) -> Result<HashMap<Uuid, Decided>, StoreError> {
    let mut decided = HashMap::with_capacity(groups.len());
    // as a rule bookings are new, and then there is nothing to compare with
    if known_bookings_only.is_empty() {
        let firsts: Vec<_> =
            groups.chunk_by(|one, next| one.booking() == next.booking()).map(|chain| &chain[0]).collect();
        // a lone delivery is spared the opening of 21 arrays, half of what Postgres has to do for it
        let query = match firsts.as_slice() {
            [group] => bind_columns!(sqlx::query(FIRST_REVISION), of_one, group),
            firsts => bind_columns!(sqlx::query(FIRST_REVISIONS), of_all, firsts),
        };
        let rows = match session.fetch_all(query).await.map_err(StoreError::from) {
            Ok(rows) => rows,
            // an id that is there though the first revision of its booking is not, a race, or a row that will be
            // refused below, too
            Err(error) if error.is_conflict() || matches!(error, StoreError::Refused(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        for row in rows {
            let ids: Option<Vec<Uuid>> = row.try_get(0)?;
            for id in ids.unwrap_or_default() {
                let outcome = Outcome::Recorded { revision: 1, is_conflict: false };
                decided.insert(id, Decided { outcome, counted_until: None });
            }
        }
    }
    let rest: Vec<_> = groups.iter().filter(|group| !decided.contains_key(&group.event.id)).collect();
    if rest.is_empty() {
        return Ok(decided);
    }
    let (chains, positions) = chains(&rest);
    let query = bind_columns!(sqlx::query(RECORD), of_all, rest).bind(known_bookings_only).bind(spooled);
    let query = query.bind(chains).bind(positions);
    for row in session.fetch_all(query).await? {
        let outcome = match row.try_get("decision")? {
            "revision" | "written" => {
                Outcome::Recorded { revision: row.try_get("revision")?, is_conflict: row.try_get("is_conflict")? }
            }
            "duplicate" | "decided" => {
                Outcome::Duplicate { event_id: row.try_get("found_id")?, revision: row.try_get("revision")? }
            }
            "unknown_booking" => Outcome::UnknownBooking { is_kept: false },
            _ => continue,
        };
        let counted_until = row.try_get("counted_until")?;
        decided.insert(row.try_get("id")?, Decided { outcome, counted_until });
    }
    Ok(decided)
}

impl<'a> EqualDeliveries<'a> {
    /// The key of its booking.
    fn booking(&self) -> (&'a str, Environment, &'a str) {
        (self.event.provider, self.event.environment, &self.event.booking.booking_ref)
    }

    /// As JSON. It travels as text, like the payload: arrays of `jsonb` take Postgres longer to open.
    fn passengers(&self) -> String {
        serde_json::to_string(&self.event.booking.passengers).expect("passengers have no keys but strings")
    }

    /// Takes out those behind the first that were received later.
    fn split_off(&mut self, events: &[&TicketEvent], received_until: OffsetDateTime) -> Vec<usize> {
        // Postgres keeps microseconds
        let micros = |moment: OffsetDateTime| moment.unix_timestamp_nanos() / 1000;
        let first = self.members[0];
        let is_counted =
            |member: &usize| *member == first || micros(events[*member].received_at) <= micros(received_until);
        let (counted, uncounted) = self.members.iter().copied().partition(is_counted);
        self.members = counted;
        uncounted
    }
}

/// The deliveries at these positions as groups: chain by chain, and each chain in its order. The chains are in the same
/// order in every replica, so that two of them cannot wait for each other.
fn groups<'a>(events: &[&'a TicketEvent], undecided: &[usize]) -> Vec<EqualDeliveries<'a>> {
    let mut groups: Vec<EqualDeliveries<'a>> = Vec::with_capacity(undecided.len());
    // of each booking its last group
    let mut last_of_booking: HashMap<_, usize> = HashMap::with_capacity(undecided.len());
    for index in undecided {
        let event = events[*index];
        let group = EqualDeliveries { event, members: vec![*index], last_received_at: event.received_at };
        match last_of_booking.entry(group.booking()) {
            Entry::Occupied(entry) if groups[*entry.get()].event.content_hash == event.content_hash => {
                let group = &mut groups[*entry.get()];
                group.members.push(*index);
                group.last_received_at = group.last_received_at.max(event.received_at);
            }
            entry => {
                entry.insert_entry(groups.len());
                groups.push(group);
            }
        }
    }
    groups.sort_by_key(EqualDeliveries::booking);
    groups
}

/// Of each group the number of its chain, and its position there.
fn chains(groups: &[&EqualDeliveries<'_>]) -> (Vec<i32>, Vec<i32>) {
    let (mut chain, mut position) = (0, 0);
    let mut before = None;
    let places = groups.iter().map(|group| {
        let booking = Some(group.booking());
        (chain, position) = if booking == before { (chain, position + 1) } else { (chain + 1, 1) };
        before = booking;
        (chain, position)
    });
    places.unzip()
}

/// The first of a group has this outcome; those behind it repeat what it said.
fn assign(outcomes: &mut [Option<Outcome>], group: &EqualDeliveries<'_>, outcome: &Outcome) {
    let repeated = match outcome {
        Outcome::Recorded { revision, .. } => Outcome::Duplicate { event_id: group.event.id, revision: *revision },
        other => other.clone(),
    };
    for (position, member) in group.members.iter().enumerate() {
        outcomes[*member] = Some(if position == 0 { outcome.clone() } else { repeated.clone() });
    }
}
