//! What could not be understood is kept: the same body once, and of what is answered with an error so much a minute.

use serde_json::{Value, json};
use tempfile::TempDir;
use ticket_webhooks::store::{MAX_BODIES_PER_MINUTE, MAX_BYTES_PER_MINUTE, MAX_SAME_BODIES_IN_SPOOL};
use tokio::task::JoinSet;

use crate::support::{Command, Database, PROVIDERS, Scrape, Service, provider, settings};

/// A delivery of an account that is answered with 422: the number of a booking that has no status.
fn invalid(account: &str, n: usize) -> Value {
    let mut delivery = (provider("booking_callback").delivery)(account, &format!("B{n}"));
    delivery.as_object_mut().unwrap().remove("Status");
    delivery
}

async fn kept(database: &Database) -> Vec<Value> {
    let query = "select reason, delivery_count as n from unprocessed_deliveries order by 1, 2 desc";
    database.rows(query).await
}

/// Posts them, some at a time; each is answered so.
async fn post_all(service: &Service, bodies: impl Iterator<Item = String>, status: u16) {
    let mut running = JoinSet::new();
    for body in bodies {
        if running.len() >= 8 {
            running.join_next().await.unwrap().unwrap();
        }
        let request = service.request("POST", provider("booking_callback").path).body(body);
        running.spawn(async move { assert_eq!(request.send().await.unwrap().status(), status) });
    }
    running.join_all().await;
}

fn not_kept(scrape: &Scrape) -> f64 {
    scrape.get("ticket_webhooks_unprocessed_not_kept_total", &[("provider", "booking_callback")])
}

#[tokio::test]
async fn the_same_body_again_raises_a_count_whatever_is_wrong_with_it() {
    let database = Database::new().await;
    let reject = [("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__UNKNOWN_BOOKING", "reject")];
    let service = Service::start(&database, &reject).await;
    let (updates, callbacks, orders) = (&PROVIDERS[0], &PROVIDERS[1], &PROVIDERS[2]);
    let mut void = (orders.delivery)("main", "B1");
    void["type"] = json!("order.void");
    let mut without_ticket = (updates.delivery)("main", "B1");
    without_ticket["TicketInfoes"][0]["TicketNumbers"] = json!([]);
    for _ in 0..5 {
        assert_eq!(service.post(callbacks, invalid("main", 1).to_string()).await.status, 422);
        assert_eq!(service.post(updates, "{\"BookingTransactionRef\"").await.status, 422);
        assert_eq!(service.post(updates, without_ticket.to_string()).await.status, 422);
        assert_eq!(service.post(orders, void.to_string()).await.status, 200);
        assert_eq!(service.post(orders, (orders.delivery)("main", "B1").to_string()).await.status, 404);
    }
    let row = |reason: &str| json!({"reason": reason, "n": 5});
    let reasons = ["invalid", "malformed", "no_ticket", "unknown_booking", "unsupported_type"];
    assert_eq!(kept(&database).await, reasons.map(row));
    let later = "select from unprocessed_deliveries where last_received_at > received_at";
    assert_eq!(database.rows(later).await.len(), 5);
    // of another account it is another
    assert_eq!(service.post(callbacks, invalid("other", 1).to_string()).await.status, 422);
    assert_eq!(database.rows("select from unprocessed_deliveries where reason = 'invalid'").await.len(), 2);
}

#[tokio::test]
async fn the_same_body_at_once_through_several_replicas_is_counted() {
    let database = Database::new().await;
    let services = [Service::start(&database, &[]).await, Service::start(&database, &[]).await];
    let bodies = || (0..120).map(|n| invalid("main", n % 3).to_string());
    tokio::join!(post_all(&services[0], bodies(), 422), post_all(&services[1], bodies(), 422));
    assert_eq!(kept(&database).await, [80, 80, 80].map(|n| json!({"reason": "invalid", "n": n})));
}

#[tokio::test]
async fn what_was_reprocessed_is_kept_anew_when_it_comes_again() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let callbacks = provider("booking_callback");
    service.post(callbacks, invalid("main", 1).to_string()).await;
    database.execute("update unprocessed_deliveries set reprocessed_at = now()").await;
    for _ in 0..2 {
        service.post(callbacks, invalid("main", 1).to_string()).await;
    }
    assert_eq!(kept(&database).await, [2, 1].map(|n| json!({"reason": "invalid", "n": n})));
}

