//! Records a batch of events: decides what is a duplicate and what the next revision, and inserts the revisions.
//!
//! `first_revisions.sql` tries the frequent case, the first revision of a booking, and inserts nothing for other bookings;
//! `first_revision.sql` is the same for one. `record.sql` numbers whole chains (see
//! [`equal_deliveries`](super::equal_deliveries)); only the first group of a chain is compared with the booking's stored
//! state, as each differs from the one before it.
//!
//! Invariants:
//!
//! - An event is stored once, however often it is handed in: its id is the primary key.
//! - A round is one statement, or two, each its own transaction; what lost a race is decided in another round.
//! - Readers page by (`recorded_xid`, `sequence`). A statement's snapshot precedes its transaction id only if the insert is
//!   the first write of its transaction: then the revisions of a booking are in their order.
//! - Only one replica stores a given revision of a booking (unique key). A chain that loses the race is decided again as
//!   a whole, so that its order holds.
//! - What was found stored counts as stored only once a write after it is committed (`Session::confirm_what_it_sees`).

use std::{collections::HashMap, sync::LazyLock};

use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    StoreError,
    equal_deliveries::{EqualDeliveries, chain_positions},
    event_columns::{Parameters, bind_many, bind_one, statement},
    session::Session,
};
use crate::{delivery::Outcome, ticket_event::TicketEvent};

static FIRST_REVISION: LazyLock<String> =
    LazyLock::new(|| statement(include_str!("first_revision.sql"), 0, Parameters::Values));
static FIRST_REVISIONS: LazyLock<String> =
    LazyLock::new(|| statement(include_str!("first_revisions.sql"), 0, Parameters::Arrays));
pub(super) static RECORD: LazyLock<String> =
    LazyLock::new(|| statement(include_str!("record.sql"), 4, Parameters::Arrays));

/// The decision on a group.
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    /// Set when an earlier attempt stored the group: `delivery_count` has the members that were received up to this
    /// time; later ones have joined since and are decided in another round.
    counted_until: Option<OffsetDateTime>,
    /// Whether it was found stored, and nothing was written for it.
    is_only_seen: bool,
}

/// `decision` in a row of `record.sql`.
enum RowDecision {
    NewRevision,
    /// An earlier attempt stored it as a revision.
    AlreadyRecorded,
    Duplicate,
    /// An earlier attempt counted it as a duplicate.
    AlreadyCounted,
    UnknownBooking,
    /// It comes behind what an earlier attempt stored, which may have gained deliveries.
    NextRound,
    /// Another replica stored the revision first.
    LostRace,
}

/// Records events in their order; the outcomes are in the same order.
///
/// After an error some of the events may be stored.
pub(super) async fn record(
    session: &mut Session,
    events: &[&TicketEvent],
    from_spool: bool,
    providers_rejecting_unknown: &[&str],
) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; events.len()];
    let mut undecided: Vec<usize> = (0..events.len()).collect();
    let mut is_any_only_seen = false;
    while !undecided.is_empty() {
        let groups = EqualDeliveries::group(events, &undecided);
        let decisions = match record_round(session, &groups, from_spool, providers_rejecting_unknown).await {
            Err(error) if error.is_serialization_failure() => continue,
            decisions => decisions?,
        };
        undecided.clear();
        for mut group in groups {
            match decisions.get(&group.event.id) {
                Some(Decision { outcome, counted_until, is_only_seen }) => {
                    is_any_only_seen |= is_only_seen;
                    let uncounted = counted_until.map(|until| group.split_off_after(events, until));
                    undecided.extend(uncounted.unwrap_or_default());
                    group.assign(outcome, &mut outcomes);
                }
                None => undecided.extend(group.members),
            }
        }
        // back into the order of the batch
        undecided.sort_unstable();
    }
    if is_any_only_seen {
        session.confirm_what_it_sees().await?;
    }
    Ok(outcomes.into_iter().map(|outcome| outcome.expect("every round decides or carries over")).collect())
}

