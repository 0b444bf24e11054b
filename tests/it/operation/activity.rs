//! The activity of all replicas in the database: every delivery is counted, what left nothing else behind is listed, and
//! neither grows without end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ticket_webhooks::store::{DeliveryCounts, Pool, RefusedRequest};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use crate::support::{Answer, Command, Database, PROVIDERS, Server, Service, credentials, provider, settings};

const PROXIES: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.1");

/// Stands in every wrong credential and every body of these tests.
const SECRET: &str = "s3cret-guess-81";

/// The columns of numbers: recorded, duplicates, unprocessed, unauthenticated, unreadable, unavailable, and how many have a
/// duration.
type Sums = [i64; 7];

fn pool(database: &Database) -> Pool {
    Pool::new(database.connect_options(), 2, false)
}

/// Of a provider and an environment, over all periods.
async fn sums(pool: &Pool, provider: &str, environment: &str) -> Sums {
    let counts = pool.delivery_counts(OffsetDateTime::UNIX_EPOCH).await.unwrap();
    let mut sums = Sums::default();
    for row in counts.iter().filter(|row| row.provider == provider && row.environment == environment) {
        let DeliveryCounts { recorded, duplicates, unprocessed, unauthenticated, unreadable, unavailable, .. } = row;
        let durations = row.durations.iter().sum();
        let row = [*recorded, *duplicates, *unprocessed, *unauthenticated, *unreadable, *unavailable, durations];
        sums = std::array::from_fn(|column| sums[column] + row[column]);
    }
    sums
}

