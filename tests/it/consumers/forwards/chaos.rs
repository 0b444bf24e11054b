//! `FORWARDS_SECONDS` says how long everything breaks, `FORWARDS_SEED` repeats a run's choices.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use tokio::task::JoinSet;

use super::{answer, deliver, forward, forwarding, until};
use crate::support::{ApiClient, Chance, Reaction, Receiver, Server};

/// What the receiver does while everything breaks.
fn any_reaction(chance: &mut Chance) -> Reaction {
    match chance.between(0, 120) {
        0 => Reaction::status(500),
        1 => Reaction::Close,
        2 => Reaction::with(503, "retry-after: 1\r\n"),
        3 => Reaction::with(429, "retry-after: 1\r\n"),
        4 => Reaction::with(302, "location: http://10.0.0.1/\r\n"),
        5 => Reaction::Endless(200),
        6 => Reaction::Endless(500),
        7 => Reaction::EndlessHead,
        8 => Reaction::Slow(Duration::from_millis(chance.between(1, 1500)), answer(500)),
        9 if chance.one_in(2) => Reaction::status(410),
        10 if chance.one_in(3) => Reaction::Hang,
        11..14 => Reaction::Slow(Duration::from_millis(chance.between(1, 300)), answer(200)),
        _ => Reaction::status(200),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_in_the_order_of_its_booking_whatever_breaks() {
    let number = |variable: &str| std::env::var(variable).ok().map(|value| value.parse::<u64>().unwrap());
    let seconds = number("FORWARDS_SECONDS").unwrap_or(30);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("FORWARDS_SEED").unwrap_or(now.as_millis() as u64);
    println!("FORWARDS_SEED={seed} FORWARDS_SECONDS={seconds}");
    let mut chance = Chance::of(seed);

    let mut server = Server::start(true).await;
    let pool = server.pool();
    let (reactions, is_calm) = (Mutex::new(chance.split()), Arc::new(AtomicBool::new(false)));
    let calm = Arc::clone(&is_calm);
    let mut receiver = Receiver::start(move |_| {
        if calm.load(Ordering::SeqCst) { Reaction::status(200) } else { any_reaction(&mut reactions.lock().unwrap()) }
    })
    .await;
    let spools = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let start = async |url: &str, spool: &tempfile::TempDir, receiver: &Receiver| {
        let spool = [("TICKET_WEBHOOKS__SPOOL__DIRECTORY", spool.path().to_str().unwrap())];
        forwarding(url, receiver, &[&spool[..], &[("RUST_LOG", "warn,ticket_webhooks::cli=info")]].concat()).await
    };
    let mut replicas = Vec::new();
    for spool in &spools {
        replicas.push(start(server.url(), spool, &receiver).await);
    }
    let (end, mut broken, mut kills, mut revision) = (Instant::now() + Duration::from_secs(seconds), 0, 0, 0);
    while Instant::now() < end {
        // some events about few bookings, from all replicas
        let mut load = JoinSet::new();
        for _ in 0..chance.between(5, 60) {
            revision += 1;
            let (replica, booking) = (chance.between(0, 3) as usize, chance.between(0, 40));
            let public = replicas[replica].0.public.clone();
            load.spawn(async move {
                let provider = crate::support::provider("booking_callback");
                let mut body = (provider.delivery)("main", &format!("B{booking}"));
                body["Remark"] = format!("{revision}").into();
                // refused while it cannot be made durable
                let _ = reqwest::Client::new()
                    .post(format!("{public}{}", provider.path))
                    .body(body.to_string())
                    .send()
                    .await;
            });
        }
        load.join_all().await;
        tokio::time::sleep(Duration::from_millis(chance.between(50, 700))).await;
        broken += 1;
        // an operator goes on after a 410
        let admin = format!("{}/v1/forwards/back/resume", replicas[0].0.admin);
        let _ = reqwest::Client::new().post(admin).bearer_auth(crate::support::ADMIN_TOKEN).send().await;
        match chance.between(0, 20) {
            0 => {
                server.signal(chance.one_of(&["QUIT", "KILL"]));
                server.gone().await;
                server.start_again().await;
            }
            1..4 => {
                let killed = chance.between(0, 3) as usize;
                let replica = &mut replicas[killed].0;
                replica.process.signal("KILL");
                replica.process.wait();
                kills += 1;
                replicas[killed] = start(server.url(), &spools[killed], &receiver).await;
            }
            4 => {
                receiver.kill().await;
                tokio::time::sleep(Duration::from_millis(chance.between(10, 1500))).await;
                receiver.start_again().await;
            }
            _ => {}
        }
    }
    let requests_until_calm = receiver.received().len();
    is_calm.store(true, Ordering::SeqCst);
    let api: &ApiClient = &replicas[0].1;
    let all = async || -> Vec<String> {
        let query = "select id::text from ticket_events order by generation, recorded_xid, sequence";
        sqlx::query_scalar(query).fetch_all(&pool).await.unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        api.post("/v1/forwards/back/resume", json!({})).await;
        let forward = forward(api).await;
        let accepted: HashSet<String> = receiver.accepted().into_iter().collect();
        let drained = all().await.len();
        if forward["lag_events"] == 0 && forward["blocked_bookings"] == 0 && accepted.len() >= drained {
            break;
        }
        assert!(Instant::now() < deadline, "{} of {drained} arrived: {forward:#}", accepted.len());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    receiver.assert_in_order();
    let (stored, accepted) = (all().await, receiver.accepted());
    assert_eq!(stored.iter().collect::<HashSet<_>>(), accepted.iter().collect::<HashSet<_>>());
    let mut times: HashMap<&String, usize> = HashMap::new();
    accepted.iter().for_each(|id| *times.entry(id).or_default() += 1);
    println!(
        "{} events, {} requests, {requests_until_calm} of them before it was calm; {broken} times broken, {kills} replicas \
         killed; {} were accepted more than once",
        stored.len(),
        receiver.received().len(),
        times.values().filter(|times| **times > 1).count(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_to_an_earlier_point_in_time_while_it_runs_skips_nothing() {
    let mut server = Server::start(true).await;
    let refuses = Arc::new(AtomicBool::new(true));
    let is_refusing = Arc::clone(&refuses);
    let receiver = Receiver::start(move |received| {
        let is_bad = received.data()["booking_ref"].as_str().unwrap().starts_with("bad");
        match (is_bad && is_refusing.load(Ordering::SeqCst), received.data()["booking_ref"] == "bad-slow") {
            (true, true) => Reaction::Slow(Duration::from_secs(4), answer(500)),
            (true, false) => Reaction::status(500),
            _ => Reaction::status(200),
        }
    })
    .await;
    let spool = tempfile::tempdir().unwrap();
    let spool = [("TICKET_WEBHOOKS__SPOOL__DIRECTORY", spool.path().to_str().unwrap())];
    let (service, api) = forwarding(server.url(), &receiver, &spool).await;
    let some = async |name: &str, count: usize| {
        for number in 0..count {
            deliver(&service, &format!("{name}-{number}"), "first").await;
        }
    };
    some("before", 5).await;
    // tried before the copy is made, and after it
    deliver(&service, "bad-1", "first").await;
    until(&api, |forward| forward["blocked_bookings"] == 1).await;
    // on its way while the copy is made: that it failed is recorded after it
    deliver(&service, "bad-slow", "first").await;
    receiver.until(|received| received.iter().any(|one| one.data()["booking_ref"] == "bad-slow")).await;
    let copy = server.stop_and_copy().await;
    server.start_again().await;
    some("lost", 10).await;
    until(&api, |forward| forward["blocked_bookings"] == 2).await;
    receiver.until(|received| received.iter().filter(|one| one.is_accepted).count() >= 15).await;
    server.go_back_to(&copy).await;
    // the same numbers again, for other events; more of them than were lost
    some("after", 20).await;
    deliver(&service, "bad-2", "first").await;
    refuses.store(false, Ordering::SeqCst);
    let stored = async || -> Vec<String> {
        sqlx::query_scalar("select id::text from ticket_events").fetch_all(&server.pool()).await.unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let accepted: HashSet<String> = receiver.accepted().into_iter().collect();
        let stored = stored().await;
        if stored.len() >= 28 && stored.iter().all(|id| accepted.contains(id)) {
            break;
        }
        assert!(Instant::now() < deadline, "{} of {} arrived: {:#}", accepted.len(), stored.len(), forward(&api).await);
        api.post("/v1/forwards/back/resume", json!({})).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    until(&api, |forward| forward["lag_events"] == 0).await;
}
