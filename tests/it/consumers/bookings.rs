//! What is expected, over HTTP and in SQL; what is overdue and stuck; the state of every booking.

use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use sqlx::Executor;
use tokio::task::spawn_blocking;

use super::pages::all_given_out;
use crate::support::{ApiClient, Command, Database, PROVIDERS, Scrape, Server, Service, provider, settings};

const OVERDUE: &str = "ticket_webhooks_bookings_overdue";
const STUCK: &str = "ticket_webhooks_bookings_stuck";

/// Of what the service does in the background.
const TIMEOUT: Duration = Duration::from_secs(30);

fn path(booking_ref: &str) -> String {
    format!("/v1/bookings/booking_callback/live/{}", utf8_percent_encode(booking_ref, NON_ALPHANUMERIC))
}

async fn deliver(service: &Service, booking: &str, change: impl FnOnce(&mut Value)) {
    let provider = provider("booking_callback");
    let mut delivery = (provider.delivery)("main", booking);
    change(&mut delivery);
    let answer = service.post(provider, delivery.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn deliver_status(service: &Service, booking: &str, status: &str) {
    deliver(service, booking, |delivery| delivery["Status"] = status.into()).await;
}

/// Waits until a query that gives one row of JSON gives this.
async fn until(database: &Database, query: &str, expected: Value) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let rows = database.rows(query).await;
        if rows == [expected.clone()] {
            return;
        }
        assert!(Instant::now() < deadline, "{query}: {rows:?} is not {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn references(page: &Value) -> Vec<&str> {
    page["bookings"].as_array().unwrap().iter().map(|booking| booking["booking_ref"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_booking_is_announced_changed_and_withdrawn() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    assert_eq!(api.get(&path("B1")).await.status, 404);
    let answer = api.put(&path("B1"), json!({})).await;
    assert_eq!((answer.status, &answer.body["is_expected"]), (201, &json!(true)));
    assert_eq!((&answer.body["expected_by"], &answer.body["status"]), (&Value::Null, &Value::Null));
    let answer = api.put(&path("B1"), json!({"expected_by": "2099-01-02T03:04:05+01:00"})).await;
    assert_eq!((answer.status, &answer.body["expected_by"]), (200, &json!("2099-01-02T02:04:05Z")));
    // left out, it stays as it is
    let answer = api.put(&path("B1"), json!({})).await;
    assert_eq!((answer.status, &answer.body["expected_by"]), (200, &json!("2099-01-02T02:04:05Z")));
    let answer = api.put(&path("B1"), json!({"expected_by": null})).await;
    assert_eq!((answer.status, &answer.body["expected_by"]), (200, &Value::Null));

    deliver_status(&service, "B1", "Success").await;
    assert_eq!(api.delete(&path("B1")).await.status, 204);
    assert_eq!(api.delete(&path("B1")).await.status, 404);
    let booking = api.get(&path("B1")).await.body;
    assert_eq!((&booking["state"]["is_expected"], &booking["state"]["status"]), (&json!(false), &json!("ticketed")));

    database
        .execute("insert into bookings (provider, environment, booking_ref) values ('booking_callback', 'live', 'SQL')")
        .await;
    let booking = api.get(&path("SQL")).await.body;
    assert_eq!((&booking["state"]["is_expected"], &booking["revisions"]), (&json!(true), &json!([])));
    assert!(booking["state"]["announced_at"].is_string());
    assert_eq!(api.delete(&path("SQL")).await.status, 204);
    assert_eq!(api.get(&path("SQL")).await.status, 404);
}

#[tokio::test]
async fn sql_cannot_announce_what_no_delivery_is_about() {
    let database = Database::new().await;
    for (provider, environment, booking_ref) in [
        ("bookingcallback", "live", "B1"),
        ("booking_callback", "production", "B1"),
        ("booking_callback", "live", ""),
        ("booking_callback", "live", "B1 "),
        ("booking_callback", "live", "\tB1"),
        ("booking_callback", "live", &"B".repeat(256)),
    ] {
        let query = sqlx::query("insert into bookings (provider, environment, booking_ref) values ($1, $2, $3)");
        let inserted = query.bind(provider).bind(environment).bind(booking_ref).execute(&database.pool).await;
        assert!(inserted.is_err(), "{provider} {environment} {booking_ref:?}");
    }
    for provider in PROVIDERS {
        let query = sqlx::query("insert into bookings (provider, environment, booking_ref) values ($1, 'test', $2)");
        query.bind(provider.name).bind("B 1".repeat(85)).execute(&database.pool).await.unwrap();
    }
}

#[tokio::test]
async fn many_are_announced_at_once_all_or_none() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    let booking = |reference: String, expected_by: Value| json!({"provider": "order_ticketed", "environment": "test", "booking_ref": reference, "expected_by": expected_by});
    let list =
        |expected_by: Value| -> Value { (0..1000).map(|n| booking(format!("B{n}"), expected_by.clone())).collect() };
    let answer = api.post("/v1/bookings", list(Value::Null)).await;
    assert_eq!((answer.status, answer.body), (200, json!({"announced": 1000, "changed": 0, "unchanged": 0})));
    let mut half = list(json!("2099-01-01T00:00:00Z"));
    half.as_array_mut().unwrap().truncate(400);
    half.as_array_mut()
        .unwrap()
        .push(json!({"provider": "order_ticketed", "environment": "live", "booking_ref": "B0"}));
    half.as_array_mut()
        .unwrap()
        .push(json!({"provider": "order_ticketed", "environment": "test", "booking_ref": "B999"}));
    let answer = api.post("/v1/bookings", half).await;
    assert_eq!((answer.status, answer.body), (200, json!({"announced": 1, "changed": 400, "unchanged": 1})));

    let good = booking("NEW".into(), Value::Null);
    for (list, code) in [
        (json!([good, booking(" NEW ".into(), Value::Null)]), "repeated_booking"),
        (json!([good, booking(" ".into(), Value::Null)]), "invalid_booking_ref"),
        (json!([good, booking("x\0".into(), Value::Null)]), "invalid_booking_ref"),
        (json!([good, booking("x".repeat(256), Value::Null)]), "invalid_booking_ref"),
        (json!([good, booking("x".into(), "9999-12-31T23:59:59-23:59".into())]), "invalid_time"),
        (json!([good, booking("x".into(), "0000-01-01T00:00:00+23:59".into())]), "invalid_time"),
        (json!([good, booking("x".into(), "tomorrow".into())]), "invalid_body"),
        (json!([good, {"provider": "nobody", "environment": "test", "booking_ref": "x"}]), "unknown_provider"),
        (json!([good, {"provider": "order_ticketed", "environment": "test"}]), "invalid_body"),
        (json!(vec![good.clone(); 1001]), "too_many_bookings"),
    ] {
        let answer = api.post("/v1/bookings", list).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &code.into()), "{answer:?}");
    }
    assert_eq!(database.rows("select count(*) from bookings").await, [json!({"count": 1001})]);
}

#[tokio::test]
async fn a_reference_may_have_any_characters_and_is_trimmed_as_those_of_deliveries() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    for reference in ["a/b", "ümlaut 予約", "a b?c#d%25", "..x/..", "=1+1", "\"'\\", "x".repeat(255).as_str()] {
        assert_eq!(api.put(&path(&format!(" {reference}\u{a0}")), json!({})).await.status, 201, "{reference}");
        deliver(&service, &format!("\t{reference} "), |_| {}).await;
        let booking = api.get(&path(reference)).await;
        assert_eq!(booking.status, 200, "{reference}");
        let state = &booking.body["state"];
        assert_eq!((&state["booking_ref"], &state["is_expected"]), (&json!(reference), &json!(true)));
        assert_eq!(state["status"], "ticketed");
        assert_eq!(api.delete(&path(reference)).await.status, 204);
    }
    for (path, code) in [
        ("/v1/bookings/nobody/live/B1", "unknown_provider"),
        ("/v1/bookings/booking_callback/production/B1", "invalid_parameter"),
        ("/v1/bookings/booking_callback/live/%00", "invalid_booking_ref"),
        ("/v1/bookings/booking_callback/live/%20", "invalid_booking_ref"),
        ("/v1/bookings/booking_callback/live/%ff", "invalid_parameter"),
        ("/v1/bookings?provider=nobody", "unknown_provider"),
        ("/v1/bookings?after=zz", "invalid_cursor"),
        ("/v1/bookings?limit=0", "invalid_parameter"),
        ("/v1/bookings?overdue=perhaps", "invalid_parameter"),
        ("/v1/bookings?status=pending", "invalid_parameter"),
    ] {
        let answer = api.get(path).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &code.into()), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn an_overdue_booking_is_in_the_feed_once_however_many_replicas_look() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let _others = (Service::start(&database, &[]).await, Service::start(&database, &[]).await);
    deliver_status(&service, "PENDING", "Pending").await;
    deliver_status(&service, "TICKETED", "Success").await;
    let announced: Value = (0..600)
        .map(|n| format!("B{n}"))
        .chain(["PENDING".to_owned(), "TICKETED".to_owned()])
        .map(|reference| {
            let by = "2026-01-01T00:00:00.5Z";
            json!({"provider": "booking_callback", "environment": "live", "booking_ref": reference, "expected_by": by})
        })
        .collect();
    for part in announced.as_array().unwrap().chunks(301) {
        assert_eq!(api.post("/v1/bookings", part.into()).await.status, 200);
    }
    api.put(&path("LATER"), json!({"expected_by": "2099-01-01T00:00:00Z"})).await;
    api.put(&path("NEVER"), json!({})).await;
    let counts = "select count(*), count(distinct booking_ref) as different from feed_notices";
    until(&database, counts, json!({"count": 601, "different": 601})).await;
    // a deadline in SQL, three times: by then every replica has looked several times
    for round in 1..=3 {
        database
            .execute(&format!("update bookings set expected_by = '2026-02-0{round}' where booking_ref = 'NEVER'"))
            .await;
        until(&database, counts, json!({"count": 601 + round, "different": 602})).await;
    }

    all_given_out(&database.pool).await;
    let page = api.get("/v1/events?from=start&limit=1000").await.body;
    let overdue: Vec<_> = page["events"].as_array().unwrap().iter().filter(|item| item["type"] == "overdue").collect();
    assert_eq!(overdue.len(), 604);
    let item = overdue.iter().find(|item| item["booking_ref"] == "PENDING").unwrap();
    assert_eq!((&item["status"], &item["expected_by"]), (&json!("pending"), &json!("2026-01-01T00:00:00.5Z")));
    assert_eq!(overdue.iter().find(|item| item["booking_ref"] == "B7").unwrap()["status"], Value::Null);
    assert!(!overdue.iter().any(|item| ["TICKETED", "LATER"].map(Value::from).contains(&item["booking_ref"])));
}

