//! Writes batches of deliveries over a connection of its own, which is opened again after an error.
//!
//! It writes none over a pool: a pool tests a connection when it is returned, which costs a round trip for every batch.
//!
//! Invariants:
//!
//! - After an error, or when a write is cancelled, the connection is closed: responses to it may still be under way.
//! - Nothing is written while a backend of a closed connection may still run: its statement, done after later ones, would
//!   record a repetition as news.
//! - A row that the database refuses fails alone, and is stored unprocessed.
//! - A connection that was idle for the idle timeout of the pool is opened anew: a router in between may have forgotten it
//!   without a word, and a write to it would time out.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{PgPool, Row};

use super::{
    Destination, StoreError, UnprocessedQuota,
    connections::{ConnectionGuard, WriterConnections},
    record::record,
    session::{Backend, Session},
    unprocessed::store_unprocessed,
};
use crate::{
    delivery::{Delivery, Outcome, Reason, UnprocessedDelivery},
    ticket_event::TicketEvent,
};

pub struct Writer {
    pool: PgPool,
    transaction_pooler: bool,
    providers_rejecting_unknown: Arc<[&'static str]>,
    quota: Arc<UnprocessedQuota>,
    connections: WriterConnections,
    session: Option<OpenSession>,
    abandoned: Arc<Mutex<Vec<Backend>>>,
}

struct OpenSession {
    session: Session,
    last_used: Instant,
    _counted: ConnectionGuard,
}

/// Notes the backend of a session as abandoned unless its write completes.
struct AbandonGuard {
    backend: Option<Backend>,
    abandoned: Arc<Mutex<Vec<Backend>>>,
}

impl Drop for AbandonGuard {
    fn drop(&mut self) {
        if let Some(backend) = self.backend.take() {
            self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(backend);
        }
    }
}

impl Writer {
    /// Connects at the first write, with the options that the pool has then, and keeps to its idle timeout; only what finds
    /// out about writes uses the pool itself. `transaction_pooler`: through a pooler in transaction mode; `providers_rejecting_unknown`: those
    /// with `unknown_booking = "reject"`.
    pub fn new(pool: PgPool, transaction_pooler: bool, providers_rejecting_unknown: Arc<[&'static str]>) -> Self {
        let (quota, connections) = (Arc::default(), WriterConnections::default());
        Self {
            pool,
            transaction_pooler,
            providers_rejecting_unknown,
            quota,
            connections,
            session: None,
            abandoned: Arc::default(),
        }
    }

    /// Counts its connection there.
    pub fn counted_in(self, connections: &WriterConnections) -> Self {
        Self { connections: connections.clone(), ..self }
    }

    /// Another writer with the same settings, quota and counts, and a connection of its own.
    pub fn another(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            transaction_pooler: self.transaction_pooler,
            providers_rejecting_unknown: Arc::clone(&self.providers_rejecting_unknown),
            quota: Arc::clone(&self.quota),
            connections: self.connections.clone(),
            session: None,
            abandoned: Arc::clone(&self.abandoned),
        }
    }

    /// The quota of unprocessed deliveries that it and its copies share.
    pub fn quota(&self) -> &Arc<UnprocessedQuota> {
        &self.quota
    }

    /// Makes deliveries durable; the outcomes are in their order. `from_spool`: they waited in a spool, so that later
    /// deliveries may be recorded already.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: some of them may be stored; to write them again stores none twice.
    pub async fn write(&mut self, deliveries: &[Delivery], from_spool: bool) -> Result<Vec<Outcome>, StoreError> {
        let was_connected = self.session.is_some();
        match self.try_write(deliveries, from_spool).await {
            // the server may have been restarted since the last batch
            Err(StoreError::Unavailable(_)) if was_connected => self.try_write(deliveries, from_spool).await,
            result => result,
        }
    }

    async fn try_write(&mut self, deliveries: &[Delivery], from_spool: bool) -> Result<Vec<Outcome>, StoreError> {
        let _used = self.connections.count_used();
        let idle_timeout = self.pool.options().get_idle_timeout().unwrap_or(Duration::MAX);
        let mut open = match self.session.take().filter(|open| open.last_used.elapsed() < idle_timeout) {
            Some(open) => open,
            None => self.open().await?,
        };
        let session = &mut open.session;
        self.end_abandoned(session).await?;
        let mut guard = self.guard(session);
        let outcomes = match self.write_batch(session, deliveries, from_spool).await {
            Err(StoreError::Refused(_)) => self.write_one_by_one(session, deliveries, from_spool).await,
            result => result,
        }?;
        guard.backend = None;
        open.last_used = Instant::now();
        self.session = Some(open);
        Ok(outcomes)
    }

