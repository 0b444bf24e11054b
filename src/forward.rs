//! Forwards: every TicketEvent, sent on to the agency's own systems as a signed request, until they say yes.
//!
//! ```text
//! feed ──page──▶ schedule ──attempt──▶ sender ──POST──▶ receiver
//!                   ▲                    │ outcome
//!                   └──── recorded ◀── store: done, or to be tried again
//! ```
//!
//! Invariants:
//!
//! - Nothing is skipped: an item is done when the receiver has answered 2xx, or when somebody gave it up by name. It is in
//!   memory or in `forward_items` until then, or stands behind `scanned` in the feed.
//! - Items of a booking are sent one at a time, in the order of the feed. The next one is sent after what became of the one
//!   before is recorded.
//! - At most `max_in_flight` requests are running or not yet recorded: so many at most are sent twice after a crash.
//! - One replica sends, the holder of the lease. It sends nothing once its lease may have ended.
//! - A request goes to the configured URL only: no redirect is followed, no proxy is used.
//! - No log line has personal data, a secret, or the URL's path.

mod answer;
mod attempt;
mod backoff;
mod lease;
mod log;
mod receiver;
mod run;
mod schedule;
mod sender;
mod signature;

use std::{io, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use self::{
    answer::{Answer, Outcome},
    attempt::Attempted,
    log::log_attempt,
    sender::{Sender, SigningKeys},
    signature::{SigningKey, new_secret},
};
use self::{
    lease::{DATABASE_TIMEOUT, Lease},
    run::{Ended, Run},
    schedule::Schedule,
};
use crate::{
    clock,
    feed::Feed,
    store::{Content, Cursor, Item, Pool, Position},
    telemetry::RateLimitedWarning,
    ticket_event::{Environment, Status},
};

/// Between two attempts to take a lease over.
const ACQUIRE_INTERVAL: Duration = Duration::from_secs(2);

/// What is sent. An empty list: all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub environments: Vec<Environment>,
    pub providers: Vec<&'static str>,
    /// An erased item matches any, an overdue booking about which nothing came matches none.
    pub statuses: Vec<Status>,
}

impl Wanted {
    fn matches(&self, content: &Content) -> bool {
        let is_of_environment = |wanted: &Environment| wanted.as_str() == content.environment();
        let is_of_status = |wanted: &Status| content.status() == Some(wanted.as_str());
        (self.environments.is_empty() || self.environments.iter().any(is_of_environment))
            && (self.providers.is_empty() || self.providers.contains(&content.provider()))
            && (self.statuses.is_empty()
                || matches!(content, Content::Erased(_))
                || self.statuses.iter().any(is_of_status))
    }
}

/// One receiver, and what it gets.
pub struct Forward {
    /// That of its consumer: `forward-` and its name in the configuration.
    pub consumer: String,
    pub wanted: Wanted,
    pub include_payload: bool,
    pub from_start: bool,
    pub max_in_flight: usize,
    /// When it is stopped, what is being sent gets this time to end.
    pub stop_timeout: Duration,
    pub sender: Arc<Sender>,
    pub feed: Feed,
    pub pool: Pool,
    /// Is told of each attempt.
    pub observe: Box<dyn Fn(&Attempted) + Send + Sync>,
}

/// The name of the consumer of a forward.
pub fn consumer_name(forward: &str) -> String {
    format!("{CONSUMER_PREFIX}{forward}")
}

/// The name in the configuration of a forward, by that of its consumer.
pub fn forward_name(consumer: &str) -> &str {
    consumer.strip_prefix(CONSUMER_PREFIX).unwrap_or(consumer)
}

/// Of the consumers that are forwards.
pub const CONSUMER_PREFIX: &str = "forward-";

impl Forward {
    /// As in the configuration.
    fn name(&self) -> &str {
        forward_name(&self.consumer)
    }

    /// Forwards whenever no other replica does, until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let (forward, holder, warning) = (Arc::new(self), clock::new_id(), RateLimitedWarning::default());
        let (name, consumer) = (forward.name(), &forward.consumer);
        while !stop.is_cancelled() {
            match forward.pool.acquire_forward(consumer, holder, forward.from_start).await {
                Ok(Some(acquired)) => {
                    tracing::info!(forward = name, "this replica forwards");
                    let mut schedule =
                        Schedule::resume(forward.max_in_flight, acquired.scanned, acquired.items, acquired.not_before);
                    for id in &acquired.control.skipped {
                        schedule.skip(*id);
                    }
                    let lease =
                        Lease::new(forward.pool.clone(), consumer.clone(), holder, acquired.version, acquired.control);
                    let (run, stop) = (Run::new(Arc::clone(&forward), schedule, Some(lease)), stop.clone());
                    // a task of its own: whatever happens to it, the service goes on receiving
                    match tokio::spawn(async move { run.until_stopped(&stop).await }).await {
                        Err(error) => tracing::error!(forward = name, %error, "it failed; tries again"),
                        Ok(Ended::Stopped) => {
                            if let Err(error) = forward.pool.release_forward(consumer, holder).await {
                                tracing::warn!(forward = name, %error, "the lease ends by itself");
                            }
                        }
                        Ok(Ended::Lost) => tracing::warn!(
                            forward = name,
                            "another replica has taken over, or the database is another one than before"
                        ),
                        Ok(Ended::HistoryChanged(cursor)) => forward.rewind(holder, &cursor).await,
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    if let Some(times) = warning.due() {
                        tracing::warn!(forward = name, times, %error, "cannot forward; tries again");
                    }
                }
            }
            stop.run_until_cancelled(sleep(ACQUIRE_INTERVAL)).await;
        }
    }

    /// Forwards from a cursor, without recording how far it is.
    ///
    /// # Errors
    ///
    /// The history of the feed has changed.
    pub async fn run_unrecorded(self, from: Cursor, stop: CancellationToken) -> anyhow::Result<()> {
        let schedule = Schedule::resume(self.max_in_flight, from, Vec::new(), None);
        match Run::new(Arc::new(self), schedule, None).until_stopped(&stop).await {
            Ended::Stopped | Ended::Lost => Ok(()),
            Ended::HistoryChanged(_) => {
                anyhow::bail!("the database was recovered to an earlier point in time: start again")
            }
        }
    }

    /// An item as it is now.
    async fn read(&self, position: Position) -> sqlx::Result<Option<Item>> {
        let item = timeout(DATABASE_TIMEOUT, self.pool.item_at(position, self.include_payload)).await;
        item.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
    }

    /// Items may be sent again, none is missed.
    async fn rewind(&self, holder: uuid::Uuid, cursor: &str) {
        let (name, consumer) = (self.name(), &self.consumer);
        tracing::warn!(forward = name, cursor, "the history of the feed has changed: goes on from there");
        let rewound = async {
            let cursor: Cursor = cursor.parse()?;
            self.pool.rewind_forward(consumer, holder, cursor).await?;
            self.pool.release_forward(consumer, holder).await?;
            anyhow::Ok(())
        };
        if let Err(error) = rewound.await {
            tracing::warn!(forward = name, %error, "cannot go on from there; tries again");
        }
    }
}
