//! What a connection is doing, as far as it decides which one is evicted when connections run short.
//!
//! Invariants:
//! - A request that has arrived as a whole and is being made durable is never evicted.
//! - A connection *owes* bytes while a head or a body has begun and not ended, or an answer is not taken. Its rate counts
//!   all bytes since the request began.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

/// Microseconds in which a new connection or request is evicted after all others: its bytes may be on their way.
const YOUNG: u64 = 1_000_000;

/// The same of a connection that has sent nothing yet: a head follows within a round trip.
const YOUNG_SILENT: u64 = 250_000;

/// Microseconds in which a client is expected to send its next request on the same connection.
const RECENT: u64 = 5_000_000;

/// Waits for the first byte of a head.
const IDLE: u8 = 0;
/// Reads a head.
const HEAD: u8 = 1;
/// Reads a body.
const BODY: u8 = 2;
/// Makes a delivery durable.
const RECORDING: u8 = 3;
/// Everything else: handles a request, writes its answer.
const ANSWERING: u8 = 4;

/// The order of eviction: the lowest goes first. Compared at one moment only, as ages grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Owes bytes, and sends fewer a second than a body must: its rate.
    Slow(u64),
    /// Has never sent a byte. Here and below, the oldest is the lowest.
    Silent(u64),
    /// Waits for another request.
    Idle(u64),
    /// Owes bytes, and is fast enough: its rate.
    KeepingPace(u64),
    /// Had a request in the last 5 s.
    RecentRequest(u64),
    /// The connection or its request is younger than 1 s.
    Young(u64),
    /// Carried a live delivery in the last 5 s: the provider may send the next one here, and does not retry.
    RecentLiveDelivery(u64),
}

/// What a connection is doing. Times are in microseconds since it was accepted, never 0.
#[derive(Debug)]
pub(super) struct ConnectionState {
    accepted: Instant,
    /// Bytes.
    received: AtomicU64,
    /// Bytes before the current request.
    received_before_request: AtomicU64,
    phase: AtomicU8,
    /// When idling began, or else the request; 0: the head came in one read, and the body is not awaited yet.
    idle_or_request_since: AtomicU64,
    /// 0 while no write is blocked.
    write_blocked_since: AtomicU64,
    had_request: AtomicBool,
    /// Whether the last request was a live delivery that was accepted: strangers cannot have that.
    delivered_live: AtomicBool,
    is_evicted: AtomicBool,
    /// Wakes the task of the connection.
    waker: OnceLock<Waker>,
}

impl ConnectionState {
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            received: AtomicU64::new(0),
            received_before_request: AtomicU64::new(0),
            phase: AtomicU8::new(IDLE),
            idle_or_request_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(0),
            had_request: AtomicBool::new(false),
            delivered_live: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from((now - self.accepted).as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Bytes.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(super) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn begin_idle(&self) {
        self.received_before_request.store(self.received(), Relaxed);
        self.idle_or_request_since.store(self.micros(Instant::now()), Relaxed);
        self.phase.store(IDLE, Relaxed);
    }

    pub(super) fn begin_head(&self) {
        self.idle_or_request_since.store(self.micros(Instant::now()), Relaxed);
        self.phase.store(HEAD, Relaxed);
    }

    pub(super) fn end_head(&self) {
        if self.phase.swap(ANSWERING, Relaxed) == IDLE {
            // the head came in one read: the request counts from its body on
            self.idle_or_request_since.store(0, Relaxed);
        }
        self.had_request.store(true, Relaxed);
    }

    pub(super) fn begin_body(&self, now: Instant) {
        if self.idle_or_request_since.load(Relaxed) == 0 {
            self.idle_or_request_since.store(self.micros(now), Relaxed);
        }
        self.phase.store(BODY, Relaxed);
    }

    /// The body has arrived as a whole: no eviction until the answer.
    pub(super) fn begin_recording(&self) {
        self.phase.store(RECORDING, Relaxed);
    }

    /// `delivered_live`: a live delivery was accepted.
    pub(super) fn begin_answering(&self, delivered_live: bool) {
        self.delivered_live.store(delivered_live, Relaxed);
        self.phase.store(ANSWERING, Relaxed);
    }

    pub(super) fn set_write_blocked(&self, is_blocked: bool) {
        self.write_blocked_since.store(if is_blocked { self.micros(Instant::now()) } else { 0 }, Relaxed);
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Relaxed)
    }