#[tokio::test]
async fn errors_beyond_the_limit_of_an_account_are_counted_and_not_kept() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let bodies = |account: &'static str| (0..MAX_BODIES_PER_MINUTE + 50).map(move |n| invalid(account, n).to_string());
    post_all(&service, bodies("main"), 422).await;
    let rows = async |account: &str| {
        let query = format!("select from unprocessed_deliveries where account = '{account}'");
        database.rows(&query).await.len()
    };
    assert_eq!(rows("main").await, MAX_BODIES_PER_MINUTE);
    assert_eq!(not_kept(&Scrape::of(&service).await), 50.0);
    // what is kept goes on being counted, another account has its own allowance, and nothing is refused that is right
    let callbacks = provider("booking_callback");
    assert_eq!(service.post(callbacks, invalid("main", 0).to_string()).await.status, 422);
    assert_eq!(kept(&database).await[0]["n"], 2);
    assert_eq!(service.post(callbacks, invalid("other", 0).to_string()).await.status, 422);
    assert_eq!(rows("other").await, 1);
    assert_eq!(service.post(callbacks, (callbacks.delivery)("main", "B1").to_string()).await.status, 200);
    assert_eq!(not_kept(&Scrape::of(&service).await), 50.0);
    assert!(service.stop().await.contains("\"outcome\":\"not_kept\""));
}

#[tokio::test]
async fn errors_are_kept_up_to_a_limit_of_bytes_and_successes_without_limit() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let long = "x".repeat(200_000);
    let with_remark = |mut delivery: Value| {
        delivery["Remark"] = json!(long);
        delivery.to_string()
    };
    let posted = MAX_BYTES_PER_MINUTE / long.len() + 20;
    post_all(&service, (0..posted).map(|n| with_remark(invalid("main", n))), 422).await;
    let query = "select sum(octet_length(body))::bigint as bytes, count(*) as n from unprocessed_deliveries";
    let sum = database.rows(query).await;
    let bytes = usize::try_from(sum[0]["bytes"].as_i64().unwrap()).unwrap();
    assert!((MAX_BYTES_PER_MINUTE - 250_000..=MAX_BYTES_PER_MINUTE).contains(&bytes), "{bytes}");
    assert_eq!(sum[0]["n"].as_f64().unwrap() + not_kept(&Scrape::of(&service).await), posted as f64);
    let orders = provider("order_ticketed");
    for n in 0..posted {
        let mut void = (orders.delivery)("main", &format!("B{n}"));
        void["type"] = json!("order.void");
        assert_eq!(service.post(orders, with_remark(void)).await.status, 200);
    }
    let query = "select from unprocessed_deliveries where reason = 'unsupported_type'";
    assert_eq!(database.rows(query).await.len(), posted);
}

#[tokio::test]
async fn the_spool_has_the_same_limit_for_errors_and_takes_all_events() {
    let (database, spool) = (Database::new().await, TempDir::new().unwrap());
    let start = async |url: &str| {
        let mut settings = settings(url);
        settings.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool.path().display().to_string()));
        let command = Command::new(&["serve"]).envs(&settings);
        tokio::task::spawn_blocking(move || Service::over(command.start())).await.unwrap()
    };
    let cut_off = start("postgres://nobody@127.0.0.1:1/nothing").await;
    // copies take room here: of one body a few are kept, and nothing of what different bodies may have
    let copies = MAX_SAME_BODIES_IN_SPOOL as usize;
    post_all(&cut_off, (0..MAX_BODIES_PER_MINUTE + 50).map(|_| invalid("main", 0).to_string()), 422).await;
    assert_eq!(not_kept(&Scrape::of(&cut_off).await), (MAX_BODIES_PER_MINUTE + 50 - copies) as f64);
    post_all(&cut_off, (1..MAX_BODIES_PER_MINUTE + 50).map(|n| invalid("main", n).to_string()), 422).await;
    let callbacks = provider("booking_callback");
    assert_eq!(cut_off.post(callbacks, (callbacks.delivery)("main", "B1").to_string()).await.status, 200);
    let scrape = Scrape::of(&cut_off).await;
    assert_eq!(not_kept(&scrape), (MAX_BODIES_PER_MINUTE + 100 - copies) as f64);
    let kept_copies = copies - 1;
    assert_eq!(scrape.get("ticket_webhooks_spool_records", &[]), (MAX_BODIES_PER_MINUTE + kept_copies + 1) as f64);
    cut_off.stop().await;
    let back = start(&database.url()).await;
    Scrape::until(&back, |scrape| scrape.get("ticket_webhooks_spool_records", &[]) == 0.0).await;
    let rows = kept(&database).await;
    assert_eq!(rows.len(), MAX_BODIES_PER_MINUTE);
    assert_eq!([&rows[0], &rows[1]], [copies, 1].map(|n| json!({"reason": "invalid", "n": n})).each_ref());
    assert_eq!(database.events().await.len(), 1);
}
