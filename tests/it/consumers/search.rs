//! Questions about events: each by an index, complete also while the search keys are behind.

/// Which indexes the questions use, at the size of years.
mod plans;
/// Any questions over any events, against the same in plain SQL.
mod random;

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use tokio::time::{Duration, Instant, sleep};

use crate::support::{ApiClient, Database, Service, provider};

/// While it exists, no replica adds search keys.
pub(super) struct IndexerHeldBack(Transaction<'static, Postgres>);

impl IndexerHeldBack {
    pub(super) async fn new(database: &Database) -> Self {
        let mut transaction = database.pool.begin().await.unwrap();
        let lock = "select pg_advisory_xact_lock(hashtext('ticket_webhooks_search'))";
        sqlx::query(lock).execute(&mut *transaction).await.unwrap();
        Self(transaction)
    }

    async fn end(self) {
        self.0.rollback().await.unwrap();
    }
}

/// Waits until every event is given out: transactions of other tests hold them back.
pub(super) async fn given_out(database: &Database) {
    let query = "select ticket_feed_last_cursor(ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot())) \
                 = ticket_feed_last_cursor(1000000, '0')";
    wait_for(database, query).await;
}

/// Waits until every event has its search keys.
pub(super) async fn indexed(database: &Database) {
    let query = "select position = ticket_feed_last_cursor(1000000, '0') from consumers where name = 'search'";
    wait_for(database, query).await;
}

async fn wait_for(database: &Database, query: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !sqlx::query_scalar::<_, bool>(query).fetch_one(&database.pool).await.unwrap() {
        assert!(Instant::now() < deadline, "not yet: {query}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The ids of all events that an answer has, over pages of `limit`.
pub(super) async fn all(api: &ApiClient, query: &str, limit: usize) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/events?{query}&limit={limit}{after}")).await;
        assert_eq!(page.status, 200, "{query}: {page:?}");
        let events = page.body["events"].as_array().unwrap();
        assert!(events.len() <= limit);
        ids.extend(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        let next = format!("&after={}", page.body["next"].as_str().unwrap());
        if page.body["more"] == json!(false) {
            return ids;
        }
        assert_ne!(next, after, "it goes on");
        after = next;
    }
}

/// The booking references of what is found.
async fn found(api: &ApiClient, query: &str) -> Vec<String> {
    let page = api.get(&format!("/v1/events?{query}")).await;
    assert_eq!(page.status, 200, "{query}: {page:?}");
    let events = page.body["events"].as_array().unwrap();
    let mut bookings: Vec<_> = events.iter().map(|event| event["booking_ref"].as_str().unwrap().to_owned()).collect();
    bookings.sort();
    bookings
}

/// Sends a delivery of `order_ticketed` with these passengers: name, ticket number, record locator.
async fn send_order(service: &Service, booking: &str, passengers: &[(&str, &str, &str)]) {
    let order = provider("order_ticketed");
    let mut body = (order.delivery)("main", booking);
    let passenger = body["data"]["paxTicketInfos"][0].clone();
    let passengers = passengers.iter().map(|(name, ticket, locator)| {
        let mut passenger = passenger.clone();
        passenger["name"] = json!(name);
        passenger["ticketNos"] = json!([ticket]);
        passenger["airlinePNRs"] = json!([locator]);
        passenger
    });
    body["data"]["paxTicketInfos"] = passengers.collect();
    assert_eq!(service.post(order, body.to_string()).await.status, 200);
}

async fn send_sample(service: &Service, provider_name: &str, booking: &str) {
    let provider = provider(provider_name);
    let body = (provider.delivery)("main", booking).to_string();
    assert_eq!(service.post(provider, body).await.status, 200);
}

/// Asks before there are search keys, and again when there are.
async fn expect(questions: &[(&str, &[&str])], send: impl AsyncFnOnce(&Service)) {
    let database = Database::new().await;
    let held_back = IndexerHeldBack::new(&database).await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    send(&service).await;
    given_out(&database).await;
    for (query, bookings) in questions {
        assert_eq!(found(&api, query).await, *bookings, "{query}, without search keys");
    }
    assert_eq!(database.rows("select * from search_keys").await, Vec::<Value>::new());
    held_back.end().await;
    indexed(&database).await;
    for (query, bookings) in questions {
        assert_eq!(found(&api, query).await, *bookings, "{query}, with search keys");
    }
}

#[tokio::test]
async fn each_question_finds_what_it_names_with_and_without_search_keys() {
    let questions: &[(&str, &[&str])] = &[
        ("booking_ref=T-1", &["T-1"]),
        ("booking_ref=t-1", &[]),
        ("provider=booking_callback", &["C-1"]),
        ("environment=test", &[]),
        ("environment=live", &["C-1", "O-1", "T-1"]),
        ("status=ticketed&provider=order_ticketed", &["O-1"]),
        ("status=failed", &[]),
        // of the booking, of the distribution system, of an airline, of a passenger; and the booking number
        ("pnr=k4t9qz", &["C-1"]),
        ("pnr=7HX2LM", &["C-1"]),
        ("pnr=%20xyz789%20", &["T-1"]),
        ("pnr=S30814", &["O-1"]),
        ("pnr=nz-2026-0001", &["T-1"]),
        ("pnr=K4T9Q", &[]),
        ("ticket=0982412345678", &["C-1"]),
        ("name=arjun", &["C-1"]),
        ("name=mehta&status=ticketed&environment=live", &["C-1"]),
        ("name=mehta&status=failed", &[]),
        ("name=mehta&pnr=K4T9QZ&ticket=098-2412345678&booking_ref=C-1", &["C-1"]),
        ("name=mehta&pnr=ABC123", &[]),
        ("pnr=ABC123&booking_ref=C-1", &[]),
        ("received_from=2020-01-01T00:00:00Z", &["C-1", "O-1", "T-1"]),
        ("received_to=2020-01-01T00:00:00Z", &[]),
        ("received_from=2020-01-01T00:00:00%2B05:00&received_to=9999-12-31T00:00:00Z&name=smith", &["T-1"]),
    ];
    expect(questions, async |service| {
        send_sample(service, "ticket_status_update", "T-1").await;
        send_sample(service, "booking_callback", "C-1").await;
        send_sample(service, "order_ticketed", "O-1").await;
    })
    .await;
}

#[tokio::test]
async fn a_name_is_found_in_any_order_case_and_script_and_without_its_accents() {
    let questions: &[(&str, &[&str])] = &[
        ("name=SMITH/JOHN", &["N-1"]),
        ("name=john%20smith", &["N-1"]),
        ("name=Smith", &["N-1", "N-2"]),
        ("name=smith%20jos%C3%A9", &["N-2"]),
        ("name=JOSE", &["N-2"]),
        ("name=munoz", &["N-2"]),
        ("name=mun%CC%83oz", &["N-2"]),
        ("name=Smi", &[]),
        ("name=o%27brien", &["N-3"]),
        ("name=BRIEN", &["N-3"]),
        ("name=%D0%BF%D0%B5%D1%82%D1%80%D0%BE%D0%B2", &["N-4"]),
        ("name=%D0%98%D0%B2%D0%B0%D0%BD%20%D0%9F%D0%95%D0%A2%D0%A0%D0%9E%D0%92", &["N-4"]),
        ("name=%E5%BC%A0", &["N-5"]),
        ("name=%D8%A3%D8%AD%D9%85%D8%AF", &["N-6"]),
        // fullwidth letters
        ("name=%EF%BC%AA%EF%BC%AF%EF%BC%A8%EF%BC%AE", &["N-1"]),
        // letters without an accent to remove
        ("name=WEISS%2FLUKASZ", &["N-7"]),
        ("name=wei%C3%9F", &["N-7"]),
        ("name=WEI%E1%BA%9E", &["N-7"]),
        ("name=isik%20IBRAHIM", &["N-8"]),
        ("name=%C4%B1%C5%9F%C4%B1k", &["N-8"]),
        ("name=SOREN%20aero", &["N-9"]),
    ];
    expect(questions, async |service| {
        for (booking, name) in [
            ("N-1", "Smith/John"),
            ("N-2", "Muñoz Smith/José"),
            ("N-3", "O'Brien/Ann-Marie"),
            ("N-4", "Петров/Иван"),
            ("N-5", "张/三"),
            ("N-6", "أَحْمَد/"),
            ("N-7", "Weiß/Łukasz"),
            ("N-8", "Işık/İbrahim"),
            ("N-9", "Ærø/Søren"),
        ] {
            send_order(service, booking, &[(name, "781-2400000001", "S30814")]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_found_in_every_spelling() {
    let questions: &[(&str, &[&str])] = &[
        ("ticket=157-1234567890", &["K-1", "K-2"]),
        ("ticket=1571234567890", &["K-1", "K-2"]),
        ("ticket=157%201234567890", &["K-1", "K-2"]),
        ("ticket=157%E2%80%911234%E2%80%93567890", &["K-1", "K-2"]),
        ("ticket=1571234567890,", &["K-1", "K-2"]),
        ("ticket=etkt%209876543210", &["K-3"]),
        ("ticket=098-2412345679", &["K-4"]),
        ("ticket=098-2412345678-79", &["K-4"]),
        ("ticket=9876543210", &[]),
    ];
    expect(questions, async |service| {
        for (booking, ticket) in [
            ("K-1", "157-1234567890"),
            ("K-2", "157 1234567890"),
            ("K-3", "ETKT9876543210"),
            ("K-4", "098-2412345678/79"),
        ] {
            send_order(service, booking, &[("Smith/John", ticket, "S30814")]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    let long = "x".repeat(201);
    for query in [
        "pnr=%00",
        "ticket=1%00",
        "name=a%00",
        "booking_ref=%00",
        "provider=%00",
        "pnr=",
        "ticket=",
        "ticket=--",
        "name=",
        "name=%2F-",
        "received_from=yesterday",
        "received_to=2026-11-26",
        "received_from=99999-01-01T00:00:00Z",
        &format!("pnr={long}"),
        &format!("ticket={long}"),
        &format!("name={long}"),
        &format!("provider={long}"),
    ] {
        let answer = api.get(&format!("/v1/events?{query}")).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &"invalid_parameter".into()), "{query}");
    }
    for query in ["received_from=0000-01-01T00:00:00Z", "received_to=9999-12-31T23:59:59Z", "name=%F0%9F%98%80a"] {
        let status = api.get(&format!("/v1/events?{query}")).await.status;
        assert!(status == 200 || status == 400, "{query}: {status}");
    }
    // the stream follows everything of a provider, an environment, a status or a booking
    assert_eq!(api.get("/v1/events/stream?pnr=ABC123").await.status, 400);
}

#[tokio::test]
async fn an_event_is_found_by_its_id_with_its_payload() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    send_sample(&service, "ticket_status_update", "T-1").await;
    let id = database.events().await[0]["id"].as_str().unwrap().to_owned();
    let event = api.get(&format!("/v1/events/{id}")).await;
    assert_eq!((event.status, &event.body["booking_ref"]), (200, &json!("T-1")));
    assert_eq!(event.body["payload"]["BookingTransactionRef"], "T-1");
    assert_eq!(api.get("/v1/events/00000000-0000-7000-8000-000000000000").await.status, 404);
    assert_eq!(api.get("/v1/events/nonsense").await.status, 400);
}

#[tokio::test]
async fn notices_are_among_the_events_of_a_booking_and_of_a_status() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    send_sample(&service, "ticket_status_update", "T-1").await;
    send_sample(&service, "booking_callback", "C-1").await;
    database
        .execute(
            "insert into feed_notices (type, provider, environment, booking_ref, event_id, expected_by, status) values \
             ('erased', 'ticket_status_update', 'live', 'T-1', gen_random_uuid(), null, null), \
             ('overdue', 'ticket_status_update', 'live', 'T-1', null, now(), 'pending')",
        )
        .await;
    indexed(&database).await;
    for (query, items) in [
        ("booking_ref=T-1", 3),
        ("provider=ticket_status_update", 3),
        ("status=pending", 2),
        ("status=ticketed", 3),
        ("environment=test", 0),
        ("booking_ref=T-1&pnr=ABC123", 1),
        ("pnr=ABC123", 1),
    ] {
        for limit in [1, 2, 100] {
            assert_eq!(all(&api, query, limit).await.len(), items, "{query}, {limit}");
        }
    }
}

#[tokio::test]
async fn replicas_that_fill_the_keys_at_once_and_are_killed_leave_none_out() {
    let database = Database::new().await;
    let mut replicas = Vec::new();
    for round in 0..4 {
        replicas.push(Service::start(&database, &[]).await);
        database.execute(&random::insert(round)).await;
        if round == 2 {
            // in the midst of it
            replicas.remove(0).process.signal("KILL");
        }
    }
    indexed(&database).await;
    let differences = "select * from ( \
         (select kind, key, generation, recorded_xid, sequence from search_keys \
          except select keys.kind, keys.key, generation, recorded_xid, sequence \
          from ticket_events as event, ticket_event_keys(event) as keys) \
         union all \
         (select keys.kind, keys.key, generation, recorded_xid, sequence \
          from ticket_events as event, ticket_event_keys(event) as keys \
          except select kind, key, generation, recorded_xid, sequence from search_keys)) as differences";
    assert_eq!(database.rows(differences).await, Vec::<Value>::new());
    let count: i64 = sqlx::query_scalar("select count(*) from search_keys").fetch_one(&database.pool).await.unwrap();
    assert!(count > 10_000, "{count}");
}

#[tokio::test]
async fn an_event_is_found_by_its_keys_within_seconds() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    send_sample(&service, "ticket_status_update", "T-1").await;
    let sent = Instant::now();
    indexed(&database).await;
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
}
