//! The migrations, one after the other over data that was there before them.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{Executor, migrate::Migrator};
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, PROVIDERS, Service, provider, settings};

static MIGRATOR: Migrator = sqlx::migrate!();

/// Rows as they are after the migration of each version, in SQL: what the next ones must cope with.
fn sample_data() -> HashMap<i64, &'static str> {
    let erasures = "insert into erasures (id, subject, requested_by) values (gen_random_uuid(), 'name', 'api')";
    let forwards = "insert into consumers (name, position) values ('forward-back', '0.0.0.00000000.0'); \
                    insert into forwards (name, scanned) values ('forward-back', '0.0.0.00000000.0')";
    let activity = "insert into delivery_counts (since, provider, environment, durations) \
                    values (now(), 'order_ticketed', 'none', '{}'); \
                    insert into refused_requests (at, reason) values (now(), 'more')";
    HashMap::from([
        (7, activity),
        (5, erasures),
        (6, forwards),
        (
            1,
            "insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, airline_pnrs, \
             passengers, ticket_numbers, warnings, payload, content_hash, received_at, last_received_at) \
         select gen_random_uuid(), 'booking_callback', 'live', 'live', 'B1', revision, 'ticketed', '{}', '[]', '{1}', \
             '{}', '{\"a\": \"\\u0000\\ud800\"}', sha256(revision::text::bytea), now(), now() \
         from generate_series(1, 3) as revision; \
         insert into unprocessed_deliveries (id, provider, account, environment, reason, detail, body, \
             body_hash, received_at, last_received_at) \
         values (gen_random_uuid(), 'order_ticketed', 'live', 'live', 'invalid', '', 'x', sha256('x'), now(), now()); \
         insert into bookings values ('order_ticketed', 'test', 'B1')",
        ),
        (
            2,
            "insert into feed_notices (type, provider, environment, booking_ref, expected_by) \
         values ('overdue', 'order_ticketed', 'test', 'B1', now()); \
         insert into consumers (name, position) values ('back-office', '0.0.0.00000000.0')",
        ),
        (
            3,
            "update bookings set expected_by = '2099-01-01'; \
         insert into open_bookings values ('order_ticketed', 'test', 'B1', now())",
        ),
        (
            4,
            "insert into search_keys \
         select keys.kind, keys.key, generation, recorded_xid, sequence, received_at \
         from ticket_events as event, ticket_event_keys(event) as keys",
        ),
    ])
}

#[tokio::test]
async fn every_migration_goes_over_sample_data_and_keeps_it() {
    let database = Database::empty().await;
    let mut data = sample_data();
    for migration in MIGRATOR.iter() {
        MIGRATOR.run_to(migration.version, &database.pool).await.unwrap();
        let rows = data.remove(&migration.version).expect("every migration has its sample data");
        database.pool.execute(rows).await.unwrap();
    }
    let counts = "select (select count(*) from ticket_events) as events, (select count(*) from bookings) as bookings, \
                  (select count(*) from unprocessed_deliveries) as unprocessed";
    assert_eq!(database.rows(counts).await, [json!({"events": 3, "bookings": 1, "unprocessed": 1})]);

    let service = Service::start(&database, &[]).await;
    let provider = provider("booking_callback");
    assert_eq!(service.post(provider, (provider.delivery)("main", "B1").to_string()).await.status, 200);
    assert_eq!(database.rows("select max(revision) as newest from ticket_events").await, [json!({"newest": 4})]);
}

#[tokio::test]
async fn every_table_and_column_has_a_comment() {
    let database = Database::new().await;
    let query = "select c.relname as table, a.attname as column from pg_class c \
                 join pg_attribute a on a.attrelid = c.oid and a.attnum >= 0 or a.attrelid = c.oid and a.attname = 'x' \
                 where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname not like '\\_sqlx%' \
                 and not a.attisdropped \
                 and (col_description(c.oid, a.attnum) is null or obj_description(c.oid) is null)";
    assert_eq!(database.rows(query).await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn serve_applies_them_and_with_no_migrate_refuses_until_they_are_applied() {
    let database = Database::empty().await;
    let variables = settings(&database.url());
    let run = |arguments: &'static [&'static str]| {
        let command = Command::new(arguments).envs(&variables);
        spawn_blocking(move || command.run())
    };
    let (code, _, errors) = run(&["serve", "--no-migrate"]).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.contains("migrations are pending: 0001 ticket events"), "{errors}");
    assert!(errors.contains("ticket-webhooks migrate"), "{errors}");
    for _ in 0..2 {
        let (code, _, errors) = run(&["migrate"]).await.unwrap();
        assert_eq!(code, 0, "{errors}");
    }
    let command = Command::new(&["serve", "--no-migrate"]).envs(&variables);
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    service.stop().await;

    let fresh = Database::empty().await;
    let replicas = [Service::start(&fresh, &[]), Service::start(&fresh, &[])];
    let [first, second] = replicas;
    let (first, second) = tokio::join!(first, second);
    let provider = provider("order_ticketed");
    for replica in [first, second] {
        assert_eq!(replica.post(provider, (provider.delivery)("main", "B1").to_string()).await.status, 200);
    }
}

#[tokio::test]
async fn a_database_that_takes_any_bytes_is_warned_of_and_served() {
    let database = Database::with("encoding 'SQL_ASCII' locale 'C' template template0").await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let delivery = (provider.delivery)("main", "Müller-票").to_string();
        assert_eq!(service.post(provider, delivery).await.status, 200);
    }
    let references = "select distinct encode(booking_ref::bytea, 'escape') as ref from ticket_events";
    assert_eq!(database.rows(references).await.len(), 1);
    assert!(service.stop().await.contains("the database checks no encoding"));
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_with_what_to_do() {
    let database = Database::with("encoding 'LATIN1' locale 'C' template template0").await;
    let variables = settings(&database.url());
    for arguments in [&["migrate"][..], &["serve"]] {
        let command = Command::new(arguments).envs(&variables);
        let (code, _, errors) = spawn_blocking(move || command.run()).await.unwrap();
        assert_eq!(code, 1, "{errors}");
        assert!(errors.contains("the database has the encoding LATIN1; create one with the encoding UTF8"), "{errors}");
    }
}