#[tokio::test]
async fn a_booking_is_overdue_until_a_final_status_and_again_with_another_deadline() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let live = [("provider", "booking_callback"), ("environment", "live")];
    let notices = "select count(*) from feed_notices where booking_ref = 'B1'";
    api.put(&path("B1"), json!({"expected_by": "2026-01-01T00:00:00Z"})).await;
    api.put(&path("FUTURE"), json!({"expected_by": "2099-01-01T00:00:00Z"})).await;
    until(&database, notices, json!({"count": 1})).await;
    Scrape::until(&service, |scrape| scrape.get(OVERDUE, &live) == 1.0).await;
    let overdue = api.get("/v1/bookings?overdue=true").await.body;
    assert_eq!(references(&overdue), ["B1"]);
    assert_eq!(overdue["bookings"][0]["is_overdue"], true);

    deliver_status(&service, "B1", "Success").await;
    assert_eq!(references(&api.get("/v1/bookings?overdue=true").await.body), Vec::<&str>::new());
    Scrape::until(&service, |scrape| scrape.get(OVERDUE, &live) == 0.0).await;

    // another deadline of a booking that is final
    api.put(&path("B1"), json!({"expected_by": "2026-01-02T00:00:00Z"})).await;
    // which a provider takes back
    deliver_status(&service, "B1", "Pending").await;
    until(&database, notices, json!({"count": 2})).await;
    assert_eq!(references(&api.get("/v1/bookings?overdue=true").await.body), ["B1"]);
    Scrape::until(&service, |scrape| scrape.get(OVERDUE, &live) == 1.0).await;
    api.delete(&path("B1")).await;
    Scrape::until(&service, |scrape| scrape.get(OVERDUE, &live) == 0.0).await;
}

