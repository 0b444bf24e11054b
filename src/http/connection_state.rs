//! What a connection is doing, as far as it decides who goes first when connections run short.
//!
//! A connection *owes* something while it has begun a head or a body and not ended it, or leaves its answers where they
//! are. Its rate is that of all bytes that arrived since the request began. What has arrived as a whole and is being made
//! durable is never ended.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

/// A connection that is younger, or whose request is, goes after all others: what it sends may be on its way.
const PROTECTED: u64 = 1_000_000;

/// The same of one that has sent nothing yet: a head follows within a round trip.
const PROTECTED_SILENT: u64 = 250_000;

/// A client that sent a request so lately may send the next one on the same connection.
const RECENT: u64 = 5_000_000;

/// Waits for the first byte of a head.
const IDLE: u8 = 0;
/// Has begun a head.
const HEAD: u8 = 1;
/// Owes a body.
const BODY: u8 = 2;
/// A delivery is being made durable.
const RECORDING: u8 = 3;
/// Everything else: what is at work, and answers.
const ANSWERING: u8 = 4;

/// Who goes first: the lowest. Compared within one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Owes something, and delivers fewer bytes a second than a body must.
    Slow(u64),
    /// Has never sent anything; the time that is left to it, so that the oldest goes first.
    Silent(u64),
    /// Waits for another request.
    Idle(u64),
    /// Owes something, and delivers so many bytes a second.
    Delivering(u64),
    /// Has had a request lately.
    Recent(u64),
    /// Its first second has not passed, or the one after a request.
    Young(u64),
    /// Has carried a live delivery lately: a provider that sends the next one on it has no second try.
    Live(u64),
}

/// What a connection is doing. Times are in microseconds since it began.
#[derive(Debug)]
pub(super) struct ConnectionState {
    began: Instant,
    /// Bytes that have been read.
    received: AtomicU64,
    /// Of them, those before the present request.
    received_before: AtomicU64,
    phase: AtomicU8,
    /// Since when it is idle, or when the request began; 0 where nobody has asked for it yet.
    since: AtomicU64,
    /// Since when an answer is not taken; 0 when all are.
    stuck_since: AtomicU64,
    /// Whether there was a request before.
    had_request: AtomicBool,
    /// Whether the last request was a live delivery that was taken. No stranger can have that.
    has_delivered: AtomicBool,
    /// Whether it has to make room.
    is_evicted: AtomicBool,
    /// Wakes the task of the connection.
    waker: OnceLock<Waker>,
}

