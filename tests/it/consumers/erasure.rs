//! Erasing personal data: what a dump of the database still holds, what consumers see of it, and who may do what meanwhile.

mod documents;
mod retention;

use std::{process, time::Duration};

use serde_json::{Value, json};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::support::{ApiClient, Command, Database, PROVIDERS, Provider, Service, provider, settings};

/// The texts that only the person of these tests has.
const PERSON: [&str; 6] = ["quuxley", "zebediah", "k99x4410", "19610417", "1961-04-17", "wheelchair"];

/// All tables of a database, as `pg_dump` writes them.
pub(super) async fn dump(url: &str) -> String {
    dump_with(url, &[]).await
}

async fn dump_with(url: &str, options: &'static [&'static str]) -> String {
    let program = ticket_webhooks::embedded_postgres::Programs::find().unwrap().directory().join("pg_dump");
    let url = url.to_owned();
    let output =
        spawn_blocking(move || process::Command::new(program).args(options).arg(url).output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dump = String::from_utf8(output.stdout).unwrap();
    // a key that is made anew for each dump
    dump.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

/// The texts that stand in a dump, in any case, also in bytes.
pub(super) fn found<'a>(dump: &str, texts: &[&'a str]) -> Vec<&'a str> {
    let dump = dump.to_lowercase();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let stands = |text: &str| {
        dump.contains(text) || dump.contains(&hex(text)) || dump.contains(&hex(&text.to_uppercase())) || {
            let capitalized = text[..1].to_uppercase() + &text[1..];
            dump.contains(&hex(&capitalized))
        }
    };
    texts.iter().copied().filter(|text| stands(text)).collect()
}

/// A delivery about the person, and about a bystander.
fn delivery(provider: &Provider, booking: &str) -> Value {
    let mut body = (provider.delivery)("main", booking);
    let (passengers, person, bystander) = match provider.name {
        "ticket_status_update" => (
            "/TicketInfoes",
            json!({
                "PassengerInfo": {
                    "NameElement": {"FirstName": "Zebediah", "LastName": "Quuxley", "DocumentNumber": "k99-X4410"}
                },
                "TicketNumbers": ["157-1111111111"], "Note": "wheelchair"
            }),
            json!({
                "PassengerInfo": {
                    "NameElement": {"FirstName": "Ophelia", "LastName": "Bystander", "DocumentNumber": "B7"}
                },
                "TicketNumbers": ["157-1111111112"]
            }),
        ),
        "booking_callback" => {
            body["Remark"] = json!("Mr Quuxley needs a wheelchair");
            (
                "/Passengers",
                json!({"Title": "Mr", "FirstName": "Zebediah", "LastName": "Quuxley", "TicketNumber": "098-1"}),
                json!({"Title": "Ms", "FirstName": "Ophelia", "LastName": "Bystander", "TicketNumber": "098-2"}),
            )
        }
        _ => {
            let passenger = body["data"]["paxTicketInfos"][0].clone();
            let with = |name: &str, birthday: &str, document: &str, ancillary: &str| {
                let mut passenger = passenger.clone();
                passenger["name"] = json!(name);
                passenger["birthday"] = json!(birthday);
                passenger["cardNum"] = json!(document);
                passenger["ancillaries"] = json!([{"type": ancillary}]);
                passenger
            };
            (
                "/data/paxTicketInfos",
                with("QUUXLEY/Zebediah Ernest", "19610417", "K99X4410", "wheelchair"),
                with("BYSTANDER/Ophelia", "19900101", "B7", "meal"),
            )
        }
    };
    *body.pointer_mut(passengers).unwrap() = json!([person, bystander]);
    body
}

/// Bodies that cannot be processed, in every encoding.
fn unprocessable(provider: &Provider, booking: &str) -> Vec<Vec<u8>> {
    let text = format!("{},,", delivery(provider, booking));
    let (first, rest) = booking.split_at(1);
    let escaped_booking = format!("\\u{:04x}{rest}", u32::from(first.as_bytes()[0]));
    let escaped =
        text.replace("Zebediah", r"\u005aebediah").replace("99", r"\u00399").replace(booking, &escaped_booking);
    let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let mut windows_1252 = text.clone().into_bytes();
    windows_1252.extend(b"\"M\xfcller\"");
    vec![text.into_bytes(), escaped.into_bytes(), utf_16, windows_1252]
}

