//! Second chances: what could not be processed becomes an event as if it had arrived then, once, however often it is tried.

mod at_once;
mod bodies;
mod over_http;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, PROVIDERS, Service, provider, settings};

/// An unprocessed delivery in the table.
struct Kept<'a> {
    provider: &'a str,
    reason: &'a str,
    body: Vec<u8>,
    count: i32,
}

impl<'a> Kept<'a> {
    fn new(provider: &'a str, reason: &'a str, body: impl Into<Vec<u8>>) -> Self {
        Self { provider, reason, body: body.into(), count: 1 }
    }

    /// Stores it; it was received first in the second `second` of the day, and last half a second later.
    async fn store(&self, database: &Database, second: u32) -> String {
        let id = id(second);
        let query = "insert into unprocessed_deliveries (id, provider, account, environment, reason, detail, body, body_hash, \
                     received_at, last_received_at, delivery_count) \
                     values ($1::uuid, $2, 'gone', 'live', $3, 'of another day', $4, sha256($4), \
                     timestamptz '2026-05-01T00:00:00Z' + $5 * interval '1 second', \
                     timestamptz '2026-05-01T00:00:00.5Z' + $5 * interval '1 second', $6)";
        let query = sqlx::query(query).bind(&id).bind(self.provider).bind(self.reason).bind(&self.body);
        query.bind(f64::from(second)).bind(self.count).execute(&database.pool).await.unwrap();
        id
    }
}

/// In the order of the numbers.
fn id(number: u32) -> String {
    format!("0196889d-0000-7000-8000-{number:012}")
}

/// The sample delivery as it is stored: without the credentials.
fn payload(provider: &str, booking: &str) -> Value {
    let mut body = (crate::support::provider(provider).delivery)("main", booking);
    for member in ["ClientId", "UserName", "Password", "cid"] {
        body.as_object_mut().unwrap().remove(member);
    }
    body
}

/// Of `booking_callback`.
fn says(status: &str, booking: &str, remark: &str) -> String {
    let mut body = payload("booking_callback", booking);
    body["Status"] = json!(status);
    body["Remark"] = json!(remark);
    body.to_string()
}

/// Exit code and output of `reprocess`.
async fn reprocess(database: &Database, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let command = Command::new(&[&["reprocess"], arguments].concat()).envs(&settings(&database.url()));
    let command = variables.iter().fold(command, |command, (name, value)| command.env(name, value));
    let (code, output, errors) = spawn_blocking(move || command.run()).await.unwrap();
    assert!(code == 0 || errors.contains("error") || output.contains("no such"), "{output}{errors}");
    (code, output + &errors)
}

/// Runs it with success, and expects this summary.
async fn reprocess_all(database: &Database, summary: &str) {
    let (code, output) = reprocess(database, &[], &[]).await;
    assert_eq!((code, output.lines().rfind(|line| line.contains(" deliveries: ")).unwrap()), (0, summary), "{output}");
}

fn summary(recorded: u32, duplicates: u32, unprocessed: u32) -> String {
    let deliveries = recorded + duplicates + unprocessed;
    format!(
        "{deliveries} deliveries: {recorded} recorded, {duplicates} duplicates, {unprocessed} still unprocessed, 0 \
         reprocessed before, 0 not found"
    )
}

/// What was recorded, in the order of the revisions.
async fn events(database: &Database) -> Vec<Value> {
    let query = "select id, booking_ref, revision, late, status, previous_status, delivery_count, received_at, \
                 last_received_at, account from ticket_events order by booking_ref, revision";
    database.rows(query).await
}

/// The unprocessed deliveries and what they became.
async fn rows(database: &Database) -> Vec<Value> {
    database.rows("select id, reason, detail, event_id, reprocessed_at is not null as done from unprocessed_deliveries order by id").await
}

