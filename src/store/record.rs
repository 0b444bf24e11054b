//! Deciding what is a duplicate and what the next revision, and writing it, for a whole batch at once.
//!
//! Deliveries of one booking that follow one another and say the same are a run, the runs of one booking a chain.
//! `first_revision.sql` tries what is most frequent, a booking's first revision, and writes nothing for bookings that
//! have one; `record.sql` numbers whole chains, of which only the first run is compared with what is known of the booking.
//! A chain that lost a race against another replica goes into the next round as a whole, so that the order within a
//! booking holds.

use std::collections::{HashMap, hash_map::Entry};

use sqlx::Row;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, session::Session};
use crate::ticket_event::{Environment, TicketEvent};

const FIRST_REVISIONS: &str = concat!(include_str!("batch.sql"), include_str!("first_revision.sql"));
const FIRST_REVISION: &str = concat!(include_str!("one.sql"), include_str!("first_revision.sql"));
const RECORD: &str = concat!(include_str!("batch.sql"), include_str!("record.sql"));

/// What became of an event that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is a new revision.
    Recorded {
        /// Its number.
        revision: i32,
        /// Whether it changes a final status.
        is_conflict: bool,
    },
    /// It says what the newest revision says.
    Duplicate {
        /// The id of that revision.
        event_id: Uuid,
        /// The number of that revision.
        revision: i32,
    },
    /// Its booking is not in `bookings`, where that is required.
    UnknownBooking,
}

/// Deliveries of one booking that follow one another and say the same: the first, and those behind it.
struct Run<'a> {
    event: &'a TicketEvent,
    /// Positions in the batch.
    members: Vec<usize>,
    last_received_at: OffsetDateTime,
}

/// What became of a run.
struct Decided {
    decision: Decision,
    /// It is one that was written before, and so were those behind it that were received until then. A run may have
    /// grown since.
    counted_until: Option<OffsetDateTime>,
}

/// Binds the columns of a batch, $1 to $21: arrays ([`of_all`]) or, of a lone delivery, values ([`of_one`]).
macro_rules! bind_columns {
    ($query:expr, $of:ident, $runs:expr) => {
        $query
            .bind($of!($runs, run => run.event.id))
            .bind($of!($runs, run => run.event.provider))
            .bind($of!($runs, run => run.event.account.as_str()))
            .bind($of!($runs, run => run.event.environment.as_str()))
            .bind($of!($runs, run => run.event.booking.booking_ref.as_str()))
            .bind($of!($runs, run => run.event.booking.status.as_str()))
            .bind($of!($runs, run => run.event.booking.pnr.as_deref()))
            .bind($of!($runs, run => run.event.booking.gds_pnr.as_deref()))
            // neither record locators nor ticket numbers nor warnings can hold a line feed
            .bind($of!($runs, run => run.event.booking.airline_pnrs.join("\n")))
            .bind($of!($runs, run => run.event.booking.booking_number.as_deref()))
            .bind($of!($runs, run => run.event.booking.trace_id.as_deref()))
            .bind($of!($runs, run => run.event.booking.provider_status.as_deref()))
            .bind($of!($runs, run => run.event.booking.remark.as_deref()))
            .bind($of!($runs, run => run.passengers()))
            .bind($of!($runs, run => run.event.booking.ticket_numbers().join("\n")))
            .bind($of!($runs, run => run.event.booking.warnings.join("\n")))
            .bind($of!($runs, run => run.event.payload.as_str()))
            .bind($of!($runs, run => run.event.content_hash.as_slice()))
            .bind($of!($runs, run => run.event.received_at))
            .bind($of!($runs, run => run.last_received_at))
            .bind($of!($runs, run => i32::try_from(run.members.len()).unwrap_or(i32::MAX)))
    };
}

macro_rules! of_all {
    ($runs:expr, $run:ident => $value:expr) => {
        $runs.iter().map(|$run| $value).collect::<Vec<_>>()
    };
}