#[tokio::test]
async fn a_booking_without_final_status_and_without_deliveries_for_long_is_stuck() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[("TICKET_WEBHOOKS__BOOKINGS__STUCK_AFTER_MINUTES", "30")]).await;
    let live = [("provider", "booking_callback"), ("environment", "live")];
    for (booking, status) in [("PENDING", "Pending"), ("FAILED", "Failed"), ("NEW", "Pending"), ("REPEATED", "Pending")]
    {
        deliver_status(&service, booking, status).await;
    }
    deliver(&service, "CONFIRMED", |delivery| delivery["Passengers"][0]["TicketNumber"] = Value::Null).await;
    until(&database, "select count(*) from open_bookings", json!({"count": 4})).await;
    database
        .execute(
            "update ticket_events set last_received_at = now() - interval '31 minutes' where booking_ref <> 'NEW'; \
             update open_bookings set last_received_at = now() - interval '31 minutes' where booking_ref <> 'NEW'",
        )
        .await;
    // a duplicate is a sign of life, which the list of candidates does not know
    deliver_status(&service, "REPEATED", "Pending").await;
    Scrape::until(&service, |scrape| scrape.get(STUCK, &live) == 2.0).await;
    let stuck = api.get("/v1/bookings?stuck=true").await.body;
    assert_eq!(references(&stuck), ["CONFIRMED", "PENDING"]);
    assert_eq!(stuck["bookings"][0]["is_stuck"], true);
    assert_eq!(references(&api.get("/v1/bookings?stuck=true&environment=test").await.body), Vec::<&str>::new());
    assert_eq!(references(&api.get("/v1/bookings?stuck=true&overdue=true").await.body), Vec::<&str>::new());

    deliver_status(&service, "PENDING", "Success").await;
    assert_eq!(references(&api.get("/v1/bookings?stuck=true").await.body), ["CONFIRMED"]);
    Scrape::until(&service, |scrape| scrape.get(STUCK, &live) == 1.0).await;
    until(&database, "select count(*) from open_bookings", json!({"count": 3})).await;
}

