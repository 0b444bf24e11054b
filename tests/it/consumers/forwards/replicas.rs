//! Taking over, stopping, and what a lease is worth.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use ticket_webhooks::store::{ForwardProgress, Pool};
use uuid::Uuid;

use super::{answer, deliver, forward, forwarding, until, until_delivered};
use crate::support::{Database, Reaction, Receiver, Service};

/// Requests at once, unless it is configured.
const MAX_IN_FLIGHT: usize = 8;

fn repeated(accepted: &[String]) -> usize {
    accepted.len() - accepted.iter().collect::<HashSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_takes_over_within_15_seconds_and_sends_no_more_than_what_was_in_flight_twice() {
    let database = Database::new().await;
    let receiver = Receiver::start(|_| Reaction::Slow(Duration::from_millis(20), answer(200))).await;
    let (mut first, api) = forwarding(&database.url(), &receiver, &[]).await;
    until(&api, |forward| forward["active"] == true).await;
    let (second, api) = forwarding(&database.url(), &receiver, &[]).await;
    for booking in 0..60 {
        deliver(&second, &format!("B{booking}"), "first").await;
    }
    receiver.until(|received| received.len() >= 20).await;
    first.process.signal("KILL");
    first.process.wait();
    let killed = Instant::now();
    let before = receiver.received().len();
    for booking in 60..80 {
        deliver(&second, &format!("B{booking}"), "first").await;
    }
    receiver.until_within(Duration::from_secs(15), |received| received.len() > before).await;
    println!("taken over after {:?}", killed.elapsed());
    until_delivered(&api, &database).await;
    receiver.assert_in_order();
    let accepted = receiver.accepted();
    assert_eq!(accepted.iter().collect::<HashSet<_>>().len(), 80);
    assert!(repeated(&accepted) <= MAX_IN_FLIGHT, "{} twice", repeated(&accepted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stops_lets_another_go_on_at_once_and_nothing_is_sent_twice() {
    let database = Database::new().await;
    let receiver = Receiver::start(|_| Reaction::Slow(Duration::from_millis(50), answer(200))).await;
    let (first, api) = forwarding(&database.url(), &receiver, &[]).await;
    until(&api, |forward| forward["active"] == true).await;
    let (second, api) = forwarding(&database.url(), &receiver, &[]).await;
    for booking in 0..60 {
        deliver(&second, &format!("B{booking}"), "first").await;
    }
    receiver.until(|received| received.len() >= 10).await;
    first.stop().await;
    receiver.until_within(Duration::from_secs(4), |received| received.len() == 60).await;
    until_delivered(&api, &database).await;
    assert_eq!(repeated(&receiver.accepted()), 0);
    assert_eq!(forward(&api).await["active"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_being_answered_when_the_service_stops_is_waited_for() {
    let database = Database::new().await;
    let receiver = Receiver::start(|_| Reaction::Slow(Duration::from_secs(7), answer(200))).await;
    let (service, _api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "one", "first").await;
    receiver.until(|received| received.len() == 1).await;
    let log = service.stop().await;
    assert!(log.contains("\"forwarded\""), "{log}");
    // one that takes too long is given up, and the log says so
    let (service, api) =
        forwarding(&database.url(), &receiver, &[("TICKET_WEBHOOKS__SERVER__SHUTDOWN_TIMEOUT_MS", "3000")]).await;
    until_delivered(&api, &database).await;
    deliver(&service, "two", "first").await;
    receiver.until(|received| received.len() == 2).await;
    let log = service.stop().await;
    assert!(log.contains("requests without an answer are given up"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_replaced_without_a_restart() {
    let database = Database::new().await;
    let receiver = Receiver::start(|_| Reaction::status(200)).await;
    let secrets = tempfile::tempdir().unwrap();
    let files = ["old", "new"].map(|name| secrets.path().join(name).display().to_string());
    std::fs::write(&files[0], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    std::fs::write(&files[1], "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXch\n").unwrap();
    let config = secrets.path().join("service.toml");
    let write = |files: &[String]| {
        std::fs::write(
            &config,
            format!("[forward.back]\nurl = '{}'\nfrom = 'start'\nsecrets_file = {files:?}\n", receiver.url),
        )
        .unwrap();
    };
    write(&files[..1]);
    let mut settings = crate::support::settings(&database.url());
    settings.push(("TICKET_WEBHOOKS_CONFIG".to_owned(), config.display().to_string()));
    let command = crate::support::Command::new(&["serve"]).envs(&settings);
    let service = tokio::task::spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let signatures = async |service: &Service, booking: &str| -> usize {
        deliver(service, booking, "first").await;
        let received = receiver.until(|received| received.iter().any(|one| one.data()["booking_ref"] == booking)).await;
        received.last().unwrap().headers["webhook-signature"].split(' ').count()
    };
    assert_eq!(signatures(&service, "one").await, 1);
    write(&files);
    service.process.signal("HUP");
    service.process.line("\"reloaded\"");
    let output = service.process.output();
    assert!(output.contains("\"forwards.changed\":\"back\""), "{output}");
    assert!(!output.contains("waiting for a restart"));
    assert_eq!(signatures(&service, "two").await, 2, "two sign at once");
}

/// What the holder has not from the database it must not overwrite there: after a recovery that would skip events.
#[tokio::test]
async fn nothing_is_recorded_by_a_replica_without_the_lease_or_with_an_old_version() {
    let database = Database::new().await;
    let pool = Pool::new(database.url().parse().unwrap(), 1, false);
    let [holder, other] = [1, 2].map(Uuid::from_u128);
    let acquired = pool.acquire_forward("forward-back", holder, true).await.unwrap().unwrap();
    assert!(pool.acquire_forward("forward-back", other, true).await.unwrap().is_none());
    let progress = ForwardProgress {
        scanned: acquired.scanned,
        position: acquired.scanned,
        delivered: Vec::new(),
        dropped: Vec::new(),
        kept: Vec::new(),
        is_receiver_gone: false,
        not_before: None,
    };
    let is_recorded = async |holder, version| {
        pool.advance_forward("forward-back", holder, version, &progress).await.unwrap().is_some()
    };
    let version = acquired.version;
    assert!(is_recorded(holder, version).await);
    assert!(!is_recorded(holder, version).await, "it was recorded already");
    assert!(!is_recorded(other, version + 1).await);
    assert!(is_recorded(holder, version + 1).await);
    pool.release_forward("forward-back", holder).await.unwrap();
    assert!(!is_recorded(holder, version + 2).await);
    assert!(pool.acquire_forward("forward-back", other, true).await.unwrap().is_some());
}