/// What the indexer of search keys does.
pub(super) async fn index(database: &Database) {
    let mut transaction = database.pool.begin().await.unwrap();
    for statement in [
        "select pg_advisory_xact_lock(hashtext('ticket_webhooks_search'))",
        "insert into search_keys (kind, key, generation, recorded_xid, sequence, received_at) \
         select kind, key, generation, recorded_xid, sequence, received_at \
         from ticket_events as event cross join lateral ticket_event_keys(event) on conflict do nothing",
        "update consumers set position = ticket_feed_last_cursor(ticket_feed_generation(), \
         pg_snapshot_xmin(pg_current_snapshot())) where name = 'search'",
    ] {
        sqlx::query(statement).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// Runs the command; what it says.
pub(super) async fn erase(url: &str, arguments: &[&str]) -> String {
    let command = Command::new(&[&["erase"], arguments].concat()).envs(&settings(url));
    let (code, output, errors) = spawn_blocking(move || command.run()).await.unwrap();
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    output.trim_end().to_owned()
}

/// Events of the feed, and those that were erased, in its order; once it has so many of the latter. Other tests hold it back.
async fn feed(api: &ApiClient, count: usize) -> (Vec<Value>, Vec<String>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let page = api.get("/v1/events?limit=1000&include=payload").await.body;
        let events = page["events"].as_array().unwrap();
        let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).cloned().collect::<Vec<_>>();
        let erased = of("erased");
        if erased.len() >= count {
            let ids = erased.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
            return (of("revision"), ids);
        }
        assert!(Instant::now() < deadline, "{events:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What stays of events and unprocessed deliveries.
async fn kept(database: &Database) -> Vec<Value> {
    let events = "select id, provider, environment, booking_ref, revision, status, pnr, airline_pnrs, ticket_numbers, \
                  encode(content_hash, 'hex') as hash, received_at, recorded_at, generation, sequence, recorded_xid, warnings \
                  from ticket_events order by sequence";
    let unprocessed = "select id, reason, detail, encode(body_hash, 'hex') as hash, delivery_count \
                       from unprocessed_deliveries order by id";
    [database.rows(events).await, database.rows(unprocessed).await].concat()
}

/// Two bookings of the person with each provider, indexed in part, and unprocessable bodies about one of them.
async fn deliver(database: &Database, service: &Service, providers: &[&Provider]) {
    for (booking, is_indexed) in [("REF-ONE", true), ("REF-TWO", false)] {
        for provider in providers {
            let body = delivery(provider, booking).to_string();
            assert_eq!(service.post(provider, body).await.status, 200);
            if is_indexed {
                index(database).await;
            }
        }
    }
    let update = provider("ticket_status_update");
    for body in unprocessable(update, "REF-ONE") {
        assert_eq!(service.post(update, body).await.status, 422);
    }
}

#[tokio::test]
async fn after_an_erasure_a_dump_holds_nothing_of_the_person_and_the_feed_says_so_once() {
    let all: Vec<_> = PROVIDERS.iter().collect();
    let with_document: Vec<_> = all.iter().copied().filter(|provider| provider.name != "booking_callback").collect();
    for (ways, providers, events) in [
        (&[["--booking", "REF-ONE"], ["--booking", "REF-TWO"]][..], &all, 3),
        (&[["--name", "Quuxley/Zebediah"]], &all, 6),
        (&[["--name", "zébediah quuxley"]], &all, 6),
        (&[["--document", "K99 X44-10"]], &with_document, 4),
    ] {
        let database = Database::new().await;
        let (service, api) = ApiClient::start(&database, &[]).await;
        deliver(&database, &service, providers).await;
        let before = dump(&database.url()).await;
        // what the indexer does not write
        let without_keys = async || dump_with(&database.url(), &["-T", "search_keys", "-T", "consumers"]).await;
        let before_erasure = without_keys().await;
        assert!(found(&before, &PERSON).len() >= 5, "{:?}", found(&before, &PERSON));
        let kept_before = kept(&database).await;

        for way in ways {
            let counts = format!("{events} events and {} unprocessed deliveries", if *way == ways[0] { 4 } else { 0 });
            let dry_run = erase(&database.url(), &[&way[..], &["--dry-run"]].concat()).await;
            assert_eq!(dry_run, format!("{counts} to erase; nothing was written (--dry-run)"), "{way:?}");
            if *way == ways[0] {
                assert!(without_keys().await == before_erasure, "a dry run changes nothing");
            }
            assert_eq!(erase(&database.url(), way).await, format!("{counts} erased"), "{way:?}");
            assert_eq!(erase(&database.url(), way).await, "0 events and 0 unprocessed deliveries erased", "{way:?}");
        }

        index(&database).await;
        let after = dump(&database.url()).await;
        assert_eq!(found(&after, &PERSON), Vec::<&str>::new(), "{ways:?}");
        assert_eq!(kept(&database).await, kept_before);
        // the bystander is there unless the whole booking is erased
        let bystanders = found(&after, &["bystander", "ophelia"]).len();
        assert_eq!(bystanders, if ways[0][0] == "--booking" { 0 } else { 2 });
        let keys = "select count(*) as names from search_keys where kind = 'name' and key = 'bystander'";
        let names = if ways[0][0] == "--booking" { 0 } else { 2 * providers.len() };
        assert_eq!(database.rows(keys).await, [json!({"names": names})]);
        let (revisions, erased) = feed(&api, 2 * providers.len()).await;
        let ids: Vec<_> = revisions.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(erased, ids, "one item for each, in the order of the feed");
        assert!(revisions.iter().all(|event| event["payload"].is_null() && event["remark"].is_null()));

        // a redelivery is a duplicate, and brings nothing back
        deliver(&database, &service, providers).await;
        assert_eq!(found(&dump(&database.url()).await, &PERSON), Vec::<&str>::new());
        let counts = "select distinct delivery_count from ticket_events union \
                      select distinct delivery_count from unprocessed_deliveries";
        assert_eq!(database.rows(counts).await, [json!({"delivery_count": 2})]);
        assert_eq!(feed(&api, erased.len()).await.1, erased);
        assert_eq!(found(&service.stop().await.to_lowercase(), &PERSON), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn a_booking_is_narrowed_by_provider_and_environment() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        for account in ["main", "other"] {
            let mut request = service.request("POST", provider.path);
            if let Some(authorization) = (provider.authorization)(account) {
                request = request.header("authorization", authorization);
            }
            let body = (provider.delivery)(account, "B-1").to_string();
            assert_eq!(request.body(body).send().await.unwrap().status(), 200);
        }
    }
    for (narrowed, erased) in [
        (&["--provider", "order_ticketed", "--environment", "test"][..], 1),
        (&["--provider", "order_ticketed"], 1),
        (&["--environment", "test"], 2),
        (&[], 2),
    ] {
        let output = erase(&database.url(), &[&["--booking", "B-1"], narrowed].concat()).await;
        assert_eq!(output, format!("{erased} events and 0 unprocessed deliveries erased"), "{narrowed:?}");
    }
}

#[tokio::test]
async fn a_person_is_erased_from_an_event_and_the_others_later() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let update = provider("ticket_status_update");
    service.post(update, delivery(update, "B-1").to_string()).await;
    index(&database).await;
    for (way, left) in [(["--name", "Zebediah"], 1), (["--document", "b7"], 0), (["--booking", "B-1"], 0)] {
        let erased = erase(&database.url(), &way).await;
        assert_eq!(erased.starts_with("1 events"), way[0] != "--booking", "{erased}");
        let named = "select count(*) from ticket_events cross join jsonb_array_elements(passengers) as passenger \
                     where passenger ? 'last_name'";
        assert_eq!(database.rows(named).await, [json!({"count": left})]);
    }
    assert_eq!(feed(&api, 2).await.1.len(), 2);
    let passengers = &database.events().await[0]["passengers"];
    assert_eq!(
        passengers,
        &json!([
            {"tickets": [{"raw": "157-1111111111", "number": "1571111111111"}]},
            {"tickets": [{"raw": "157-1111111112", "number": "1571111111112"}]}
        ])
    );
}

#[tokio::test]
async fn the_admin_api_erases_and_lists_what_was_erased_without_names() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    deliver(&database, &service, &PROVIDERS.iter().collect::<Vec<_>>()).await;
    for body in [
        json!({}),
        json!({"name": "a", "document": "b"}),
        json!({"name": "a", "provider": "order_ticketed"}),
        json!({"name": ""}),
        json!({"name": "\u{0}"}),
        json!({"name": "/-."}),
        json!({"name": "x".repeat(201)}),
        json!({"document": "--"}),
        json!({"booking_ref": "x".repeat(256)}),
        json!({"booking_ref": "x", "provider": "nobody"}),
        json!({"booking_ref": "x", "environment": "nowhere"}),
        json!({"older_than_days": 0}),
        json!({"older_than_days": 36_501}),
        json!({"older_than_days": -1}),
        json!({"nothing": 1}),
        json!([]),
    ] {
        let answer = api.post("/v1/erasures", body.clone()).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!("invalid_body")), "{body}");
    }
    assert_eq!(api.get("/v1/erasures").await.body, json!({"erasures": [], "more": false}));

    let (name, booking) = (json!({"name": "Quuxley"}), json!({"booking_ref": "REF-TWO", "environment": "live"}));
    let mut dry_run = name.clone();
    dry_run["dry_run"] = json!(true);
    let expected = json!({"id": null, "events": 6, "unprocessed_deliveries": 4, "finished": true, "dry_run": true});
    assert_eq!(api.post("/v1/erasures", dry_run).await.body, expected);
    let erased = api.post("/v1/erasures", name).await.body;
    assert_eq!((&erased["events"], &erased["finished"]), (&json!(6), &json!(true)));
    let of_booking = api.post("/v1/erasures", booking).await.body;
    assert_eq!(of_booking["events"], 3, "the bystander");

    let listed = api.get("/v1/erasures?limit=1").await.body;
    let newest = &listed["erasures"][0];
    assert_eq!((&listed["more"], &newest["id"]), (&json!(true), &of_booking["id"]));
    assert_eq!((&newest["subject"], &newest["booking_ref"]), (&json!("booking"), &json!("REF-TWO")));
    assert_eq!((&newest["requested_by"], &newest["environment"]), (&json!("api"), &json!("live")));
    assert!(newest["finished_at"].is_string());
    let before = format!("/v1/erasures?before={}", newest["id"].as_str().unwrap());
    let listed = api.get(&before).await.body;
    assert_eq!(listed["erasures"].as_array().unwrap().len(), 1);
    assert_eq!((&listed["erasures"][0]["id"], &listed["erasures"][0]["events"]), (&erased["id"], &json!(6)));
    assert_eq!(found(&dump(&database.url()).await, &PERSON), Vec::<&str>::new());
    for query in ["limit=0", "limit=1001", "before=x", "other=1"] {
        assert_eq!(api.get(&format!("/v1/erasures?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn deliveries_and_the_indexer_go_on_while_a_booking_is_erased() {
    const BOOKINGS: usize = 150;
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("order_ticketed");
    let send = async |booking: usize| {
        let body = delivery(provider, &format!("B-{booking}")).to_string();
        assert_eq!(service.post(provider, body).await.status, 200);
    };
    for booking in 0..BOOKINGS {
        send(booking).await;
    }
    let url = database.url();
    let erasing = async {
        let mut erased = 0;
        for _ in 0..3 {
            let output = erase(&url, &["--name", "Quuxley"]).await;
            erased += output.split(' ').next().unwrap().parse::<usize>().unwrap();
        }
        erased
    };
    let redeliver = async || {
        for booking in 0..BOOKINGS {
            send(booking).await;
        }
    };
    let redelivering = async { tokio::join!(redeliver(), redeliver(), redeliver(), redeliver()) };
    let indexing = async {
        for _ in 0..10 {
            index(&database).await;
            tokio::task::yield_now().await;
        }
    };
    let (erased, _, ()) = tokio::join!(erasing, redelivering, indexing);
    assert_eq!(erased, BOOKINGS, "each once");
    index(&database).await;
    assert_eq!(found(&dump(&url).await, &PERSON), Vec::<&str>::new());
    let counts = "select count(*), sum(delivery_count) as deliveries, \
                  (select count(distinct event_id) from feed_notices) as erased, \
                  (select count(*) from feed_notices) as notices from ticket_events";
    let expected = json!({"count": BOOKINGS, "deliveries": BOOKINGS * 5, "erased": BOOKINGS, "notices": BOOKINGS});
    assert_eq!(database.rows(counts).await, [expected]);
    let log = service.stop().await;
    assert!(!log.contains("deadlock"), "{log}");
}

#[tokio::test]
async fn an_event_that_another_transaction_holds_is_waited_for() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("order_ticketed");
    for booking in ["B-1", "B-2"] {
        service.post(provider, delivery(provider, booking).to_string()).await;
    }
    let mut holder = database.pool.begin().await.unwrap();
    let hold = "update ticket_events set delivery_count = delivery_count + 1 where booking_ref = 'B-1'";
    sqlx::query(hold).execute(&mut *holder).await.unwrap();
    let url = database.url();
    let erasing = tokio::spawn(async move { erase(&url, &["--document", "k99x4410"]).await });
    // the other one is not held back
    let deadline = Instant::now() + Duration::from_secs(10);
    while database.rows("select * from feed_notices").await.len() != 1 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    holder.commit().await.unwrap();
    assert_eq!(erasing.await.unwrap(), "2 events and 0 unprocessed deliveries erased");
    assert_eq!(found(&dump(&database.url()).await, &PERSON), Vec::<&str>::new());
}

#[tokio::test]
async fn the_command_wants_exactly_one_subject() {
    let outputs = spawn_blocking(|| {
        let run = |arguments: &[&str]| Command::new(&[&["erase"], arguments].concat()).run();
        [
            run(&[]),
            run(&["--name", "a", "--document", "b"]),
            run(&["--name", "a", "--provider", "order_ticketed"]),
            run(&["--document", "a", "--environment", "test"]),
            run(&["--older-than", "1", "--provider", "order_ticketed"]),
            run(&["--older-than", "x"]),
            run(&["--booking", "a", "--environment", "nowhere"]),
        ]
    });
    for (code, output, errors) in outputs.await.unwrap() {
        assert_eq!((code, output.as_str()), (2, ""), "{errors}");
        assert!(errors.contains("--help"), "it is about the arguments: {errors}");
    }
}

/// The statements of docs/privacy.md, for a role of this test.
fn grants(role: &str) -> Vec<String> {
    let page = include_str!("../../../docs/privacy.md");
    let block = page.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let block = block.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join(" ");
    let statements = block.split(';').map(|statement| statement.trim().replace("ticket_eraser", role));
    statements.filter(|statement| !statement.is_empty()).collect()
}

#[tokio::test]
async fn a_role_with_the_rights_of_the_page_can_erase_and_needs_each_of_them() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let role = format!("eraser_{}", uuid::Uuid::now_v7().simple());
    database.execute(&format!("create role {role} login")).await;
    let url = database.url().replace("user=ticket_webhooks", &format!("user={role}"));
    assert!(url.contains(&role));
    let deliver_and_erase = async || {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let update = provider("ticket_status_update");
        service.post(update, delivery(update, &id).to_string()).await;
        service.post(update, format!("{},,", delivery(update, &id))).await;
        index(&database).await;
        let command = Command::new(&["erase", "--name", "Zebediah"]).envs(&settings(&url));
        let (code, output, errors) = spawn_blocking(move || command.run()).await.unwrap();
        assert_eq!(code == 0, output.contains("1 unprocessed deliveries erased"), "{output} {errors}");
        // for the next one
        erase(&database.url(), &["--name", "Zebediah"]).await;
        errors
    };
    for grant in grants(&role) {
        database.execute(&grant).await;
    }
    assert_eq!(deliver_and_erase().await, "");
    // one that only retention needs, and reading what may be read together
    for grant in
        grants(&role).iter().filter(|grant| !grant.contains(" on consumers ") && !grant.contains("grant select"))
    {
        database.execute(&grant.replace("grant ", "revoke ").replace(" to ", " from ")).await;
        let errors = deliver_and_erase().await;
        assert!(errors.contains("permission denied"), "it works without: {grant} {errors}");
        database.execute(grant).await;
    }
    for statement in ["drop owned by", "drop role"] {
        database.execute(&format!("{statement} {role}")).await;
    }
}
