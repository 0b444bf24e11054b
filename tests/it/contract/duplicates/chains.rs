//! Several revisions of one booking in one batch: they become what they would have become one by one.

use proptest::{
    collection::vec,
    prelude::any,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::*;

/// What a delivery says, of three things that can be said.
const WORDS: [&str; 3] = ["Failed", "Success", "Pending"];

/// What is recorded of a booking, less the ids.
async fn recorded(database: &Database, booking: &str) -> Vec<Value> {
    let query = format!(
        "select revision, late, status, previous_status, delivery_count, last_received_at from ticket_events \
         where booking_ref = '{booking}' order by revision"
    );
    database.rows(&query).await
}

fn said(booking: &str, word: &str, received_at: OffsetDateTime) -> Delivery {
    says(booking, &json!({"Status": word}), received_at)
}

#[tokio::test]
async fn a_batch_decides_as_if_its_deliveries_came_one_by_one() {
    let database = Database::new().await;
    let mut writer = Writer::new(database.pool.clone(), false, Arc::new([]));
    let began = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let mut runner = TestRunner::deterministic();
    // what this replica receives; what another one recorded meanwhile, and whether this one was cut off
    let cases = (vec((0..3_usize, 1..4_i64), 1..12), vec((0..3_usize, 1..12_i64), 0..4), any::<bool>());
    let mut compared = 0;
    for case in 0..150 {
        let (own, others, cut_off) = cases.new_tree(&mut runner).unwrap().current();
        let [batch, single] = ["batch", "single"].map(|name| format!("{name}-{case}"));
        for booking in [&batch, &single] {
            let mut moment = began;
            let mut other: Vec<_> =
                others.iter().map(|(word, after)| (*word, began + Duration::seconds(*after))).collect();
            other.sort_by_key(|(_, moment)| *moment);
            for (word, moment) in other {
                writer.write(&[said(booking, WORDS[word], moment)], false).await.unwrap();
            }
            let mut own = own.clone();
            if cut_off {
                // equal neighbours count as one delivery, that is late if the last of them is
                own.dedup_by_key(|(word, _)| *word);
            }
            let own: Vec<_> = own
                .iter()
                .map(|(word, after)| {
                    moment += Duration::milliseconds(after * 700);
                    said(booking, WORDS[*word], moment)
                })
                .collect();
            if *booking == batch {
                writer.write(&own, cut_off).await.unwrap();
            } else {
                for delivery in &own {
                    writer.write(std::slice::from_ref(delivery), cut_off).await.unwrap();
                }
            }
        }
        let [batch, single] = [recorded(&database, &batch).await, recorded(&database, &single).await];
        let deliveries = |rows: &[Value]| rows.iter().map(|row| row["delivery_count"].as_i64().unwrap()).sum::<i64>();
        assert_eq!(deliveries(&batch), deliveries(&single));
        // a late duplicate of the state leaves no row that says when it was received: only a batch knows what it came between
        let state = others.iter().max_by_key(|(_, after)| *after).map(|(word, _)| *word);
        if !cut_off || own.iter().all(|(word, _)| Some(*word) != state) {
            assert_eq!(batch, single, "own {own:?}, others {others:?}, cut off {cut_off}");
            compared += 1;
        }
    }
    assert!(compared > 80, "{compared}");
}

#[tokio::test]
async fn a_batch_handed_in_again_changes_nothing_wherever_its_answer_was_lost() {
    let database = Database::new().await;
    let mut writer = Writer::new(database.pool.clone(), false, Arc::new([]));
    let began = OffsetDateTime::now_utc();
    let mut runner = TestRunner::deterministic();
    let cases = (vec(0..3_usize, 1..3), vec(0..3_usize, 1..10), any::<bool>());
    for case in 0..100 {
        let (before, batch, spooled) = cases.new_tree(&mut runner).unwrap().current();
        let booking = format!("B{case}");
        let moments = (0..).map(|n| began + Duration::milliseconds(n));
        let all: Vec<_> =
            before.iter().chain(&batch).zip(moments).map(|(word, m)| said(&booking, WORDS[*word], m)).collect();
        let (before_it, in_it) = all.split_at(before.len());
        writer.write(before_it, false).await.unwrap();
        let first = writer.write(in_it, spooled).await.unwrap();
        let once = recorded(&database, &booking).await;
        let second = writer.write(in_it, spooled).await.unwrap();
        let twice = recorded(&database, &booking).await;
        let is_recorded = |outcome: &Outcome| matches!(outcome, Outcome::Recorded { .. });
        if first.iter().any(is_recorded) {
            let revisions = |outcomes: &[Outcome]| outcomes.iter().map(revision).collect::<Vec<_>>();
            assert_eq!(revisions(&first), revisions(&second), "{before:?} {batch:?}");
            let unchanged = |rows: &[Value]| {
                rows.iter().map(|row| (row["status"].clone(), row["revision"].clone())).collect::<Vec<_>>()
            };
            assert_eq!(unchanged(&once), unchanged(&twice), "{before:?} {batch:?}");
        }
    }
}

fn revision(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Recorded { revision, .. } | Outcome::Duplicate { revision, .. } => *revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_thousand_revisions_of_one_booking_are_one_statement() {
    let database = Database::new().await;
    let mut writer = Writer::new(database.pool.clone(), false, Arc::new([]));
    let began = OffsetDateTime::now_utc();
    let remarks: Vec<_> =
        (0..1000).map(|n| callback("B1", &n.to_string(), began + Duration::microseconds(n))).collect();
    // the first connects, and makes the booking's first revision
    writer.write(&remarks[..1], true).await.unwrap();
    let outcomes = writer.write(&remarks[1..], true).await.unwrap();
    assert!(outcomes.iter().zip(2..).all(|(outcome, n)| revision(outcome) == n), "{outcomes:?}");
    let query = "select count(distinct recorded_xid) as n from ticket_events";
    assert_eq!(database.rows(query).await, [json!({"n": 2})]);
    let query = "select count(*) as n from ticket_events one join ticket_events next \
                 on next.revision = one.revision + 1 where (one.payload ->> 'Remark')::int + 1 = (next.payload ->> 'Remark')::int";
    assert_eq!(database.rows(query).await, [json!({"n": 999})]);
}
