//! Second chances: unprocessed deliveries are run through today's code again, as if they arrived now.
//!
//! A delivery keeps its id, which becomes the event's, its account and its time of receipt. It counts as one from a spool:
//! `late` where others have overtaken it, a duplicate where it says nothing new. Its authentication is not repeated: it was
//! authenticated before it was stored, and its credentials are gone.
//!
//! Invariants:
//!
//! - Reprocessing is idempotent, also at the same time in several processes: one event, one link, each delivery counted once
//!   (see `store::reprocess`).
//! - A delivery that still cannot be processed keeps its row and its body; only the reason is that of today.

mod announced;
mod outcome;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;
use uuid::Uuid;

pub use self::outcome::{ReprocessOutcome, ReprocessedDelivery};
use crate::{
    commits::Commits,
    credentials::{Accounts, Verified},
    delivery::{Delivery, Outcome, Reason, UnprocessedDelivery},
    metrics::Metrics,
    providers,
    receive::{Arrival, CollectedBody, interpret},
    redaction::{REDACTED, Redactor},
    secrets::CurrentSecrets,
    store::{Pool, Reprocessed, Reprocessing, StoreError, UnprocessedFilter, UnprocessedRow},
};

/// Of reprocessing many.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Runs unprocessed deliveries through today's code.
pub struct Reprocessor {
    pub pool: Pool,
    pub secrets: Arc<CurrentSecrets>,
    /// Of a decompressed body.
    pub body_limit_bytes: usize,
    /// See [`Arrival`].
    pub dropped_members: &'static [&'static str],
    pub providers_rejecting_unknown: Arc<[&'static str]>,
    pub metrics: Arc<Metrics>,
    pub commits: Arc<Commits>,
}

impl Reprocessor {
    /// Reprocesses one delivery; `None` when there is none with this id. `dry_run`: only says what would become of it.
    ///
    /// # Errors
    ///
    /// The database does not answer, or does not take the write.
    pub async fn reprocess(&self, id: Uuid, dry_run: bool) -> Result<Option<ReprocessedDelivery>, StoreError> {
        loop {
            let Some((row, body)) = self.pool.unprocessed_row(id).await? else { return Ok(None) };
            let Some(outcome) = self.reprocess_row(&row, body, dry_run).await? else { continue };
            if !dry_run {
                outcome.count(&self.metrics);
                outcome.log(&row);
            }
            return Ok(Some(ReprocessedDelivery { id, provider: row.provider, environment: row.environment, outcome }));
        }
    }

    /// `None`: the row has changed meanwhile.
    async fn reprocess_row(
        &self,
        row: &UnprocessedRow,
        body: Vec<u8>,
        dry_run: bool,
    ) -> Result<Option<ReprocessOutcome>, StoreError> {
        if row.reprocessed_at.is_some() {
            return Ok(Some(ReprocessOutcome::AlreadyReprocessed { event_id: row.event_id }));
        }
        if row.erased_at.is_some() {
            let detail = "its body was erased".to_owned();
            return Ok(Some(ReprocessOutcome::Unprocessed { reason: row.reason, detail }));
        }
        let stored = row.delivery(body);
        let body_hash = stored.body_hash();
        let (secrets, limit, dropped_members) = (self.secrets.load_full(), self.body_limit_bytes, self.dropped_members);
        // a large body takes milliseconds, and a panic is not to end the task
        let interpreted =
            spawn_blocking(move || interpret_again(stored, &secrets.redactor, limit, dropped_members)).await;
        let event = match interpreted {
            Ok(Delivery::Event(event)) => event,
            Ok(Delivery::Unprocessed(delivery)) => return Ok(Some(self.keep(delivery, dry_run).await?)),
            Err(_) => {
                tracing::error!(delivery.id = %row.id, "an unprocessed delivery cannot be interpreted: a panic");
                let (reason, detail) = (row.reason, row.detail.clone());
                return Ok(Some(ReprocessOutcome::Unprocessed { reason, detail }));
            }
        };
        let (reprocessing, rejecting) =
            (Reprocessing { row, body_hash, event: &event }, &self.providers_rejecting_unknown);
        let reprocessed = if dry_run {
            self.pool.foresee(&reprocessing, rejecting).await.map_err(StoreError::from)
        } else {
            self.pool.reprocess(&reprocessing, rejecting).await
        };
        let (reason, detail) = match reprocessed {
            Ok(Reprocessed::Changed) => return Ok(None),
            Ok(Reprocessed::Event { id: event_id, revision, late, is_duplicate, changes_final_status }) => {
                let booking_ref = event.booking.booking_ref.to_string();
                if is_duplicate {
                    return Ok(Some(ReprocessOutcome::Duplicate { event_id, booking_ref, revision }));
                }
                if !dry_run {
                    let recorded = Outcome::Recorded { revision, changes_final_status };
                    self.commits.count(1);
                    self.metrics.count_stored(&[Delivery::Event(event)], &[recorded]);
                }
                return Ok(Some(ReprocessOutcome::Recorded { event_id, booking_ref, revision, late }));
            }
            Ok(Reprocessed::UnknownBooking) => (Reason::UnknownBooking, "the booking is not known"),
            Err(StoreError::Refused(error)) => {
                tracing::error!(delivery.id = %event.id, %error, "the database refuses a row");
                (Reason::Refused, "the database refused the row")
            }
            Err(error) => return Err(error),
        };
        Ok(Some(self.keep(UnprocessedDelivery::from_event(&event, reason, detail), dry_run).await?))
    }