    /// Ends the connection soon: what is being made durable is finished first, and a head or a body that has arrived is
    /// read.
    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The first one stays: a task keeps one waker for life.
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// `None` when it must not be evicted. `min_rate` is in bytes a second.
    pub(super) fn rank(&self, now: Instant, min_rate: u64, may_idle: bool) -> Option<Rank> {
        let phase = self.phase.load(Relaxed);
        if self.is_evicted() || phase == RECORDING {
            return None;
        }
        let age_since = |since: u64| self.micros(now).saturating_sub(since);
        let oldest_first = |age: u64| u64::MAX - age;
        let write_blocked_since = self.write_blocked_since.load(Relaxed);
        if write_blocked_since != 0 {
            let age = age_since(write_blocked_since);
            return Some(if age < YOUNG { Rank::Young(oldest_first(age)) } else { Rank::Slow(0) });
        }
        let age = age_since(self.idle_or_request_since.load(Relaxed));
        let delivered_live = self.delivered_live.load(Relaxed);
        let had_request = self.had_request.load(Relaxed);
        match phase {
            IDLE if may_idle => None,
            IDLE if delivered_live && age < RECENT => Some(Rank::RecentLiveDelivery(oldest_first(age))),
            HEAD | BODY if delivered_live && age < YOUNG => Some(Rank::RecentLiveDelivery(oldest_first(age))),
            IDLE if !had_request && age >= YOUNG_SILENT => Some(Rank::Silent(oldest_first(age))),
            HEAD | BODY | IDLE if age < YOUNG => Some(Rank::Young(oldest_first(age))),
            IDLE if had_request && age < RECENT => Some(Rank::RecentRequest(oldest_first(age))),
            IDLE => Some(Rank::Idle(oldest_first(age))),
            HEAD | BODY => {
                let received = self.received().saturating_sub(self.received_before_request.load(Relaxed));
                let rate = received.saturating_mul(1_000_000) / age;
                Some(if rate < min_rate { Rank::Slow(rate) } else { Rank::KeepingPace(rate) })
            }
            _ => None,
        }
    }

    #[cfg(test)]
    fn rank_after(&self, seconds: u64, may_idle: bool) -> Option<Rank> {
        self.rank(self.accepted + std::time::Duration::from_secs(seconds), 1024, may_idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owing(bytes: usize) -> ConnectionState {
        let state = ConnectionState::new();
        state.add_received(bytes);
        state.end_head();
        state.begin_body(state.accepted);
        state
    }

    #[test]
    fn the_slowest_is_evicted_first_then_the_silent_then_the_idle() {
        let (slowest, slow, fast) = (owing(100), owing(2000), owing(50_000));
        let silent = ConnectionState::new();
        let idle = owing(100);
        idle.begin_idle();
        assert!(matches!(idle.rank_after(2, false), Some(Rank::RecentRequest(_))));
        let ranks = [&slowest, &slow, &silent, &idle, &fast].map(|state| state.rank_after(10, false).unwrap());
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert!(matches!(
            ranks[..],
            [Rank::Slow(_), Rank::Slow(_), Rank::Silent(_), Rank::Idle(_), Rank::KeepingPace(_)]
        ));
        // all of these before a connection in its first second
        assert!(owing(0).rank_after(0, false).unwrap() > ranks[4]);
        assert!(ConnectionState::new().rank_after(0, false).unwrap() > ranks[4]);
    }

    #[test]
    fn a_connection_of_a_recent_live_delivery_is_evicted_after_all_strangers() {
        let delivered = owing(100);
        delivered.begin_answering(true);
        delivered.begin_idle();
        let stranger = ConnectionState::new().rank_after(0, false).unwrap();
        assert!(delivered.rank_after(2, false).unwrap() > stranger);
        assert!(delivered.rank_after(10, false).unwrap() < stranger);
        // a request that was no live delivery does not count
        let answered = owing(100);
        answered.begin_answering(false);
        answered.begin_idle();
        assert!(answered.rank_after(2, false).unwrap() < stranger);
    }

    #[test]
    fn an_idle_connection_of_a_proxy_is_not_evicted_and_one_that_owes_bytes_is() {
        let pooled = owing(100);
        pooled.begin_idle();
        assert_eq!(pooled.rank_after(100, true), None);
        assert_eq!(ConnectionState::new().rank_after(100, true), None);
        assert!(matches!(owing(100).rank_after(100, true), Some(Rank::Slow(_))));
    }

    #[test]
    fn recording_is_never_evicted_and_a_blocked_write_is() {
        let state = owing(100);
        state.begin_recording();
        state.set_write_blocked(true);
        assert_eq!(state.rank_after(100, false), None);
        state.begin_answering(false);
        assert_eq!(state.rank_after(100, false), Some(Rank::Slow(0)));
        state.set_write_blocked(false);
        assert_eq!(state.rank_after(100, false), None);
        state.evict();
        state.begin_idle();
        assert_eq!(state.rank_after(100, false), None);
    }
}
