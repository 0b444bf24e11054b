//! What a delivery must have, what it may lack, and what its fields become: "What is required, and what is not".

mod booking_callback;
mod everywhere;
mod lists;
mod order_ticketed;
mod readings;
mod ticket_status_update;
mod tickets;

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::{Database, Provider, Service};

/// A service, and a new booking for every delivery.
struct Bench {
    database: Database,
    service: Service,
    bookings: AtomicU32,
}

/// Values to be put where JSON pointers point.
type Edits<'a> = &'a [(&'a str, Value)];

impl Bench {
    async fn new() -> Self {
        let database = Database::new().await;
        let service = Service::start(&database, &[]).await;
        Self { database, service, bookings: AtomicU32::new(0) }
    }

    /// A complete delivery with these changes.
    fn delivery(&self, provider: &Provider, edits: Edits<'_>) -> Value {
        let booking = self.bookings.fetch_add(1, Ordering::Relaxed);
        let mut delivery = (provider.delivery)("main", &format!("booking {booking}"));
        for (pointer, value) in edits {
            set(&mut delivery, pointer, value.clone());
        }
        delivery
    }

    /// The event that a delivery with these changes becomes.
    async fn event(&self, provider: &Provider, edits: Edits<'_>) -> Value {
        let delivery = self.delivery(provider, edits);
        self.event_of(provider, &delivery.to_string()).await
    }

    async fn event_of(&self, provider: &Provider, body: &str) -> Value {
        let answer = self.service.post(provider, body).await;
        assert_eq!(answer.status, 200, "{body} {answer:?}");
        // jsonb, which the rows come in, does not take every payload
        let query = "select provider, booking_ref, status, pnr, gds_pnr, airline_pnrs, booking_number, trace_id, \
                     provider_status, remark, passengers, ticket_numbers, warnings, payload::text as payload, \
                     encode(content_hash, 'hex') as content_hash, delivery_count \
                     from ticket_events order by sequence desc limit 1";
        let event = self.database.rows(query).await.pop().unwrap();
        assert_eq!((&event["provider"], &event["delivery_count"]), (&json!(provider.name), &json!(1)), "{body}");
        event
    }

    /// What is said about a delivery with these changes, which is refused as one that misses something.
    async fn refusal(&self, provider: &Provider, edits: Edits<'_>) -> String {
        let delivery = self.delivery(provider, edits);
        let answer = self.service.post(provider, delivery.to_string()).await;
        assert_eq!(answer.status, 422, "{delivery} {answer:?}");
        let words = match provider.name {
            "ticket_status_update" => &answer.body["message"],
            "booking_callback" => &answer.body["Error"]["ErrorMessage"],
            _ => &answer.body["msg"],
        };
        words.as_str().map_or_else(|| words.to_string(), str::to_owned)
    }
}

/// Puts a value where a pointer points, also where nothing was before.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
        Value::Object(members) => drop(members.insert(key.to_owned(), value)),
        Value::Array(elements) => match key.parse::<usize>() {
            Ok(index) => elements[index] = value,
            Err(_) => elements.push(value),
        },
        other => panic!("{pointer} leads into {other}"),
    }
}

/// What counts as no value at all, in every field.
fn missing() -> [Value; 5] {
    [json!(null), json!(""), json!(" \t\n"), json!("\0"), json!(" \0 ")]
}

/// What is no text.
fn no_text() -> [Value; 4] {
    [json!(true), json!([]), json!({"a": "b"}), json!(["x"])]
}
