//! A connection that only writes, made anew when it breaks.
//!
//! Not one of a pool: a pool asks a connection that comes back whether it still works, which costs a round trip for
//! every batch.

use std::sync::Arc;

use sqlx::PgPool;

use super::{
    Allowance, Keeper, StoreError,
    connections::{Connections, Counted},
    record::{Decision, record},
    session::Session,
    unprocessed::keep,
};
use crate::delivery::{Delivery, Reason, Receipt, UnprocessedDelivery};

/// See the module.
pub struct Writer {
    pool: PgPool,
    transaction_pooler: bool,
    known_bookings_only: Arc<[&'static str]>,
    allowance: Arc<Allowance>,
    connections: Connections,
    session: Option<(Session, Counted)>,
}

impl Writer {
    /// A writer that connects when it is first used, the way that the pool connects at that time. `transaction_pooler`
    /// says what is at the other end; `known_bookings_only` names the providers with `unknown_booking = "reject"`.
    pub fn new(pool: PgPool, transaction_pooler: bool, known_bookings_only: Arc<[&'static str]>) -> Self {
        let (allowance, connections) = (Arc::default(), Connections::default());
        Self { pool, transaction_pooler, known_bookings_only, allowance, connections, session: None }
    }

    /// Has what is answered with an error kept within this allowance.
    pub fn within(self, allowance: &Arc<Allowance>) -> Self {
        Self { allowance: Arc::clone(allowance), ..self }
    }

    /// Has its connection counted there.
    pub fn counted_in(self, connections: &Connections) -> Self {
        Self { connections: connections.clone(), ..self }
    }

    /// Makes deliveries durable; the receipts are in their order. `spooled` ones waited in a spool, so that others may
    /// have overtaken them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: some of them may be durable. Whoever is handed in again is not written twice.
    pub async fn write(&mut self, deliveries: &[Delivery], spooled: bool) -> Result<Vec<Receipt>, StoreError> {
        let was_connected = self.session.is_some();
        match self.try_write(deliveries, spooled).await {
            // the server may have been restarted since the last batch
            Err(StoreError::Unavailable(_)) if was_connected => self.try_write(deliveries, spooled).await,
            result => result,
        }
    }

    /// Writes over the connection there is, else over a new one. After an error, or when it is dropped on the way, the
    /// connection is given up: nobody knows what is still to come from it.
    async fn try_write(&mut self, deliveries: &[Delivery], spooled: bool) -> Result<Vec<Receipt>, StoreError> {
        let _used = self.connections.use_one();
        let (mut session, counted) = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.pool.connect_options(), self.transaction_pooler).await?;
                (session, self.connections.open_one())
            }
        };
        let receipts = match self.write_batch(&mut session, deliveries, spooled).await {
            Err(StoreError::Refused(_)) => self.write_one_by_one(&mut session, deliveries, spooled).await,
            result => result,
        }?;
        self.session = Some((session, counted));
        Ok(receipts)
    }

    async fn write_batch(
        &self,
        session: &mut Session,
        deliveries: &[Delivery],
        spooled: bool,
    ) -> Result<Vec<Receipt>, StoreError> {
        let events: Vec<_> = deliveries.iter().filter_map(Delivery::event).collect();
        let decisions = record(session, &events, spooled, &self.known_bookings_only).await?;
        let mut unknown = Vec::new();
        for (event, decision) in events.iter().zip(&decisions) {
            if *decision == Decision::UnknownBooking {
                let detail = "the booking is not known";
                unknown.push(UnprocessedDelivery::from_event(event, Reason::UnknownBooking, detail));
            }
        }
        // what comes out of a spool was admitted when it went in, or was answered with a success
        let is_kept = |delivery: &UnprocessedDelivery| {
            spooled || !delivery.reason.is_error() || self.allowance.admits(delivery, Keeper::Postgres)
        };
        let unprocessed = deliveries.iter().filter_map(Delivery::unprocessed).chain(&unknown);
        let unprocessed: Vec<_> = unprocessed.map(|delivery| (delivery, is_kept(delivery))).collect();
        let kept: Vec<_> = unprocessed.iter().filter(|(_, is_kept)| *is_kept).map(|(delivery, _)| *delivery).collect();
        if !kept.is_empty() {
            keep(session, &kept).await?;
        }
        let (asked, unknown) = unprocessed.split_at(unprocessed.len() - unknown.len());
        let (mut decisions, mut asked, mut unknown) = (decisions.into_iter(), asked.iter(), unknown.iter());
        let is_kept = |(_, is_kept): &(_, bool)| *is_kept;
        let receipt = |delivery: &Delivery| match delivery {
            Delivery::Unprocessed(_) if asked.next().is_some_and(is_kept) => Receipt::Kept,
            Delivery::Unprocessed(_) => Receipt::NotKept,
            Delivery::Event(_) => match decisions.next().expect("there is a decision for every event") {
                Decision::Recorded { revision, is_conflict } => Receipt::Recorded { revision, is_conflict },
                Decision::Duplicate { event_id, revision } => Receipt::Duplicate { event_id, revision },
                Decision::UnknownBooking => Receipt::UnknownBooking { is_kept: unknown.next().is_some_and(is_kept) },
            },
        };
        Ok(deliveries.iter().map(receipt).collect())
    }

    /// So that of a batch only the row fails that the database refuses. It is kept unprocessed.
    async fn write_one_by_one(
        &self,
        session: &mut Session,
        deliveries: &[Delivery],
        spooled: bool,
    ) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let written = self.write_batch(session, std::slice::from_ref(delivery), spooled).await;
            receipts.extend(match (written, delivery) {
                (Err(StoreError::Refused(error)), Delivery::Event(event)) => {
                    tracing::error!(delivery.id = %event.id, %error, "the database refuses a row");
                    let detail = "the database refused the row";
                    keep(session, &[&UnprocessedDelivery::from_event(event, Reason::Refused, detail)]).await?;
                    vec![Receipt::Refused]
                }
                (result, _) => result?,
            });
        }
        Ok(receipts)
    }
}

impl Delivery {
    fn event(&self) -> Option<&crate::ticket_event::TicketEvent> {
        match self {
            Self::Event(event) => Some(event),
            Self::Unprocessed(_) => None,
        }
    }

    fn unprocessed(&self) -> Option<&UnprocessedDelivery> {
        match self {
            Self::Event(_) => None,
            Self::Unprocessed(delivery) => Some(delivery),
        }
    }
}