/// Reads until the condition holds.
async fn until<T: std::fmt::Debug>(read: impl AsyncFn() -> T, holds: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let value = read().await;
        if holds(&value) {
            return value;
        }
        assert!(Instant::now() < deadline, "the condition never held: {value:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_sums(pool: &Pool, provider: &str, environment: &str, expected: Sums) {
    until(async || sums(pool, provider, environment).await, |sums| *sums == expected).await;
}

async fn refused(pool: &Pool) -> Vec<RefusedRequest> {
    pool.refused_requests(None, 5000).await.unwrap()
}

/// With wrong credentials of this provider.
async fn fail(service: &Service, name: &str, client: &str) -> Answer {
    let provider = provider(name);
    let mut body = (provider.delivery)("main", SECRET);
    for member in ["Password", "cid"] {
        if let Some(value) = body.get_mut(member) {
            *value = Value::from(SECRET);
        }
    }
    let request = service.request("POST", provider.path).header("x-forwarded-for", client).body(body.to_string());
    Answer::of(request.header("authorization", format!("Bearer {SECRET}"))).await
}

#[tokio::test]
async fn the_deliveries_of_all_replicas_are_added_up_by_what_became_of_them() {
    let database = Database::new().await;
    let pool = pool(&database);
    let sender = provider("ticket_status_update");
    let began = OffsetDateTime::now_utc() - time::Duration::SECOND;
    for (replica, booking) in [("first", "B1"), ("second", "B2")] {
        let service = Service::start(&database, &[]).await;
        let delivery = (sender.delivery)("main", booking).to_string();
        for body in [&delivery, &delivery] {
            assert_eq!(service.post(sender, body.as_bytes()).await.status, 200, "{replica}");
        }
        assert_eq!(service.post(sender, "{}").await.status, 422);
        assert_eq!(service.post(sender, "{").await.status, 422);
        let other =
            service.request("POST", sender.path).header("authorization", (sender.authorization)("other").unwrap());
        assert_eq!(Answer::of(other.body(delivery)).await.status, 200);
        assert_eq!(fail(&service, sender.name, "").await.status, 401);
        assert_eq!(service.post(sender, " ".repeat(300_000)).await.status, 413);
        // without waiting for it: what came last is written at the end
        service.stop().await;
    }
    assert_eq!(sums(&pool, sender.name, "live").await, [2, 2, 4, 0, 0, 0, 8]);
    assert_eq!(sums(&pool, sender.name, "test").await, [2, 0, 0, 0, 0, 0, 2]);
    assert_eq!(sums(&pool, sender.name, "none").await, [0, 0, 0, 2, 2, 0, 0]);
    let rows = pool.delivery_counts(OffsetDateTime::UNIX_EPOCH).await.unwrap();
    let since_start = began - time::Duration::minutes(10)..=OffsetDateTime::now_utc();
    for row in &rows {
        assert_eq!((row.provider.as_str(), row.durations.len()), (sender.name, 18));
        assert!(since_start.contains(&row.since) && row.since.unix_timestamp() % 600 == 0, "{row:?}");
        let last = row.last_received_at.unwrap();
        assert!(last >= began && last <= OffsetDateTime::now_utc(), "{row:?}");
    }
    assert!(pool.delivery_counts(OffsetDateTime::now_utc()).await.unwrap().is_empty());
}

#[tokio::test]
async fn it_is_written_while_the_service_runs_by_both_replicas() {
    let database = Database::new().await;
    let pool = pool(&database);
    let sender = provider("order_ticketed");
    // as behind a pooler in transaction mode
    let prepared_in_transactions = [("TICKET_WEBHOOKS__DATABASE__TRANSACTION_POOLER", "true")];
    let replicas = [Service::start(&database, &[]).await, Service::start(&database, &prepared_in_transactions).await];
    for (n, expected) in [(1, 2), (2, 4)] {
        for replica in &replicas {
            let booking = format!("B{n}-{}", replica.public);
            assert_eq!(replica.post(sender, (sender.delivery)("main", &booking).to_string()).await.status, 200);
        }
        until_sums(&pool, sender.name, "live", [expected, 0, 0, 0, 0, 0, expected]).await;
    }
}

#[tokio::test]
async fn a_refused_request_is_listed_with_its_reason_and_without_what_it_said() {
    let database = Database::new().await;
    let pool = pool(&database);
    let network = ("TICKET_WEBHOOKS__PROVIDERS__BOOKING_CALLBACK__ALLOWED_NETWORKS", "203.0.113.0/24");
    let service = Service::start(&database, &[PROXIES, network]).await;
    let (status_update, order) = (provider("ticket_status_update"), provider("order_ticketed"));
    let mut expected = Vec::new();
    let mut expect = |answer: &Answer, provider: Option<&'static str>, reason: &'static str, path, client| {
        let request_id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        expected.push((Some(request_id), provider, reason, path, Some(client), 1));
    };

    for (name, client, reason, prefix) in [
        ("ticket_status_update", "2001:db8:1:2::3", "credentials_wrong", "2001:db8:1:2::/64"),
        ("booking_callback", "192.0.2.1", "address_not_allowed", "192.0.2.1"),
        ("order_ticketed", "203.0.113.7", "credentials_wrong", "203.0.113.7"),
    ] {
        expect(&fail(&service, name, client).await, Some(name), reason, None, prefix);
    }

    let post = |path: &str, body: String| service.request("POST", path).body(body);
    let member = format!(r#"{{"cid": ["{SECRET}"]}}"#);
    for (provider, reason, request) in [
        (status_update, "credentials_missing", post(status_update.path, SECRET.to_owned())),
        (order, "credentials_malformed", post(order.path, member)),
        (order, "malformed", post(order.path, format!("{SECRET} {{"))),
        (order, "too_large", post(order.path, SECRET.repeat(100_000))),
        (order, "unsupported_encoding", post(order.path, SECRET.to_owned()).header("content-encoding", "br")),
    ] {
        expect(&Answer::of(request).await, Some(provider.name), reason, None, "127.0.0.1");
    }

    let secret_path = format!("/webhooks/{}", credentials("order_ticketed", "main")[0].1);
    for (path, shown) in [("/webhooks/order-tickted", "/webhooks/order-tickted"), (&secret_path, "[redacted]")] {
        // no delivery: it is not listed
        Answer::of(service.request("GET", path)).await;
        expect(&Answer::of(post(path, SECRET.to_owned())).await, None, "unrouted", Some(shown), "127.0.0.1");
    }

    let mut rows = until(async || refused(&pool).await, |rows| rows.len() >= expected.len()).await;
    rows.reverse();
    let listed = |row: &'_ RefusedRequest| {
        let RefusedRequest { request_id, provider, reason, path, client, requests, .. } = row.clone();
        json!([request_id, provider, reason, path, client, requests])
    };
    assert_eq!(rows.iter().map(listed).collect::<Vec<_>>(), expected.iter().map(|row| json!(row)).collect::<Vec<_>>());
    let detail = |reason: &str| rows.iter().find(|row| row.reason == reason).unwrap().detail.as_deref().unwrap();
    assert!(detail("too_large").contains("262144") && !detail("malformed").is_empty(), "{rows:#?}");
    let after_first = pool.refused_requests(Some(rows[0].id), 3).await.unwrap();
    assert_eq!(after_first, rows.iter().skip(1).rev().take(3).cloned().collect::<Vec<_>>());

    service.stop().await;
    let tables = "select to_jsonb(refused_requests)::text as row from refused_requests \
                  union all select to_jsonb(delivery_counts)::text from delivery_counts";
    let text = database.rows(tables).await.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("order-tickted"), "{text}");
    let secrets = PROVIDERS.iter().flat_map(|provider| credentials(provider.name, "main"));
    for secret in secrets.map(|(_, secret)| secret).chain([SECRET, "s3cret", "Mehta", "Bearer"]) {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_counted_and_few_of_them_are_listed() {
    let database = Database::new().await;
    let pool = pool(&database);
    let service = Service::start(&database, &[PROXIES]).await;
    let began = Instant::now();
    for n in 0..500 {
        fail(&service, "order_ticketed", &format!("198.18.{}.{}", n / 250, n % 250)).await;
    }
    let total = |rows: &Vec<RefusedRequest>| rows.iter().map(|row| row.requests).sum::<i64>();
    let rows = until(async || refused(&pool).await, |rows| total(rows) == 500).await;
    // 50 and the one for the rest in each write
    let writes = began.elapsed().as_secs() / 2 + 2;
    assert!(rows.len() as u64 <= 51 * writes, "{} rows in {writes} writes", rows.len());
    let more: Vec<_> = rows.iter().filter(|row| row.reason == "more").collect();
    assert!(!more.is_empty() && more.iter().all(|row| row.client.is_none() && row.request_id.is_none()), "{more:?}");
    until_sums(&pool, "order_ticketed", "none", [0, 0, 0, 500, 0, 0, 0]).await;
    service.stop().await;
}

#[tokio::test]
async fn what_was_counted_while_the_database_was_away_is_added_once_it_is_back() {
    let mut server = Server::start(true).await;
    let mut variables = settings(server.url());
    variables.push(("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS".to_owned(), "500".to_owned()));
    let command = Command::new(&["serve", "--no-migrate"]).envs(&variables);
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let sender = provider("order_ticketed");
    let pool = Pool::new(server.url().parse().unwrap(), 2, false);
    let delivery = |booking: &str| (sender.delivery)("main", booking).to_string();
    assert_eq!(service.post(sender, delivery("B1")).await.status, 200);
    until_sums(&pool, sender.name, "live", [1, 0, 0, 0, 0, 0, 1]).await;

    server.signal_all("KILL");
    server.gone().await;
    for n in 0..3 {
        assert_eq!(service.post(sender, delivery(&format!("AWAY{n}"))).await.status, 503);
    }
    for _ in 0..60 {
        fail(&service, sender.name, "").await;
    }
    let printed = service.process.printed();
    spawn_blocking(move || printed.line("\"task\":\"activity\"")).await.unwrap();
    assert_eq!(service.post(sender, delivery("AWAY3")).await.status, 503);

    server.start_again().await;
    until_sums(&pool, sender.name, "live", [1, 0, 0, 0, 0, 4, 5]).await;
    until_sums(&pool, sender.name, "none", [0, 0, 0, 60, 0, 0, 0]).await;
    let total = |rows: &Vec<RefusedRequest>| rows.iter().map(|row| row.requests).sum::<i64>();
    let rows = until(async || refused(&pool).await, |rows| total(rows) == 64).await;
    assert!(rows.len() < 30, "{rows:#?}");
    let not_durable =
        rows.iter().filter(|row| row.reason == "not_durable" && row.provider.as_deref() == Some(sender.name));
    assert!(not_durable.count() >= 3, "{rows:#?}");
    assert_eq!(service.post(sender, delivery("BACK")).await.status, 200);
    until_sums(&pool, sender.name, "live", [2, 0, 0, 0, 0, 4, 6]).await;
    service.stop().await;
}

#[tokio::test]
async fn old_rows_go_and_so_do_those_beyond_the_limit() {
    let database = Database::new().await;
    let pool = pool(&database);
    database
        .execute(
            "insert into refused_requests (at, reason) values (now() - interval '16 minutes', 'old'); \
             insert into refused_requests (at, reason) select now(), 'new' from generate_series(1, 2500); \
             insert into delivery_counts (since, provider, environment, durations) \
             select now() - make_interval(days => age), 'order_ticketed', 'live', '{}' from unnest(array[7, 9]) as age",
        )
        .await;
    let service = Service::start(&database, &[]).await;
    let rows = until(async || refused(&pool).await, |rows| rows.iter().all(|row| row.reason == "new")).await;
    assert_eq!(rows.len(), 2500);
    let periods = async || pool.delivery_counts(OffsetDateTime::UNIX_EPOCH).await.unwrap().len();
    until(periods, |periods| *periods == 1).await;
    Answer::of(service.request("POST", "/webhooks/none")).await;
    let rows = until(async || refused(&pool).await, |rows| rows.len() != 2500).await;
    assert_eq!((rows.len(), rows[0].reason.as_str(), rows[1].reason.as_str()), (2000, "unrouted", "new"));
}