impl ConnectionState {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            received: AtomicU64::new(0),
            received_before: AtomicU64::new(0),
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
            stuck_since: AtomicU64::new(0),
            had_request: AtomicBool::new(false),
            has_delivered: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    /// Never 0.
    fn at(&self, now: Instant) -> u64 {
        u64::try_from((now - self.began).as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Bytes that have been read.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(super) fn has_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// It waits for a head from now on.
    pub(super) fn waits_for_head(&self) {
        self.received_before.store(self.received(), Relaxed);
        self.since.store(self.at(Instant::now()), Relaxed);
        self.phase.store(IDLE, Relaxed);
    }

    /// A part of a head is there.
    pub(super) fn head_begun(&self) {
        self.since.store(self.at(Instant::now()), Relaxed);
        self.phase.store(HEAD, Relaxed);
    }

    /// The head is there as a whole.
    pub(super) fn head_ended(&self) {
        if self.phase.swap(ANSWERING, Relaxed) == IDLE {
            // it came at once: the request has begun when its body has
            self.since.store(0, Relaxed);
        }
        self.had_request.store(true, Relaxed);
    }

    /// From now on it owes a body.
    pub(super) fn body_begun(&self, now: Instant) {
        if self.since.load(Relaxed) == 0 {
            self.since.store(self.at(now), Relaxed);
        }
        self.phase.store(BODY, Relaxed);
    }

    /// The body is there as a whole: nothing ends it now until it is answered.
    pub(super) fn is_recording(&self) {
        self.phase.store(RECORDING, Relaxed);
    }

    /// Nothing is made durable any more; whether a live delivery was.
    pub(super) fn is_answering(&self, has_delivered: bool) {
        self.has_delivered.store(has_delivered, Relaxed);
        self.phase.store(ANSWERING, Relaxed);
    }

    /// Whether an answer waits to be taken.
    pub(super) fn is_stuck(&self, is_stuck: bool) {
        self.stuck_since.store(if is_stuck { self.at(Instant::now()) } else { 0 }, Relaxed);
    }

    /// Whether it has to make room.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Relaxed)
    }

    /// Has it make room. What is being made durable is finished first, and a head or a body that has arrived is read.
    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// By this its task is woken; the task keeps one waker for life.
    pub(super) fn wake_by(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// When it has to go, compared with others; `None` when it must not. Below `min_rate`, in bytes a second, it is slow.
    pub(super) fn rank(&self, now: Instant, min_rate: u64, may_idle: bool) -> Option<Rank> {
        let phase = self.phase.load(Relaxed);
        if self.is_evicted() || phase == RECORDING {
            return None;
        }
        let age_since = |since: u64| self.at(now).saturating_sub(since);
        let oldest_first = |age: u64| u64::MAX - age;
        let stuck_since = self.stuck_since.load(Relaxed);
        if stuck_since != 0 {
            let age = age_since(stuck_since);
            return Some(if age < PROTECTED { Rank::Young(oldest_first(age)) } else { Rank::Slow(0) });
        }
        let age = age_since(self.since.load(Relaxed));
        let has_delivered = self.has_delivered.load(Relaxed);
        match phase {
            IDLE if may_idle => None,
            IDLE if has_delivered && age < RECENT => Some(Rank::Live(oldest_first(age))),
            HEAD | BODY if has_delivered && age < PROTECTED => Some(Rank::Live(oldest_first(age))),
            IDLE if !self.had_request.load(Relaxed) && age >= PROTECTED_SILENT => Some(Rank::Silent(oldest_first(age))),
            HEAD | BODY | IDLE if age < PROTECTED => Some(Rank::Young(oldest_first(age))),
            IDLE if self.had_request.load(Relaxed) && age < RECENT => Some(Rank::Recent(oldest_first(age))),
            IDLE => Some(Rank::Idle(oldest_first(age))),
            HEAD | BODY => {
                let received = self.received().saturating_sub(self.received_before.load(Relaxed));
                let rate = received.saturating_mul(1_000_000) / age;
                Some(if rate < min_rate { Rank::Slow(rate) } else { Rank::Delivering(rate) })
            }
            _ => None,
        }
    }

    /// The same, so much later.
    #[cfg(test)]
    fn rank_after(&self, seconds: u64, may_idle: bool) -> Option<Rank> {
        self.rank(self.began + std::time::Duration::from_secs(seconds), 1024, may_idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owing(bytes: usize) -> ConnectionState {
        let state = ConnectionState::new();
        state.has_received(bytes);
        state.head_ended();
        state.body_begun(state.began);
        state
    }

    #[test]
    fn the_slowest_goes_first_then_who_said_nothing_then_who_waits() {
        let (slowest, slow, fast) = (owing(100), owing(2000), owing(50_000));
        let silent = ConnectionState::new();
        let idle = owing(100);
        idle.waits_for_head();
        assert!(matches!(idle.rank_after(2, false), Some(Rank::Recent(_))));
        let ranks = [&slowest, &slow, &silent, &idle, &fast].map(|state| state.rank_after(10, false).unwrap());
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert!(matches!(
            ranks[..],
            [Rank::Slow(_), Rank::Slow(_), Rank::Silent(_), Rank::Idle(_), Rank::Delivering(_)]
        ));
        // in its first second one goes after all of them
        assert!(owing(0).rank_after(0, false).unwrap() > ranks[4]);
        assert!(ConnectionState::new().rank_after(0, false).unwrap() > ranks[4]);
    }

    #[test]
    fn who_has_just_delivered_goes_after_all_strangers_for_a_while() {
        let delivered = owing(100);
        delivered.is_answering(true);
        delivered.waits_for_head();
        let stranger = ConnectionState::new().rank_after(0, false).unwrap();
        assert!(delivered.rank_after(2, false).unwrap() > stranger);
        assert!(delivered.rank_after(10, false).unwrap() < stranger);
        // one that has not, though it had a request
        let answered = owing(100);
        answered.is_answering(false);
        answered.waits_for_head();
        assert!(answered.rank_after(2, false).unwrap() < stranger);
    }

    #[test]
    fn a_pooled_connection_of_a_proxy_stays_and_one_that_owes_does_not() {
        let pooled = owing(100);
        pooled.waits_for_head();
        assert_eq!(pooled.rank_after(100, true), None);
        assert_eq!(ConnectionState::new().rank_after(100, true), None);
        assert!(matches!(owing(100).rank_after(100, true), Some(Rank::Slow(_))));
    }

    #[test]
    fn what_is_being_made_durable_never_goes_and_an_answer_that_is_not_taken_does() {
        let state = owing(100);
        state.is_recording();
        state.is_stuck(true);
        assert_eq!(state.rank_after(100, false), None);
        state.is_answering(false);
        assert_eq!(state.rank_after(100, false), Some(Rank::Slow(0)));
        state.is_stuck(false);
        assert_eq!(state.rank_after(100, false), None);
        state.evict();
        state.waits_for_head();
        assert_eq!(state.rank_after(100, false), None);
    }
}