    /// It is still unprocessed, for the reason that it has today.
    async fn keep(&self, delivery: UnprocessedDelivery, dry_run: bool) -> Result<ReprocessOutcome, StoreError> {
        if !dry_run {
            self.pool.explain_unprocessed(&delivery).await?;
        }
        Ok(ReprocessOutcome::Unprocessed { reason: delivery.reason, detail: delivery.detail })
    }

    /// The ids of up to `limit` deliveries that wait, in the order of receipt; `after` is the last one before.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn waiting(
        &self,
        filter: &UnprocessedFilter,
        after: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Vec<Uuid>> {
        self.pool.waiting_ids(filter, after, limit).await
    }

    /// Reprocesses deliveries that wait, the oldest first, up to `limit` and for about ten seconds; `after` is `next` of the call
    /// before.
    ///
    /// # Errors
    ///
    /// The database does not answer, or does not take a write.
    pub async fn reprocess_waiting(
        &self,
        filter: &UnprocessedFilter,
        after: Option<Uuid>,
        limit: usize,
        dry_run: bool,
    ) -> Result<ReprocessedPage, StoreError> {
        let began = Instant::now();
        let mut ids = self.waiting(filter, after, limit as i64 + 1).await?;
        let mut more = ids.len() > limit;
        ids.truncate(limit);
        let (mut deliveries, mut next) = (Vec::with_capacity(ids.len()), after);
        for id in ids {
            if began.elapsed() > MAX_TIME {
                more = true;
                break;
            }
            deliveries.extend(self.reprocess(id, dry_run).await?);
            next = Some(id);
        }
        Ok(ReprocessedPage { deliveries, next, more })
    }
}

/// What became of several deliveries, in the order of receipt.
pub struct ReprocessedPage {
    pub deliveries: Vec<ReprocessedDelivery>,
    /// The last one.
    pub next: Option<Uuid>,
    pub more: bool,
}

/// The same path as that of a delivery that arrives, apart from authentication.
fn interpret_again(
    stored: UnprocessedDelivery,
    redactor: &Redactor,
    body_limit_bytes: usize,
    dropped_members: &[&str],
) -> Delivery {
    let Some(provider) = providers::by_name(&stored.provider) else { return Delivery::Unprocessed(stored) };
    let body = CollectedBody::unmetered(stored.body.clone());
    let interpreted = interpret(&Arrival {
        provider,
        accounts: &Accounts::default(),
        proof_in_headers: Some(Verified::of_unprocessed(&stored)),
        body: &body,
        is_encoding_supported: true,
        // it was within the limit of its time
        body_limit_bytes: body_limit_bytes.max(stored.body.len()),
        received_at: stored.received_at,
        redactor,
        dropped_members,
    });
    // compressed, and larger than it may be
    let Ok(admitted) = interpreted else { return Delivery::Unprocessed(stored) };
    let mut delivery = admitted.delivery;
    delivery.set_id(stored.id);
    match &mut delivery {
        Delivery::Event(event) => {
            // the stored body is redacted, the reference is as it was sent
            if let Some(sent) = stored.booking_ref.filter(|_| event.booking.booking_ref.contains(REDACTED)) {
                event.booking.booking_ref = sent;
            }
        }
        Delivery::Unprocessed(delivery) => delivery.booking_ref = stored.booking_ref,
    }
    delivery
}
