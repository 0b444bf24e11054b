//! The work of a forward while this replica holds its lease.

use std::{collections::BTreeSet, io, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    select,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Forward,
    attempt::{AttemptResult, Finished, Serialized},
    lease::{Lease, RENEW_INTERVAL, Recorded, pause},
    schedule::Schedule,
};
use crate::{
    clock,
    feed::From,
    store::{FeedError, Filter, ForwardItem, Items, Position},
    telemetry::RateLimitedWarning,
};

/// Items of a page.
const MAX_PAGE_ITEMS: i64 = 250;

/// Of a page that has nothing yet.
const PAGE_WAIT: Duration = Duration::from_secs(20);

/// Of that wait, of a turn under load, and of the database.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// After an error of the database.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a forward works no longer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was asked to.
    Stopped,
    /// Another replica has the lease, the forward was deleted, or the database was recovered to an earlier point in time. What
    /// the database says counts.
    Lost,
    /// The recorded cursor is none of this database; go on from this one.
    HistoryChanged(String),
}

type Reading = Pin<Box<dyn Future<Output = Result<Items, FeedError>> + Send>>;
type Recording = Pin<Box<dyn Future<Output = Recorded> + Send>>;

pub(super) struct Run {
    forward: Arc<Forward>,
    schedule: Schedule,
    /// `None`: nothing is recorded.
    lease: Option<Lease>,
    attempts: JoinSet<Finished>,
    /// Of the attempts that are running.
    running: BTreeSet<Position>,
    finished: Vec<Finished>,
    /// The next page of the feed.
    reading: Option<Reading>,
    /// A page was read.
    has_read: bool,
    recording: Option<Recording>,
    warning: RateLimitedWarning,
}

impl Run {
    pub(super) fn new(forward: Arc<Forward>, schedule: Schedule, lease: Option<Lease>) -> Self {
        Self {
            forward,
            schedule,
            lease,
            attempts: JoinSet::new(),
            running: BTreeSet::new(),
            finished: Vec::new(),
            reading: None,
            has_read: false,
            recording: None,
            warning: RateLimitedWarning::default(),
        }
    }