#[tokio::test]
async fn the_look_at_deadlines_survives_a_database_that_is_away_and_needs_no_token() {
    let mut server = Server::start(true).await;
    let command = Command::new(&["serve"]).envs(&settings(server.url()));
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    server.signal("QUIT");
    server.gone().await;
    let printed = service.process.printed();
    spawn_blocking(move || printed.line("\"task\":\"bookings\"")).await.unwrap();
    server.start_again().await;
    let pool = server.pool();
    let booking = "insert into bookings (provider, environment, booking_ref, expected_by) \
                   values ('booking_callback', 'live', 'B1', now())";
    pool.execute(booking).await.unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while sqlx::query("select from feed_notices").fetch_optional(&pool).await.unwrap().is_none() {
        assert!(Instant::now() < deadline, "nothing is noted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = service.stop().await;
    let failed =
        log.lines().filter(|line| line.contains("a task in the background failed") && line.contains("\"bookings\""));
    assert_eq!(failed.count(), 1, "once a minute: {log}");
}

#[tokio::test]
async fn a_database_that_was_filled_before_is_followed_from_its_first_event() {
    let database = Database::new().await;
    fill(&database, 3000).await;
    let service = Service::start(&database, &[]).await;
    let live = [("provider", "order_ticketed"), ("environment", "live")];
    Scrape::until(&service, |scrape| scrape.get(STUCK, &live) == 50.0).await;
    until(&database, "select count(*) from open_bookings", json!({"count": 150})).await;
}

/// Bookings of all providers, a day ago: each 20th pending, the others ticketed.
async fn fill(database: &Database, bookings: usize) {
    database
        .execute(&format!(
            "insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, airline_pnrs, \
                 passengers, ticket_numbers, warnings, payload, content_hash, received_at, last_received_at) \
             select gen_random_uuid(), \
                 (array['booking_callback', 'order_ticketed', 'ticket_status_update'])[n % 3 + 1], 'main', 'live', 'B' || n, \
                 1, case when n % 20 = 0 then 'pending' else 'ticketed' end, '{{}}', '[]', array['T' || n], '{{}}', '{{}}', \
                 sha256('x'), now() - interval '1 day', now() - interval '1 day' \
             from generate_series(1, {bookings}) as n"
        ))
        .await;
}

#[tokio::test]
async fn the_state_is_the_newest_revision_that_is_not_late_with_all_tickets_ever() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    deliver_status(&service, "B1", "Pending").await;
    deliver_status(&service, "B1", "Pending").await;
    deliver(&service, "B1", |delivery| {
        delivery["PNR"] = "NEWPNR".into();
        delivery["Passengers"] = json!([
            {"FirstName": "Arjun", "LastName": "Mehta", "TicketNumber": "098-1"},
            {"FirstName": "Asha", "LastName": "Mehta", "TicketNumber": "098-2"},
        ]);
    })
    .await;
    deliver(&service, "B1", |delivery| delivery["Status"] = "Failed".into()).await;
    // as if it had waited in a spool
    database.execute("update ticket_events set late = true where revision = 3").await;
    deliver(&service, "B1", |delivery| {
        delivery["PNR"] = "NEWPNR".into();
        delivery["Passengers"][0]["TicketNumber"] = "098-2".into();
    })
    .await;

    let booking = api.get(&path("B1")).await.body;
    let state = &booking["state"];
    assert_eq!((&state["status"], &state["revision"], &state["revisions"]), (&json!("ticketed"), &json!(4), &json!(4)));
    assert_eq!(state["ticket_numbers"], json!(["0982"]));
    assert_eq!(state["all_ticket_numbers"], json!(["0982412345678", "0981", "0982"]));
    assert_eq!(state["passengers"][0]["first_name"], "Arjun");
    let revisions = booking["revisions"].as_array().unwrap();
    assert_eq!(state["event_id"], revisions[3]["id"]);
    assert_eq!(state["first_received_at"], revisions[0]["received_at"]);
    assert_eq!(state["last_received_at"], revisions[3]["last_received_at"]);
    assert_eq!(revisions[0]["delivery_count"], 2);
    let lates: Vec<_> = revisions.iter().map(|revision| revision["late"] == true).collect();
    assert_eq!(lates, [false, false, true, false]);
    let changes: Vec<_> = revisions.iter().map(|revision| &revision["changes"]).collect();
    assert_eq!((changes[0], changes[2]), (&Value::Null, &Value::Null));
    let second = json!({
        "status": {"from": "pending", "to": "ticketed"},
        "pnr": {"from": "K4T9QZ", "to": "NEWPNR"},
        "ticket_numbers": {"added": ["0981", "0982"], "removed": ["0982412345678"]},
        "passengers": {"added": ["Asha Mehta"], "removed": []},
    });
    assert_eq!(changes[1], &second);
    // compared with the second, because the third was late
    let fourth = json!({
        "ticket_numbers": {"added": [], "removed": ["0981"]},
        "passengers": {"added": [], "removed": ["Asha Mehta"]},
    });
    assert_eq!(changes[3], &fourth);
}

#[tokio::test]
async fn the_list_goes_through_all_bookings_in_the_order_of_their_keys() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    fill(&database, 100).await;
    database
        .execute(
            "insert into bookings (provider, environment, booking_ref) \
             select 'order_ticketed', environment, 'B' || n from generate_series(90, 120) as n, \
             unnest('{test,live}'::text[]) as environment",
        )
        .await;
    for (query, source, count) in [
        ("", "booking_states", 158),
        ("&provider=order_ticketed", "booking_states where provider = 'order_ticketed'", 92),
        ("&environment=test", "booking_states where environment = 'test'", 31),
    ] {
        let (mut read, mut after) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("/v1/bookings?limit=7{query}{after}")).await.body;
            let bookings = page["bookings"].as_array().unwrap();
            let keys =
                bookings.iter().map(|one| format!("{} {} {}", one["provider"], one["environment"], one["booking_ref"]));
            read.extend(keys.map(|key| key.replace('"', "")));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(bookings.len(), 7);
            after = format!("&after={next}");
        }
        let keys = format!(
            "select provider || ' ' || environment || ' ' || booking_ref as key from {source} \
             order by provider, environment, booking_ref"
        );
        let stored: Vec<_> =
            database.rows(&keys).await.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect();
        assert_eq!((read.len(), read), (count, stored), "{query}");
    }
}