macro_rules! of_one {
    ($one:expr, $run:ident => $value:expr) => {{
        let $run = $one;
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
) -> Result<Vec<Decision>, StoreError> {
    let mut decisions: Vec<Option<Decision>> = vec![None; events.len()];
    let mut undecided: Vec<usize> = (0..events.len()).collect();
    while !undecided.is_empty() {
        let runs = runs(events, &undecided);
        let decided = match record_round(session, &runs, spooled, known_bookings_only).await {
            Err(error) if error.is_conflict() => continue,
            decided => decided?,
        };
        undecided.clear();
        for mut run in runs {
            match decided.get(&run.event.id) {
                Some(Decided { decision, counted_until }) => {
                    undecided.extend(counted_until.map(|until| run.split_off(events, until)).unwrap_or_default());
                    decide(&mut decisions, &run, decision);
                }
                None => undecided.extend(run.members),
            }
        }
        // in the order in which they were handed in
        undecided.sort_unstable();
    }
    Ok(decisions.into_iter().map(|decision| decision.expect("every round decides or carries over")).collect())
}

/// One commit, or two. What lost a race is missing in the answer.
async fn record_round(
    session: &mut Session,
    runs: &[Run<'_>],
    spooled: bool,
    known_bookings_only: &[&str],
) -> Result<HashMap<Uuid, Decided>, StoreError> {
    let mut decided = HashMap::with_capacity(runs.len());
    // as a rule bookings are new, and then there is nothing to compare with
    if known_bookings_only.is_empty() {
        let firsts: Vec<_> =
            runs.chunk_by(|one, next| one.booking() == next.booking()).map(|chain| &chain[0]).collect();
        // a lone delivery is spared the opening of 21 arrays, half of what Postgres has to do for it
        let query = match firsts.as_slice() {
            [run] => bind_columns!(sqlx::query(FIRST_REVISION), of_one, run),
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
                let decision = Decision::Recorded { revision: 1, is_conflict: false };
                decided.insert(id, Decided { decision, counted_until: None });
            }
        }
    }
    let rest: Vec<_> = runs.iter().filter(|run| !decided.contains_key(&run.event.id)).collect();
    if rest.is_empty() {
        return Ok(decided);
    }
    let (chains, positions) = chains(&rest);
    let query = bind_columns!(sqlx::query(RECORD), of_all, rest).bind(known_bookings_only).bind(spooled);
    let query = query.bind(chains).bind(positions);
    for row in session.fetch_all(query).await? {
        let decision = match row.try_get("decision")? {
            "revision" | "written" => {
                Decision::Recorded { revision: row.try_get("revision")?, is_conflict: row.try_get("is_conflict")? }
            }
            "duplicate" | "decided" => {
                Decision::Duplicate { event_id: row.try_get("found_id")?, revision: row.try_get("revision")? }
            }
            "unknown_booking" => Decision::UnknownBooking,
            _ => continue,
        };
        let counted_until = row.try_get("counted_until")?;
        decided.insert(row.try_get("id")?, Decided { decision, counted_until });
    }
    Ok(decided)
}

impl<'a> Run<'a> {
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

/// The deliveries at these positions as runs: chain by chain, and each chain in its order. The chains are in the same
/// order in every replica, so that two of them cannot wait for each other.
fn runs<'a>(events: &[&'a TicketEvent], undecided: &[usize]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::with_capacity(undecided.len());
    // of each booking its last run
    let mut last_of_booking: HashMap<_, usize> = HashMap::with_capacity(undecided.len());
    for index in undecided {
        let event = events[*index];
        let run = Run { event, members: vec![*index], last_received_at: event.received_at };
        match last_of_booking.entry(run.booking()) {
            Entry::Occupied(entry) if runs[*entry.get()].event.content_hash == event.content_hash => {
                let run = &mut runs[*entry.get()];
                run.members.push(*index);
                run.last_received_at = run.last_received_at.max(event.received_at);
            }
            entry => {
                entry.insert_entry(runs.len());
                runs.push(run);
            }
        }
    }
    runs.sort_by_key(Run::booking);
    runs
}

/// Of each run the number of its chain, and its position there.
fn chains(runs: &[&Run<'_>]) -> (Vec<i32>, Vec<i32>) {
    let (mut chain, mut position) = (0, 0);
    let mut before = None;
    let places = runs.iter().map(|run| {
        let booking = Some(run.booking());
        (chain, position) = if booking == before { (chain, position + 1) } else { (chain + 1, 1) };
        before = booking;
        (chain, position)
    });
    places.unzip()
}

/// The first of a run got this decision; those behind it repeat what it said.
fn decide(decisions: &mut [Option<Decision>], run: &Run<'_>, decision: &Decision) {
    let repeated = match decision {
        Decision::Recorded { revision, .. } => Decision::Duplicate { event_id: run.event.id, revision: *revision },
        other => other.clone(),
    };
    for (position, member) in run.members.iter().enumerate() {
        decisions[*member] = Some(if position == 0 { decision.clone() } else { repeated.clone() });
    }
}