/// One or two statements. Groups without a decision go into the next round.
async fn record_round(
    session: &mut Session,
    groups: &[EqualDeliveries<'_>],
    from_spool: bool,
    providers_rejecting_unknown: &[&str],
) -> Result<HashMap<Uuid, Decision>, StoreError> {
    let mut decisions = HashMap::with_capacity(groups.len());
    // it does not know `bookings`
    if providers_rejecting_unknown.is_empty() {
        for id in insert_first_revisions(session, groups).await? {
            let outcome = Outcome::Recorded { revision: 1, changes_final_status: false };
            decisions.insert(id, Decision { outcome, counted_until: None, is_only_seen: false });
        }
    }
    let rest: Vec<_> = groups.iter().filter(|group| !decisions.contains_key(&group.event.id)).collect();
    if rest.is_empty() {
        return Ok(decisions);
    }
    let (chains, positions) = chain_positions(&rest);
    let query = sqlx::query(RECORD.as_str()).bind(providers_rejecting_unknown).bind(from_spool);
    let query = query.bind(chains).bind(positions);
    for row in session.fetch_all(bind_many(query, &rest)).await? {
        if let Some(decision) = decision(&row)? {
            decisions.insert(row.try_get("id")?, decision);
        }
    }
    Ok(decisions)
}

/// The ids that were inserted.
async fn insert_first_revisions(
    session: &mut Session,
    groups: &[EqualDeliveries<'_>],
) -> Result<Vec<Uuid>, StoreError> {
    let firsts: Vec<_> = groups.chunk_by(|one, next| one.booking() == next.booking()).map(|chain| &chain[0]).collect();
    let query = match firsts.as_slice() {
        [group] => bind_one(sqlx::query(FIRST_REVISION.as_str()), group),
        firsts => bind_many(sqlx::query(FIRST_REVISIONS.as_str()), firsts),
    };
    let rows = match session.fetch_all(query).await.map_err(StoreError::from) {
        Ok(rows) => rows,
        // left to record.sql: an id that is stored although its booking has no revision 1 (primary key), a lost race, or
        // an invalid row, which fails there again
        Err(error) if error.is_serialization_failure() || matches!(error, StoreError::Refused(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let ids = rows.iter().map(|row| row.try_get::<Option<Vec<Uuid>>, _>(0)).collect::<Result<Vec<_>, _>>()?;
    Ok(ids.into_iter().flatten().flatten().collect())
}

/// `None`: it goes into the next round.
pub(super) fn decision(row: &PgRow) -> sqlx::Result<Option<Decision>> {
    let decision = RowDecision::parse(row.try_get("decision")?)?;
    let is_only_seen = matches!(decision, RowDecision::AlreadyRecorded | RowDecision::AlreadyCounted);
    let outcome = match decision {
        RowDecision::NewRevision | RowDecision::AlreadyRecorded => Outcome::Recorded {
            revision: row.try_get("revision")?,
            changes_final_status: row.try_get("changes_final_status")?,
        },
        RowDecision::Duplicate | RowDecision::AlreadyCounted => {
            Outcome::Duplicate { event_id: row.try_get("matching_id")?, revision: row.try_get("revision")? }
        }
        RowDecision::UnknownBooking => Outcome::UnknownBooking { is_kept: false },
        RowDecision::NextRound | RowDecision::LostRace => return Ok(None),
    };
    Ok(Some(Decision { outcome, counted_until: row.try_get("counted_until")?, is_only_seen }))
}

impl RowDecision {
    fn parse(text: &str) -> sqlx::Result<Self> {
        Ok(match text {
            "new_revision" => Self::NewRevision,
            "already_recorded" => Self::AlreadyRecorded,
            "duplicate" => Self::Duplicate,
            "already_counted" => Self::AlreadyCounted,
            "unknown_booking" => Self::UnknownBooking,
            "next_round" => Self::NextRound,
            "lost_race" => Self::LostRace,
            other => return Err(sqlx::Error::Decode(format!("record.sql has no decision {other}").into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_statements() {
        insta::assert_snapshot!("first_revision", FIRST_REVISION.as_str());
        insta::assert_snapshot!("first_revisions", FIRST_REVISIONS.as_str());
        insta::assert_snapshot!("record", RECORD.as_str());
    }
}
