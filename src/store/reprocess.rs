//! Writes what becomes of an unprocessed delivery.
//!
//! Invariants:
//!
//! - The event and the link to it are written in one transaction: either both are there or neither.
//! - The event is the first write of that transaction (see `feed`), the link the second.
//! - The link is written only while the row is as it was read, else both are taken back: a delivery that another process
//!   reprocessed, that was counted again, or whose body was erased meanwhile becomes nothing, and is counted nowhere.

use sqlx::{Executor, PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Pool, StoreError, UnprocessedRow,
    equal_deliveries::EqualDeliveries,
    event_columns::bind_many,
    record::{RECORD, decision},
};
use crate::{
    delivery::{Outcome, UnprocessedDelivery},
    ticket_event::TicketEvent,
};

/// The transaction must not hold up deliveries of the booking, nor the feed: not when its process hangs, nor for a lock.
const TIMEOUTS: &str = "set local idle_in_transaction_session_timeout = '5s'; set local statement_timeout = '10s'";

/// An unprocessed delivery as it was read, and the event that it is today.
pub struct Reprocessing<'a> {
    pub row: &'a UnprocessedRow,
    pub body_hash: [u8; 32],
    pub event: &'a TicketEvent,
}

/// What an event became, or would become.
#[derive(Debug)]
pub enum Reprocessed {
    Event {
        id: Uuid,
        revision: i32,
        late: bool,
        is_duplicate: bool,
        changes_final_status: bool,
    },
    UnknownBooking,
    /// The row is not as it was read.
    Changed,
}

impl Pool {
    /// Records the event of an unprocessed delivery as if it had waited in a spool, and links it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`]: the database will never accept the event.
    pub(crate) async fn reprocess(
        &self,
        reprocessing: &Reprocessing<'_>,
        providers_rejecting_unknown: &[&str],
    ) -> Result<Reprocessed, StoreError> {
        loop {
            match self.try_reprocess(reprocessing, providers_rejecting_unknown).await {
                Ok(Some(reprocessed)) => return Ok(reprocessed),
                Ok(None) => {}
                Err(error) if error.is_serialization_failure() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `None`: another replica recorded a revision of the booking first.
    async fn try_reprocess(
        &self,
        reprocessing: &Reprocessing<'_>,
        providers_rejecting_unknown: &[&str],
    ) -> Result<Option<Reprocessed>, StoreError> {
        let Reprocessing { row, body_hash, event } = reprocessing;
        let mut transaction = self.write().await?;
        transaction.execute(TIMEOUTS).await?;
        let group = EqualDeliveries::counted(event, row.delivery_count, row.last_received_at);
        let outcome = self.record_from_spool(&mut transaction, &group, providers_rejecting_unknown).await?;
        let (id, revision, is_duplicate, changes_final_status) = match outcome {
            Some(Outcome::Recorded { revision, changes_final_status }) => {
                (row.id, revision, false, changes_final_status)
            }
            Some(Outcome::Duplicate { event_id, revision }) => (event_id, revision, true, false),
            Some(_) => return Ok(Some(Reprocessed::UnknownBooking)),
            None => return Ok(None),
        };
        let mark = self.query(include_str!("unprocessed/mark.sql")).bind(row.id).bind(&body_hash[..]);
        let mark = mark.bind(row.delivery_count).bind(row.last_received_at).bind(id);
        let Some(marked) = mark.fetch_optional(&mut *transaction).await? else {
            return Ok(Some(Reprocessed::Changed));
        };
        let late = marked.try_get("late")?;
        transaction.commit().await?;
        Ok(Some(Reprocessed::Event { id, revision, late, is_duplicate, changes_final_status }))
    }

    /// `None`: it lost a race, and the transaction must not be committed.
    async fn record_from_spool(
        &self,
        connection: &mut PgConnection,
        group: &EqualDeliveries<'_>,
        providers_rejecting_unknown: &[&str],
    ) -> Result<Option<Outcome>, StoreError> {
        let (is_from_spool, chain, position) = (true, vec![1], vec![1]);
        let query = self.query(RECORD.as_str()).bind(providers_rejecting_unknown).bind(is_from_spool);
        let query = query.bind(chain).bind(position);
        let row = bind_many(query, &[group]).fetch_one(connection).await?;
        Ok(decision(&row)?.map(|decision| decision.outcome))
    }

    /// What [`Self::reprocess`] would do now. Writes nothing.
    pub(crate) async fn foresee(
        &self,
        reprocessing: &Reprocessing<'_>,
        providers_rejecting_unknown: &[&str],
    ) -> sqlx::Result<Reprocessed> {
        let Reprocessing { row, event, .. } = reprocessing;
        let mut snapshot = self.read().await?;
        let query = self
            .query(include_str!("unprocessed/foresee.sql"))
            .bind(providers_rejecting_unknown)
            .bind(event.provider)
            .bind(event.environment.as_str())
            .bind(event.booking.booking_ref.as_str())
            .bind(event.id)
            .bind(&event.content_hash[..])
            .bind::<OffsetDateTime>(row.received_at)
            .bind::<OffsetDateTime>(row.last_received_at);
        let foreseen = query.fetch_one(&mut *snapshot).await?;
        let event = |id, revision, late, is_duplicate| Reprocessed::Event {
            id,
            revision,
            late,
            is_duplicate,
            changes_final_status: false,
        };
        if let Some(revision) = foreseen.try_get("stored_revision")? {
            return Ok(event(row.id, revision, foreseen.try_get("stored_late")?, false));
        }
        if foreseen.try_get("is_unknown")? {
            return Ok(Reprocessed::UnknownBooking);
        }
        let late = foreseen.try_get("is_late")?;
        Ok(match foreseen.try_get("repeated_id")? {
            Some(id) => event(id, foreseen.try_get("repeated_revision")?, late, true),
            None => event(row.id, foreseen.try_get("next_revision")?, late, false),
        })
    }

    /// Updates the reason of a delivery that is still unprocessed.
    pub(crate) async fn explain_unprocessed(&self, delivery: &UnprocessedDelivery) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let query = self
            .query(include_str!("unprocessed/explain.sql"))
            .bind(delivery.id)
            .bind(delivery.reason.as_str())
            .bind(&delivery.detail)
            .bind(delivery.booking_ref.as_deref());
        match query.execute(&mut *transaction).await.map_err(StoreError::from) {
            Ok(_) => Ok(transaction.commit().await?),
            // the same body was stored with that reason just now
            Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