#[tokio::test]
async fn a_delivery_with_any_reason_becomes_an_event_with_its_own_id_and_time() {
    let database = Database::new().await;
    let reasons = ["malformed", "invalid", "no_ticket", "unknown_booking", "unsupported_type", "refused"];
    for (number, reason) in (1..).zip(reasons) {
        let provider = &PROVIDERS[number as usize % 3];
        let kept = Kept::new(provider.name, reason, payload(provider.name, &format!("B{number}")).to_string());
        Kept { count: number as i32, ..kept }.store(&database, number).await;
    }
    reprocess_all(&database, &summary(6, 0, 0)).await;
    let expected: Vec<_> = (1..=6)
        .map(|number| {
            json!({
                "id": id(number), "booking_ref": format!("B{number}"), "revision": 1, "late": false, "status": "ticketed",
                "previous_status": null, "delivery_count": number, "account": "gone",
                "received_at": format!("2026-05-01T00:00:0{number}+00:00"),
                "last_received_at": format!("2026-05-01T00:00:0{number}.5+00:00"),
            })
        })
        .collect();
    assert_eq!(events(&database).await, expected);
    for (row, number) in rows(&database).await.iter().zip(1..) {
        assert_eq!((&row["event_id"], &row["done"]), (&json!(id(number)), &json!(true)), "{row}");
    }
    // again: nothing is left to do, and nothing changes
    let before = database.dump().await;
    reprocess_all(&database, &summary(0, 0, 0)).await;
    let (code, output) = reprocess(&database, &["--id", &id(1), "--id", &id(2)], &[]).await;
    assert!(code == 0 && output.contains("2 reprocessed before"), "{output}");
    let (code, output) = reprocess(&database, &["--id", &id(99)], &[]).await;
    assert!(code == 1 && output.contains("1 not found"), "{output}");
    assert_eq!(database.dump().await, before);
}

#[tokio::test]
async fn what_still_cannot_be_processed_stays_one_row_with_the_reason_of_today() {
    let database = Database::new().await;
    let mut void = payload("order_ticketed", "B1");
    void["type"] = json!("order.void");
    let mut ticketless = payload("ticket_status_update", "B2");
    ticketless["TicketInfoes"][0]["TicketNumbers"] = json!([]);
    for (second, (provider, body)) in (1..).zip([
        ("order_ticketed", void.to_string()),
        ("ticket_status_update", ticketless.to_string()),
        ("booking_callback", "{\"BookingId\": ".to_owned()),
        ("booking_callback", "{}".to_owned()),
        ("unknown", "a record of a spool".to_owned()),
    ]) {
        Kept::new(provider, "refused", body).store(&database, second).await;
    }
    // the same body is there with the reason of today already
    Kept::new("booking_callback", "invalid", "{}").store(&database, 6).await;
    let bodies = "select id, body, received_at, delivery_count from unprocessed_deliveries order by id";
    let before = database.rows(bodies).await;
    for _ in 0..2 {
        reprocess_all(&database, &summary(0, 0, 6)).await;
        let reasons: Vec<_> = rows(&database).await.iter().map(|row| row["reason"].clone()).collect();
        assert_eq!(reasons, ["unsupported_type", "no_ticket", "malformed", "refused", "refused", "invalid"]);
        assert!(rows(&database).await.iter().all(|row| row["done"] == false));
        assert_eq!(database.rows(bodies).await, before);
    }
    let details = rows(&database).await;
    assert!(details[2]["detail"].as_str().unwrap().contains("line 1"), "{details:?}");
    assert_eq!(events(&database).await.len(), 0);
    // and only what is asked for is tried
    for arguments in [["--provider", "order_ticketed"], ["--reason", "no_ticket"], ["--limit", "1"]] {
        let (_, output) = reprocess(&database, &arguments, &[]).await;
        assert!(output.contains("1 deliveries: 0 recorded, 0 duplicates, 1 still"), "{arguments:?}: {output}");
    }
    let (_, output) = reprocess(&database, &["--since", "2026-05-01T00:00:06Z"], &[]).await;
    assert!(output.contains("1 deliveries"), "{output}");
    for (arguments, code) in [(["--reason", "other"], 2), (["--provider", "other"], 2), (["--since", "yesterday"], 2)] {
        let command = Command::new(&["reprocess", arguments[0], arguments[1]]).envs(&settings(&database.url()));
        assert_eq!(spawn_blocking(move || command.run()).await.unwrap().0, code);
    }
}

