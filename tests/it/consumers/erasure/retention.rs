//! Erasing by age: on request, and by `privacy.retention_days`.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::time::{Instant, sleep};

use super::{PERSON, delivery, dump, erase, found, index, unprocessable};
use crate::support::{Database, PROVIDERS, Scrape, Service, provider};

const DAYS: &str = "TICKET_WEBHOOKS__PRIVACY__RETENTION_DAYS";

/// Makes everything about a booking, and all unprocessed deliveries, older by days, as if it had been received then.
async fn age(database: &Database, booking: &str, days: u32) {
    let older = |table: &str| {
        format!(
            "update {table} set received_at = received_at - interval '{days} days', \
             id = overlay(id::text placing left(regexp_replace(lpad(to_hex( \
                 (extract(epoch from received_at - interval '{days} days') * 1000)::bigint), 12, '0'), \
                 '(.{{8}})(.{{4}})', '\\1-\\2'), 13) from 1 for 13)::uuid"
        )
    };
    database.execute(&format!("{} where booking_ref = '{booking}'", older("ticket_events"))).await;
    database.execute(&older("unprocessed_deliveries")).await;
}

async fn deliver(database: &Database, service: &Service, bookings: usize, old: &[(&str, u32)]) {
    for provider in &PROVIDERS {
        for booking in 0..bookings {
            for (name, _) in old {
                let mut body = delivery(provider, name).to_string();
                body = body.replace("Ophelia", &format!("Ophelia{booking}"));
                assert_eq!(service.post(provider, body).await.status, 200);
            }
        }
    }
    let update = provider("ticket_status_update");
    for body in unprocessable(update, "OLD") {
        assert_eq!(service.post(update, body).await.status, 422);
    }
    for (name, days) in old {
        age(database, name, *days).await;
    }
}

/// Bookings and how many of their events are erased, and how often.
async fn erased(database: &Database) -> Vec<Value> {
    let query = "select booking_ref as b, count(*) as events, count(erased_at) as erased, \
                 (select count(*) from feed_notices where feed_notices.booking_ref = ticket_events.booking_ref) as notices \
                 from ticket_events group by booking_ref order by booking_ref";
    database.rows(query).await
}

async fn until(database: &Database, query: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(query)).fetch_one(&database.pool).await.unwrap() {
        assert!(Instant::now() < deadline, "{:?}", erased(database).await);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn everything_older_than_an_age_is_erased_and_nothing_younger() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    deliver(&database, &service, 2, &[("OLD", 31), ("YOUNG", 29)]).await;
    index(&database).await;
    let output = erase(&database.url(), &["--older-than", "30", "--dry-run"]).await;
    assert_eq!(output, "6 events and 4 unprocessed deliveries to erase; nothing was written (--dry-run)");
    assert_eq!(erase(&database.url(), &["--older-than", "30"]).await, "6 events and 4 unprocessed deliveries erased");
    assert_eq!(erase(&database.url(), &["--older-than", "30"]).await, "0 events and 0 unprocessed deliveries erased");
    let row = |name: &str, erased: u32| json!({"b": name, "events": 6, "erased": erased, "notices": erased});
    assert_eq!(erased(&database).await, [row("OLD", 6), row("YOUNG", 0)]);
    assert_eq!(erase(&database.url(), &["--older-than", "28"]).await, "6 events and 0 unprocessed deliveries erased");
    assert_eq!(found(&dump(&database.url()).await, &PERSON), Vec::<&str>::new());
}

#[tokio::test]
async fn three_replicas_keep_to_the_retention_once_and_skip_nothing_that_was_recorded_late() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    deliver(&database, &service, 100, &[("OLD", 31), ("YOUNG", 29)]).await;
    index(&database).await;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Service::start(&database, &[(DAYS, "30")]).await);
    }
    until(&database, "select bool_and(erased_at is not null) from ticket_events where booking_ref = 'OLD'").await;
    until(&database, "select bool_and(erased_at is not null) from unprocessed_deliveries").await;
    until(&database, "select count(*) > 0 from consumers where name = 'retention'").await;
    let row = |name: &str, events: u32, erased: u32| json!({"b": name, "events": events, "erased": erased, "notices": erased});
    assert_eq!(erased(&database).await, [row("OLD", 300, 300), row("YOUNG", 300, 0)]);
    let scrape = Scrape::of(&replicas[0]).await;
    assert_eq!(scrape.get("ticket_webhooks_retention_seconds", &[]), 30.0 * 86_400.0);
    for replica in replicas {
        let log = replica.stop().await;
        assert_eq!(found(&log, &PERSON), Vec::<&str>::new());
    }
    let records = "select distinct subject, requested_by from erasures where finished_at is not null";
    assert_eq!(database.rows(records).await, [json!({"subject": "age", "requested_by": "retention"})]);
    let counts = "select sum(events) as events, sum(unprocessed_deliveries) as bodies from erasures";
    assert_eq!(database.rows(counts).await, [json!({"events": 300, "bodies": 4})]);

    // what waited in a spool for longer than that is recorded only now
    let provider = provider("order_ticketed");
    service.post(provider, delivery(provider, "LATE").to_string()).await;
    age(&database, "LATE", 45).await;
    let _replica = Service::start(&database, &[(DAYS, "30")]).await;
    until(&database, "select bool_and(erased_at is not null) from ticket_events where booking_ref = 'LATE'").await;
    assert_eq!(erased(&database).await, [row("LATE", 1, 1), row("OLD", 300, 300), row("YOUNG", 300, 0)]);
}
