//! What cannot be made durable: the answer says so at once, and the same delivery is recorded as soon as it can be.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{
    with,
    words::{assert_kept, assert_refused, assert_success, post, post_as},
};
use crate::support::{Answer, Database, PROVIDERS, Provider, Service};

const RETRY: &[(&str, &str)] = &[("retry-after", "30")];

fn assert_not_durable(provider: &Provider, answer: &Answer) {
    let status = if provider.name == "ticket_status_update" { 422 } else { 503 };
    let words = assert_refused(provider, answer, status, RETRY);
    if provider.name == "ticket_status_update" {
        assert_eq!(words, ["Something went wrong..."]);
    }
}

/// While the database is as `spoil` makes it no delivery is a success; once it is as `mend` makes it each of them is.
async fn nothing_is_lost(database: &Database, service: &Service, spoil: impl AsyncFnOnce(), mend: impl AsyncFnOnce()) {
    spoil().await;
    for provider in &PROVIDERS {
        let delivery = (provider.delivery)("main", "B1");
        assert_not_durable(provider, &post(service, provider, delivery.to_string()).await);
    }
    assert_eq!(service.request("GET", "/readyz").send().await.unwrap().status(), 503);
    mend().await;
    for provider in &PROVIDERS {
        assert_success(provider, &post(service, provider, (provider.delivery)("main", "B1").to_string()).await);
    }
    assert_eq!(database.rows("select from ticket_events").await.len(), 3);
    assert_kept(database, &[]).await;
}

/// On another database of the same server.
async fn beside(database: &Database, statement: &str) {
    let mut connection = PgConnection::connect_with(&database.connect_options().database("postgres")).await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}

async fn name(database: &Database) -> String {
    sqlx::query_scalar("select current_database()::text").fetch_one(&database.pool).await.unwrap()
}

#[tokio::test]
async fn a_database_that_answers_and_takes_no_row_is_no_success_and_not_ready() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    database
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin \
             raise exception 'no space left on device' using errcode = '53100'; end $$",
        )
        .await;
    nothing_is_lost(
        &database,
        &service,
        async || {
            database.execute("create trigger refuse before insert on ticket_events execute function refuse()").await;
        },
        async || database.execute("drop trigger refuse on ticket_events").await,
    )
    .await;
    // the trial leaves nothing behind
    assert_eq!(database.rows("select from ticket_events where provider = 'trial'").await.len(), 0);
    // the result of asking Postgres is cached for a moment
    let since = Instant::now();
    while service.request("GET", "/readyz").send().await.unwrap().status() != 200 {
        assert!(since.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_missing_table_is_no_success() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    nothing_is_lost(
        &database,
        &service,
        async || database.execute("alter table ticket_events rename to elsewhere").await,
        async || database.execute("alter table elsewhere rename to ticket_events").await,
    )
    .await;
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_no_success() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "300")]).await;
    let mut lock = database.pool.begin().await.unwrap();
    lock.execute("lock table ticket_events in access exclusive mode").await.unwrap();
    nothing_is_lost(
        &database,
        &service,
        async || {},
        async || {
            // what waited for the lock ends before the deliveries come again
            let waiting = "datname = current_database() and wait_event_type = 'Lock'";
            database.rows(&format!("select pg_terminate_backend(pid) from pg_stat_activity where {waiting}")).await;
            lock.rollback().await.unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_no_success() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let (name, others) = (name(&database).await, "pid <> pg_backend_pid() and datname = current_database()");
    let end_connections = format!("select pg_terminate_backend(pid) from pg_stat_activity where {others}");
    nothing_is_lost(
        &database,
        &service,
        // as after a failover: the old primary is read-only
        async || {
            beside(&database, &format!("alter database {name} set default_transaction_read_only = on")).await;
            database.rows(&end_connections).await;
        },
        async || {
            beside(&database, &format!("alter database {name} reset default_transaction_read_only")).await;
            database.rows(&end_connections).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_no_success_and_no_answer_to_strangers_changes() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "500")]).await;
    let name = name(&database).await;
    nothing_is_lost(
        &database,
        &service,
        async || {
            beside(&database, &format!("alter database {name} allow_connections false")).await;
            let ended = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
            beside(&database, &ended).await;
            let first = &PROVIDERS[0];
            let answer = post_as(&service, first, "Bearer wrong", "{}").await;
            assert_refused(first, &answer, 401, &[("www-authenticate", "Bearer")]);
            let answer = post(&service, &PROVIDERS[1], "{").await;
            assert_refused(&PROVIDERS[1], &answer, 400, &[]);
        },
        async || beside(&database, &format!("alter database {name} allow_connections true")).await,
    )
    .await;
}

#[tokio::test]
async fn what_has_to_be_kept_unprocessed_is_not_answered_before_it_is() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let deliveries = [
        (&PROVIDERS[0], "{".to_owned(), 422),
        (&PROVIDERS[0], with(&PROVIDERS[0], "B1", "/TicketInfoes", json!([])).to_string(), 422),
        (&PROVIDERS[1], with(&PROVIDERS[1], "B1", "/BookingId", json!(null)).to_string(), 422),
        (&PROVIDERS[2], with(&PROVIDERS[2], "B1", "/type", json!("order.void")).to_string(), 200),
    ];
    database.execute("alter table unprocessed_deliveries rename to elsewhere").await;
    for (provider, body, _) in &deliveries {
        assert_not_durable(provider, &post(&service, provider, body.clone()).await);
    }
    database.execute("alter table elsewhere rename to unprocessed_deliveries").await;
    for (provider, body, status) in deliveries {
        assert_eq!(post(&service, provider, body).await.status, status);
    }
    let reasons: Vec<_> = database.unprocessed().await.into_iter().map(|row| row["reason"].clone()).collect();
    assert_eq!(reasons, ["malformed", "no_ticket", "invalid", "unsupported_type"]);
}

#[tokio::test]
async fn a_row_that_the_database_refuses_for_good_is_kept_unprocessed() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    database.execute("alter table ticket_events add check (booking_ref <> 'B1')").await;
    let mut kept = Vec::new();
    for provider in &PROVIDERS {
        let delivery = (provider.delivery)("main", "B1");
        assert_success(provider, &post(&service, provider, delivery.to_string()).await);
        kept.push((provider.name, "refused", super::less_credentials(delivery).to_string()));
    }
    assert_kept(&database, &kept).await;
}