#[tokio::test]
async fn what_was_overtaken_is_late_and_what_says_nothing_new_is_counted() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let callback = provider("booking_callback");
    for booking in ["B1", "B2", "B3"] {
        assert_eq!(service.post(callback, (callback.delivery)("main", booking).to_string()).await.status, 200);
    }
    let recorded = events(&database).await;
    let ticketed = |booking: &str| payload("booking_callback", booking).to_string();
    // received long before what was recorded
    Kept::new("booking_callback", "invalid", says("Pending", "B1", "")).store(&database, 1).await;
    Kept { count: 3, ..Kept::new("booking_callback", "invalid", ticketed("B2")) }.store(&database, 2).await;
    // received after it
    Kept::new("booking_callback", "invalid", says("Failed", "B3", "")).store(&database, 3).await;
    let tomorrow = "update unprocessed_deliveries set received_at = now() + interval '1 day', \
                    last_received_at = now() + interval '1 day' where id = ";
    database.execute(&format!("{tomorrow} '{}'", id(3))).await;
    reprocess_all(&database, &summary(2, 1, 0)).await;
    let all = events(&database).await;
    let short = |event: &Value| {
        ["booking_ref", "revision", "late", "status", "previous_status", "delivery_count"].map(|key| event[key].clone())
    };
    let expected = [
        json!(["B1", 1, false, "ticketed", null, 1]),
        json!(["B1", 2, true, "pending", null, 1]),
        json!(["B2", 1, false, "ticketed", null, 4]),
        json!(["B3", 1, false, "ticketed", null, 1]),
        json!(["B3", 2, false, "failed", "ticketed", 1]),
    ];
    assert_eq!(all.iter().map(|event| json!(short(event))).collect::<Vec<_>>(), expected);
    let links: Vec<_> = rows(&database).await.iter().map(|row| row["event_id"].clone()).collect();
    assert_eq!(links, [json!(id(1)), recorded[1]["id"].clone(), json!(id(3))]);
    // the state of B2 was received last when it was received directly
    assert_eq!(all[2]["last_received_at"], recorded[1]["last_received_at"]);
}

#[tokio::test]
async fn deliveries_of_a_booking_become_its_revisions_in_the_order_of_receipt() {
    let database = Database::new().await;
    let statuses = ["Pending", "On Hold", "Pending", "Success", "Failed"];
    for (second, status) in (1..).zip(statuses) {
        // the third repeats the first, which is not the state any more
        let remark = if status == "On Hold" { "held" } else { "" };
        let reason = if second % 2 == 0 { "invalid" } else { "no_ticket" };
        // another body each time, of which the space says nothing
        let body = says(status, "B1", remark);
        Kept::new("booking_callback", reason, format!("{}{body}", " ".repeat(second as usize)))
            .store(&database, second)
            .await;
    }
    reprocess_all(&database, &summary(5, 0, 0)).await;
    let query = "select id, revision, previous_status from ticket_events order by generation, recorded_xid, sequence";
    let previous = [Value::Null, json!("pending"), json!("pending"), json!("pending"), json!("ticketed")];
    let expected: Vec<_> = (1..)
        .zip(previous)
        .map(|(number, previous)| json!({"id": id(number), "revision": number, "previous_status": previous}))
        .collect();
    assert_eq!(database.rows(query).await, expected);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let callback = provider("booking_callback");
    assert_eq!(service.post(callback, (callback.delivery)("main", "B1").to_string()).await.status, 200);
    let reject = [("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__UNKNOWN_BOOKING", "reject")];
    Kept::new("booking_callback", "invalid", says("Pending", "B1", "")).store(&database, 1).await;
    Kept::new("booking_callback", "invalid", payload("booking_callback", "B1").to_string()).store(&database, 2).await;
    Kept::new("order_ticketed", "invalid", payload("order_ticketed", "B2").to_string()).store(&database, 3).await;
    Kept::new("ticket_status_update", "refused", "no JSON").store(&database, 4).await;
    let everything = async || {
        let sequence = database.rows("select last_value from ticket_feed_sequence").await;
        let bookkeeping = database.rows("select xmin, ctid from unprocessed_deliveries order by id").await;
        (database.dump().await, sequence, bookkeeping)
    };
    let before = everything().await;
    let (_, foreseen) = reprocess(&database, &["--dry-run"], &reject).await;
    assert!(everything().await == before);
    let lines = |output: &str| output.lines().filter(|line| line.starts_with("0196889d")).map(str::to_owned).collect();
    let foreseen_lines: Vec<String> = lines(&foreseen);
    for (line, end) in foreseen_lines.iter().zip([
        "revision 2 of B1, late",
        "of B1, ",
        "still unknown_booking: the booking is not known",
        "still malformed: ",
    ]) {
        assert!(line.contains(end), "{foreseen}");
    }
    assert!(foreseen.contains("nothing was written (--dry-run)"), "{foreseen}");
    let (_, done) = reprocess(&database, &[], &reject).await;
    let done_lines: Vec<String> = lines(&done);
    assert_eq!(done_lines, foreseen_lines);
    // it is known by its booking from now on
    assert_eq!(
        database.rows("select booking_ref from unprocessed_deliveries where reason = 'unknown_booking'").await,
        [json!({"booking_ref": "B2"})]
    );
}
