//! A connection that only writes, made anew when it breaks.
//!
//! Not one of a pool: a pool asks a connection that comes back whether it still works, which costs a round trip for
//! every batch.

use std::sync::Arc;

use sqlx::PgPool;

use super::{
    Allowance, Keeper, StoreError,
    connections::{Counted, WriterConnections},
    record::record,
    session::Session,
    unprocessed::keep,
};
use crate::delivery::{Delivery, Outcome, Reason, UnprocessedDelivery};

/// See the module.
pub struct Writer {
    pool: PgPool,
    transaction_pooler: bool,
    known_bookings_only: Arc<[&'static str]>,
    allowance: Arc<Allowance>,
    connections: WriterConnections,
    session: Option<(Session, Counted)>,
}

impl Writer {
    /// A writer that connects when it is first used, the way that the pool connects at that time. `transaction_pooler`
    /// says what is at the other end; `known_bookings_only` names the providers with `unknown_booking = "reject"`.
    pub fn new(pool: PgPool, transaction_pooler: bool, known_bookings_only: Arc<[&'static str]>) -> Self {
        let (allowance, connections) = (Arc::default(), WriterConnections::default());
        Self { pool, transaction_pooler, known_bookings_only, allowance, connections, session: None }
    }

    /// Has what is answered with an error kept within this allowance.
    pub fn within(self, allowance: &Arc<Allowance>) -> Self {
        Self { allowance: Arc::clone(allowance), ..self }
    }

    /// Has its connection counted there.
    pub fn counted_in(self, connections: &WriterConnections) -> Self {
        Self { connections: connections.clone(), ..self }
    }

    /// Makes deliveries durable; the outcomes are in their order. `spooled` ones waited in a spool, so that others may
    /// have overtaken them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: some of them may be durable. Whoever is handed in again is not written twice.
    pub async fn write(&mut self, deliveries: &[Delivery], spooled: bool) -> Result<Vec<Outcome>, StoreError> {
        let was_connected = self.session.is_some();
        match self.try_write(deliveries, spooled).await {
            // the server may have been restarted since the last batch
            Err(StoreError::Unavailable(_)) if was_connected => self.try_write(deliveries, spooled).await,
            result => result,
        }
    }

    /// Writes over the connection there is, else over a new one. After an error, or when it is dropped on the way, the
    /// connection is given up: nobody knows what is still to come from it.
    async fn try_write(&mut self, deliveries: &[Delivery], spooled: bool) -> Result<Vec<Outcome>, StoreError> {
        let _used = self.connections.count_used();
        let (mut session, counted) = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.pool.connect_options(), self.transaction_pooler).await?;
                (session, self.connections.count_open())
            }
        };
        let outcomes = match self.write_batch(&mut session, deliveries, spooled).await {
            Err(StoreError::Refused(_)) => self.write_one_by_one(&mut session, deliveries, spooled).await,
            result => result,
        }?;
        self.session = Some((session, counted));
        Ok(outcomes)
    }

    async fn write_batch(
        &self,
        session: &mut Session,
        deliveries: &[Delivery],
        spooled: bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        let events: Vec<_> = deliveries.iter().filter_map(Delivery::event).collect();
        let mut outcomes = record(session, &events, spooled, &self.known_bookings_only).await?;
        // what comes out of a spool was admitted when it went in, or was answered with a success
        let is_kept = |delivery: &UnprocessedDelivery| {
            spooled || !delivery.reason.is_error() || self.allowance.admits(delivery, Keeper::Postgres)
        };
        let mut unknown = Vec::new();
        for (event, outcome) in events.iter().zip(&mut outcomes) {
            if let Outcome::UnknownBooking { is_kept: is_this_kept } = outcome {
                let detail = "the booking is not known";
                let delivery = UnprocessedDelivery::from_event(event, Reason::UnknownBooking, detail);
                *is_this_kept = is_kept(&delivery);
                unknown.extend(is_this_kept.then_some(delivery));
            }
        }
        let unprocessed = deliveries.iter().filter_map(Delivery::unprocessed);
        let kept: Vec<_> = unprocessed.map(|delivery| is_kept(delivery).then_some(delivery)).collect();
        let to_keep: Vec<_> = kept.iter().copied().flatten().chain(&unknown).collect();
        if !to_keep.is_empty() {
            keep(session, &to_keep).await?;
        }
        let (mut outcomes, mut kept) = (outcomes.into_iter(), kept.into_iter());
        let outcome = |delivery: &Delivery| match delivery {
            Delivery::Event(_) => outcomes.next().expect("there is an outcome for every event"),
            Delivery::Unprocessed(_) => kept.next().flatten().map_or(Outcome::NotKept, |_| Outcome::Unprocessed),
        };
        Ok(deliveries.iter().map(outcome).collect())
    }

    /// So that of a batch only the row fails that the database refuses. It is kept unprocessed.
    async fn write_one_by_one(
        &self,
        session: &mut Session,
        deliveries: &[Delivery],
        spooled: bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let written = self.write_batch(session, std::slice::from_ref(delivery), spooled).await;
            outcomes.extend(match (written, delivery) {
                (Err(StoreError::Refused(error)), Delivery::Event(event)) => {
                    tracing::error!(delivery.id = %event.id, %error, "the database refuses a row");
                    let detail = "the database refused the row";
                    keep(session, &[&UnprocessedDelivery::from_event(event, Reason::Refused, detail)]).await?;
                    vec![Outcome::Refused]
                }
                (result, _) => result?,
            });
        }
        Ok(outcomes)
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
