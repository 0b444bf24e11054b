mod model;

use super::*;
use crate::forward::{
    answer::{Answer, Outcome},
    attempt::{AttemptResult, Finished},
};

const IN_FLIGHT: usize = 4;

fn cursor(sequence: i64) -> Cursor {
    Cursor { position: Position { generation: 1, transaction: 1, sequence }, ..Cursor::START }
}

/// Items about few bookings; every seventh is not wanted.
fn feed(count: i64) -> Vec<ForwardItem> {
    let item = |sequence: i64| ForwardItem {
        id: Uuid::from_u128(sequence.unsigned_abs().into()),
        position: cursor(sequence).position,
        preceding: if sequence == 1 { Cursor::START } else { cursor(sequence - 1) },
        booking: BookingKey {
            provider: String::new(),
            environment: String::new(),
            booking_ref: (sequence * sequence % 11).to_string(),
        },
        recorded_at: OffsetDateTime::UNIX_EPOCH,
        attempts: 0,
        first_attempt_at: None,
        last_attempt_at: None,
        last_outcome: None,
        next_attempt_at: None,
    };
    (1..=count).map(item).collect()
}

fn answered(outcome: Outcome) -> AttemptResult {
    AttemptResult::Answered(Answer { outcome, status: None, retry_after: None, error: None })
}

/// A schedule that has read items about bookings of their own.
fn with_bookings(count: i64) -> Schedule {
    let mut schedule = Schedule::resume(IN_FLIGHT, Cursor::START, Vec::new(), None);
    for mut item in feed(count) {
        item.booking.booking_ref = item.position.sequence.to_string();
        schedule.add(item, Serialized { kind: "revision", data: String::new() });
    }
    schedule
}

/// Answers everything that can be sent now; how many attempts that were.
fn answer_all(schedule: &mut Schedule, outcome: Outcome, now: Instant) -> usize {
    let mut attempts = 0;
    while let Some(Attempt { item, .. }) = schedule.next(now) {
        let finished = vec![Finished { position: item.position, result: answered(outcome) }];
        let Settled { lanes, .. } = schedule.settle(finished, now, clock::now(), || 0.0);
        schedule.release(lanes);
        attempts += 1;
    }
    attempts
}

#[test]
fn an_outage_leaves_few_failed_bookings_and_ends_with_the_first_success() {
    let (mut schedule, mut now) = (with_bookings(2000), Instant::now());
    assert_eq!(answer_all(&mut schedule, Outcome::Unreachable, now), 1025, "some booking may be unlike the others");
    for _ in 0..20 {
        now += Duration::from_millis(99);
        assert_eq!(answer_all(&mut schedule, Outcome::Unreachable, now), 0);
        now += Duration::from_millis(1);
        assert_eq!(answer_all(&mut schedule, Outcome::Unreachable, now), 1, "one looks whether it is back");
    }
    now += Duration::from_secs(10);
    assert_eq!(answer_all(&mut schedule, Outcome::Delivered, now), 2000, "all at once, also those that had failed");
}

#[test]
fn bookings_that_fail_do_not_hold_up_others() {
    let (mut schedule, now) = (with_bookings(1000), Instant::now());
    assert_eq!(answer_all(&mut schedule, Outcome::Broken, now), 1000);
    // those that come then
    for mut item in feed(1010).into_iter().skip(1000) {
        item.booking.booking_ref = item.position.sequence.to_string();
        schedule.add(item, Serialized { kind: "revision", data: String::new() });
    }
    assert_eq!(answer_all(&mut schedule, Outcome::Delivered, now), 10, "the others keep their times");
}

#[test]
fn half_of_the_requests_at_most_are_repetitions() {
    let (mut schedule, now) = (with_bookings(8), Instant::now());
    for _ in 0..8 {
        let Some(Attempt { item, .. }) = schedule.next(now) else { panic!("there are eight") };
        let finished = vec![Finished { position: item.position, result: answered(Outcome::Failed) }];
        let Settled { lanes, .. } = schedule.settle(finished, now, clock::now(), || 0.0);
        schedule.release(lanes);
    }
    let later = now + Duration::from_secs(60);
    let running: Vec<_> = std::iter::from_fn(|| schedule.next(later)).collect();
    assert_eq!(running.len(), IN_FLIGHT / 2);
}

#[test]
fn no_more_is_read_while_20_000_items_wait() {
    let (mut schedule, now) = (Schedule::resume(IN_FLIGHT, Cursor::START, Vec::new(), None), Instant::now());
    let mut items = feed(20_000).into_iter().map(|item| ForwardItem { booking: feed(1)[0].booking.clone(), ..item });
    let content = || Serialized { kind: "revision", data: String::new() };
    schedule.add(items.next().unwrap(), content());
    assert_eq!(answer_all(&mut schedule, Outcome::Refused, now), 1);
    for item in items {
        assert!(schedule.wants_items());
        schedule.add(item, content());
    }
    assert!(!schedule.wants_items());
    assert_eq!(answer_all(&mut schedule, Outcome::Delivered, now + Duration::from_secs(60)), 20_000);
    assert!(schedule.wants_items());
}

#[test]
fn an_item_that_is_kept_and_read_again_is_sent_once() {
    let (items, now) = (feed(5), Instant::now());
    let kept = items.iter().cloned().map(|item| ForwardItem { attempts: 1, ..item }).collect();
    let mut schedule = Schedule::resume(IN_FLIGHT, Cursor::START, kept, None);
    for item in items {
        schedule.add(item, Serialized { kind: "revision", data: String::new() });
    }
    assert_eq!(answer_all(&mut schedule, Outcome::Delivered, now), 5);
}