    /// Forwards until it is asked to stop, and then until what is running has ended or was given up.
    pub(super) async fn until_stopped(mut self, stop: &CancellationToken) -> Ended {
        let mut stopping = None;
        loop {
            let now = Instant::now();
            // first: without a lease it lets bookings go on
            self.record(now);
            if stop.is_cancelled() {
                let deadline = *stopping.get_or_insert(now + self.forward.stop_timeout);
                if now > deadline {
                    self.warn_of_aborted();
                }
                if self.is_settled() || now > deadline {
                    return Ended::Stopped;
                }
            } else {
                self.start(now);
            }
            let wake_at = self.wake_at(now).min(stopping.unwrap_or(now + RENEW_INTERVAL));
            let ended = select! {
                Some(finished) = self.attempts.join_next() => self.finish(finished),
                recorded = completed(&mut self.recording) => self.recorded(recorded),
                page = completed(&mut self.reading) => self.read(page),
                () = stop.cancelled(), if stopping.is_none() => None,
                () = sleep_until(wake_at) => None,
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// Starts what may be sent now, and reads on.
    fn start(&mut self, now: Instant) {
        let may_send = match &self.lease {
            Some(lease) if now >= lease.ends => {
                self.warn_of_aborted();
                self.give_up();
                false
            }
            Some(lease) => !lease.control.is_paused,
            None => true,
        };
        while may_send && let Some(attempt) = self.schedule.next(now) {
            self.running.insert(attempt.item.position);
            let forward = Arc::clone(&self.forward);
            self.attempts.spawn(async move { attempt.make(&forward).await });
        }
        if self.reading.is_none() && may_send && self.schedule.wants_items() {
            self.read_on(Duration::ZERO);
        }
    }

    fn read_on(&mut self, delay: Duration) {
        let (forward, after) = (Arc::clone(&self.forward), From::After(self.schedule.read_to()));
        self.reading = Some(Box::pin(async move {
            pause(delay).await;
            let filter = Filter::default();
            let page = forward.feed.page(after, &filter, MAX_PAGE_ITEMS, forward.include_payload, PAGE_WAIT);
            let page = timeout(PAGE_TIMEOUT, page).await;
            page.unwrap_or_else(|_| Err(FeedError::Database(sqlx::Error::Io(io::ErrorKind::TimedOut.into()))))
        }));
    }

    /// Gives up what is running: another replica may send it.
    fn give_up(&mut self) {
        self.attempts = JoinSet::new();
        self.finished.extend(
            std::mem::take(&mut self.running)
                .into_iter()
                .map(|position| Finished { position, result: AttemptResult::Unsent }),
        );
    }

    fn warn_of_aborted(&self) {
        let requests = self.running.len();
        if requests > 0 {
            tracing::warn!(
                forward = self.forward.name(),
                requests,
                "requests without an answer are given up: they are sent again"
            );
        }
    }

    fn finish(&mut self, finished: Result<Finished, tokio::task::JoinError>) -> Option<Ended> {
        match finished {
            Ok(finished) => {
                self.running.remove(&finished.position);
                self.finished.push(finished);
            }
            Err(error) => {
                tracing::error!(forward = self.forward.name(), %error, "an attempt to forward panicked");
                // which one it was is not known
                self.give_up();
            }
        }
        None
    }

    fn read(&mut self, page: Result<Items, FeedError>) -> Option<Ended> {
        match page {
            Ok(Items { items, next, .. }) => {
                let mut preceding = self.schedule.read_to();
                for item in items {
                    if self.forward.wanted.matches(&item.content) {
                        let content = Serialized { kind: item.content.kind(), data: item.to_json() };
                        self.schedule.add(ForwardItem::new(&item, preceding), content);
                    }
                    preceding = item.cursor;
                }
                self.schedule.set_read_to(next);
                self.has_read = true;
            }
            Err(FeedError::HistoryChanged(_)) if self.has_read && self.lease.is_some() => return Some(Ended::Lost),
            Err(FeedError::HistoryChanged(cursor)) => return Some(Ended::HistoryChanged(cursor)),
            Err(error) => {
                self.warn("the feed cannot be read", &error);
                self.read_on(RETRY_DELAY);
            }
        }
        None
    }

    /// Begins to record what became of attempts, and that this replica is alive.
    fn record(&mut self, now: Instant) {
        let is_due = self.lease.as_ref().is_some_and(|lease| now >= lease.renew_at);
        if self.recording.is_some() || (self.finished.is_empty() && !is_due) {
            return;
        }
        let finished = std::mem::take(&mut self.finished);
        let was_down = self.schedule.is_receiver_down();
        let settled = self.schedule.settle(finished, now, clock::now(), rand::random::<f64>);
        match (was_down, self.schedule.is_receiver_down()) {
            (false, true) => tracing::warn!(
                forward = self.forward.name(),
                "the receiver seems to be down: only some bookings are tried until it accepts one"
            ),
            (true, false) => tracing::info!(forward = self.forward.name(), "the receiver accepts events again"),
            _ => {}
        }
        match &mut self.lease {
            None => self.schedule.release(settled.lanes),
            Some(lease) => {
                lease.renew_at = now + RENEW_INTERVAL;
                self.recording = Some(Box::pin(lease.record(settled, Duration::ZERO)));
            }
        }
    }

    fn recorded(&mut self, recorded: Recorded) -> Option<Ended> {
        let Recorded { settled, began, control } = recorded;
        let lease = self.lease.as_mut()?;
        match control {
            Ok(Some(control)) => {
                lease.extend(began);
                if control.resumes != lease.control.resumes {
                    self.schedule.retry_now(Instant::now());
                }
                for id in &control.skipped {
                    if self.schedule.skip(*id) {
                        tracing::warn!(forward = self.forward.name(), %id, "an item was skipped");
                        lease.renew_at = Instant::now();
                    }
                }
                lease.control = control;
                self.schedule.release(settled.lanes);
                None
            }
            Ok(None) => Some(Ended::Lost),
            Err(error) => {
                self.recording = Some(Box::pin(lease.record(settled, RETRY_DELAY)));
                self.warn("what was forwarded cannot be recorded", &error);
                None
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.running.is_empty() && self.finished.is_empty() && self.recording.is_none()
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let of_lease = self.lease.iter().flat_map(|lease| {
            // once it has ended, only what is recorded matters
            let ends = Some(lease.ends).filter(|ends| *ends > now);
            [ends, Some(lease.renew_at).filter(|_| self.recording.is_none())].into_iter().flatten()
        });
        let next = self.schedule.next_at(now).filter(|time| *time > now);
        of_lease.chain(next).min().unwrap_or(now + RENEW_INTERVAL)
    }

    fn warn(&self, what: &str, error: &dyn std::fmt::Display) {
        if let Some(times) = self.warning.due() {
            tracing::warn!(forward = self.forward.name(), times, %error, "{what}; tries again");
        }
    }
}

/// Waits for a future, if there is one, and takes it away once it is completed.
async fn completed<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    let Some(running) = future else { return std::future::pending().await };
    let output = running.await;
    *future = None;
    output
}