#[tokio::test]
async fn a_provider_that_rejects_unknown_bookings_accepts_those_that_were_announced() {
    let database = Database::new().await;
    let reject = [("TICKET_WEBHOOKS__PROVIDERS__BOOKING_CALLBACK__UNKNOWN_BOOKING", "reject")];
    let (service, api) = ApiClient::start(&database, &reject).await;
    let callbacks = provider("booking_callback");
    let body = (callbacks.delivery)("main", "B1").to_string();
    assert_eq!(service.post(callbacks, body.clone()).await.status, 404);
    api.put(&path("B1"), json!({"expected_by": "2099-01-01T00:00:00Z"})).await;
    assert_eq!(service.post(callbacks, body).await.status, 200);
    api.delete(&path("B1")).await;
    let mut more = (callbacks.delivery)("main", "B1");
    more["Remark"] = "another".into();
    assert_eq!(service.post(callbacks, more.to_string()).await.status, 404);
}

#[tokio::test]
async fn a_look_up_by_key_and_the_look_for_deadlines_use_an_index() {
    let database = Database::new().await;
    fill(&database, 100_000).await;
    database
        .execute(
            "insert into bookings (provider, environment, booking_ref, expected_by, is_settled) \
             select 'order_ticketed', 'live', 'B' || n, now() - n * interval '1 minute', n % 1000 <> 0 \
             from generate_series(90000, 110000) as n; \
             analyze",
        )
        .await;
    for query in [
        "select * from booking_states \
         where provider = 'order_ticketed' and environment = 'live' and booking_ref = 'B99999'",
        "select state.* from (values ('B99999'), ('B99996'), ('B0')) as mine (booking_ref) \
         join booking_states as state on provider = 'order_ticketed' and environment = 'live' \
         and state.booking_ref = mine.booking_ref",
        "select * from booking_states where (provider, environment, booking_ref) > ('order_ticketed', 'live', 'B5') \
         order by provider, environment, booking_ref limit 100",
        "select * from bookings where expected_by < now() and not is_settled and noted_expected_by is distinct from \
         expected_by order by expected_by limit 500",
        "select * from events_recorded_between(now() - interval '2 days', now() - interval '1 day', 1000)",
    ] {
        let explain = format!("explain (analyze, buffers, timing off, costs off) {query}");
        let lines: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(explain)).fetch_all(&database.pool).await.unwrap();
        let plan = lines.join("\n");
        assert!(!plan.contains("Seq Scan"), "{plan}");
        let buffers = lines.iter().find_map(|line| line.split_once("Buffers: shared ")).unwrap().1;
        let numbers = buffers.split([' ', '=']).filter_map(|word| word.parse::<u64>().ok());
        assert!(numbers.sum::<u64>() < 5000, "{plan}");
    }
}