    /// Whether the database accepts writes: it answers, has the tables, and is not a standby. It prepares no statement, which
    /// a pooler in transaction mode would lose.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it does not answer, or lacks the tables.
    pub async fn takes_writes(&self) -> Result<bool, StoreError> {
        let query = "select current_setting('transaction_read_only') = 'off' \
                     and not exists (select from ticket_events where false)";
        Ok(sqlx::raw_sql(query).fetch_one(&self.pool).await?.try_get(0)?)
    }

    /// Finds out whether writes succeed, by two that leave nothing: a row that is rolled back, and a commit without a row,
    /// which waits for a synchronous standby as any other does. It takes a connection out of the pool and closes it.
    ///
    /// Behind a pooler it commits nothing: a backend that waits there could not be ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a write would fail, too. One that would time out makes this wait: the caller needs a limit.
    pub async fn try_out(&self) -> Result<(), StoreError> {
        let connection = self.pool.acquire().await?.detach();
        let mut session = Session::over(connection, self.transaction_pooler).await?;
        self.end_abandoned(&mut session).await?;
        let mut guard = self.guard(&session);
        session.try_insert().await?;
        if !self.transaction_pooler {
            session.confirm_what_it_sees().await?;
        }
        guard.backend = None;
        Ok(session.close().await?)
    }

    fn guard(&self, session: &Session) -> AbandonGuard {
        AbandonGuard { backend: session.backend().cloned(), abandoned: Arc::clone(&self.abandoned) }
    }

    async fn open(&self) -> Result<OpenSession, StoreError> {
        let session = Session::open(&self.pool.connect_options(), self.transaction_pooler).await?;
        Ok(OpenSession { session, last_used: Instant::now(), _counted: self.connections.count_open() })
    }

    /// Ends what may still run of connections that were closed during a write.
    async fn end_abandoned(&self, session: &mut Session) -> Result<(), StoreError> {
        let lock = || self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        let abandoned = lock().clone();
        for backend in abandoned {
            if !session.end_backend(&backend).await? {
                return Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into());
            }
            lock().retain(|other| *other != backend);
        }
        Ok(())
    }

    async fn write_batch(
        &self,
        session: &mut Session,
        deliveries: &[Delivery],
        from_spool: bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        let events: Vec<_> = deliveries.iter().filter_map(Delivery::event).collect();
        let mut outcomes = record(session, &events, from_spool, &self.providers_rejecting_unknown).await?;
        // deliveries from a spool were charged when they were appended, or were answered with a success
        let is_within_quota = |delivery: &UnprocessedDelivery| {
            from_spool || !delivery.reason.is_error() || self.quota.try_consume(delivery, Destination::Postgres)
        };
        let mut unknown = Vec::new();
        for (event, outcome) in events.iter().zip(&mut outcomes) {
            if let Outcome::UnknownBooking { is_kept } = outcome {
                let detail = "the booking is not known";
                let delivery = UnprocessedDelivery::from_event(event, Reason::UnknownBooking, detail);
                *is_kept = is_within_quota(&delivery);
                unknown.extend(is_kept.then_some(delivery));
            }
        }
        let unprocessed = deliveries.iter().filter_map(Delivery::unprocessed);
        let within_quota: Vec<_> = unprocessed.map(|delivery| is_within_quota(delivery).then_some(delivery)).collect();
        let to_store: Vec<_> = within_quota.iter().copied().flatten().chain(&unknown).collect();
        if !to_store.is_empty() {
            store_unprocessed(session, &to_store).await?;
        }
        let (mut outcomes, mut within_quota) = (outcomes.into_iter(), within_quota.into_iter());
        let outcome = |delivery: &Delivery| match delivery {
            Delivery::Event(_) => outcomes.next().expect("there is an outcome for every event"),
            Delivery::Unprocessed(_) => {
                within_quota.next().flatten().map_or(Outcome::NotKept, |_| Outcome::Unprocessed)
            }
        };
        Ok(deliveries.iter().map(outcome).collect())
    }

    /// Fails only the rows that the database refuses, not their batch.
    async fn write_one_by_one(
        &self,
        session: &mut Session,
        deliveries: &[Delivery],
        from_spool: bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let result = self.write_batch(session, std::slice::from_ref(delivery), from_spool).await;
            outcomes.extend(match (result, delivery) {
                (Err(StoreError::Refused(error)), Delivery::Event(event)) => {
                    tracing::error!(delivery.id = %event.id, %error, "the database refuses a row");
                    let detail = "the database refused the row";
                    let unprocessed = UnprocessedDelivery::from_event(event, Reason::Refused, detail);
                    store_unprocessed(session, &[&unprocessed]).await?;
                    vec![Outcome::Refused]
                }
                (result, _) => result?,
            });
        }
        Ok(outcomes)
    }
}

impl Delivery {
    fn event(&self) -> Option<&TicketEvent> {
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
