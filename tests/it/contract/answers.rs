//! What every provider is answered, cell by cell of the contract's table, and what becomes of the delivery.

mod durability;
mod methods;
mod unprocessed;
pub mod words;

use serde_json::{Value, json};

use self::words::{assert_kept, assert_refused, assert_success, less_credentials, post, post_as};
use crate::support::{Database, PROVIDERS, Provider, Service, provider};

/// A delivery of the account `main` with one value changed.
fn with(provider: &Provider, booking: &str, pointer: &str, value: Value) -> Value {
    let mut delivery = (provider.delivery)("main", booking);
    *delivery.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    delivery
}

/// A delivery in which no passenger has a ticket.
fn without_ticket(provider: &Provider, booking: &str) -> Value {
    match provider.name {
        "ticket_status_update" => with(provider, booking, "/TicketInfoes/0/TicketNumbers", json!([])),
        "booking_callback" => with(provider, booking, "/Passengers/0/TicketNumber", json!("")),
        _ => with(provider, booking, "/data/paxTicketInfos/0/ticketNos", json!([])),
    }
}

#[tokio::test]
async fn a_redelivery_is_answered_as_a_success_and_counted() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let body = (provider.delivery)("main", "B1").to_string();
        for _ in 0..2 {
            assert_success(provider, &post(&service, provider, body.clone()).await);
        }
    }
    let events = database.events().await;
    let seen: Vec<_> = events.iter().map(|event| json!([event["provider"], event["delivery_count"]])).collect();
    assert_eq!(seen, PROVIDERS.map(|provider| json!([provider.name, 2])));
    for event in events {
        assert!(event["last_received_at"].as_str() > event["received_at"].as_str());
    }
    assert_kept(&database, &[]).await;
}

#[tokio::test]
async fn wrong_credentials_get_401_and_leave_nothing_behind() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let mut delivery = (provider.delivery)("main", "B1");
        let headers: &[_] = match provider.name {
            "ticket_status_update" => &[("www-authenticate", "Bearer")],
            "booking_callback" => {
                delivery["Password"] = json!("wrong");
                &[]
            }
            _ => {
                delivery["cid"] = json!("wrong");
                &[]
            }
        };
        let answer = post_as(&service, provider, "Bearer wrong", delivery.to_string()).await;
        let words = assert_refused(provider, &answer, 401, headers);
        if provider.name == "ticket_status_update" {
            assert_eq!(words, ["Unauthenticated."]);
        }
    }
    assert_eq!(database.dump().await, "");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_kept_if_a_header_authenticates_it() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let body = r#"{"BookingTransactionRef":"B1",,"cid":"#;
    for provider in &PROVIDERS {
        let status = if provider.name == "ticket_status_update" { 422 } else { 400 };
        let words = assert_refused(provider, &post(&service, provider, body).await, status, &[]);
        assert!(words[0].contains("not valid JSON"), "{words:?}");
    }
    assert_kept(&database, &[("ticket_status_update", "malformed", body.to_owned())]).await;
    assert!(database.events().await.is_empty());
}

#[tokio::test]
async fn every_required_field_that_is_missing_is_named() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let mut kept = Vec::new();
    for (name, missing, words) in [
        (
            "ticket_status_update",
            &["/BookingTransactionRef", "/TicketInfoes"][..],
            &["The unique trans id field is required.", "The ticket infoes field is required."][..],
        ),
        (
            "booking_callback",
            &["/BookingId", "/Status", "/Passengers"],
            &["BookingId is required; Status is required; Passengers is required"],
        ),
        (
            "order_ticketed",
            &["/type", "/data/orderNo", "/data/orderStatus", "/data/paxTicketInfos"],
            &["type is required; data.orderNo is required; data.orderStatus is required; \
               data.paxTicketInfos is required"],
        ),
    ] {
        let provider = provider(name);
        let mut delivery = (provider.delivery)("main", "B1");
        for pointer in missing {
            *delivery.pointer_mut(pointer).unwrap() = Value::Null;
        }
        let answer = post(&service, provider, delivery.to_string()).await;
        assert_eq!(assert_refused(provider, &answer, 422, &[]), words);
        kept.push((name, "invalid", less_credentials(delivery).to_string()));
    }
    assert_kept(&database, &kept).await;
    let details: Vec<_> = database.unprocessed().await.into_iter().map(|row| row["detail"].clone()).collect();
    assert_eq!(details[0], "BookingTransactionRef is required; TicketInfoes is required");
    assert!(database.events().await.is_empty());
}

#[tokio::test]
async fn a_required_field_of_the_wrong_shape_is_refused_as_a_missing_one_is() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let mut kept = Vec::new();
    for (name, pointer, field) in [
        ("ticket_status_update", "/BookingTransactionRef", "unique trans id"),
        ("booking_callback", "/BookingId", "BookingId"),
        ("booking_callback", "/Status", "Status"),
        ("order_ticketed", "/type", "type"),
        ("order_ticketed", "/data/orderNo", "data.orderNo"),
        ("order_ticketed", "/data/orderStatus", "data.orderStatus"),
    ] {
        let delivery = with(provider(name), "B1", pointer, json!({"of another": "shape"}));
        let answer = post(&service, provider(name), delivery.to_string()).await;
        let words = assert_refused(provider(name), &answer, 422, &[]);
        assert!(words.len() == 1 && words[0].contains(field) && words[0].contains("must be"), "{words:?}");
        kept.push((name, "invalid", less_credentials(delivery).to_string()));
    }
    assert_kept(&database, &kept).await;
}

#[tokio::test]
async fn a_delivery_without_tickets_is_refused_by_one_provider_and_recorded_for_the_others() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let answer = post(&service, provider, without_ticket(provider, "B1").to_string()).await;
        if provider.name == "ticket_status_update" {
            assert_eq!(assert_refused(provider, &answer, 422, &[]), ["Ticket info not found"]);
        } else {
            assert_success(provider, &answer);
        }
    }
    let first = &PROVIDERS[0];
    assert_kept(&database, &[(first.name, "no_ticket", without_ticket(first, "B1").to_string())]).await;
    let events = database.events().await;
    let seen: Vec<_> = events.iter().map(|event| json!([event["provider"], event["status"]])).collect();
    assert_eq!(seen, [json!(["booking_callback", "confirmed"]), json!(["order_ticketed", "confirmed"])]);
}

#[tokio::test]
async fn an_unknown_booking_is_refused_if_the_configuration_rejects_those() {
    let database = Database::new().await;
    let rejecting = PROVIDERS.map(|provider| {
        (format!("TICKET_WEBHOOKS__PROVIDERS__{}__UNKNOWN_BOOKING", provider.name.to_uppercase()), "reject")
    });
    let service = Service::start(&database, &rejecting.each_ref().map(|(name, value)| (name.as_str(), *value))).await;
    let mut kept = Vec::new();
    for provider in &PROVIDERS {
        let booking = format!("B-{}", provider.name);
        // of the other environment, and of the other providers: it does not make the booking known
        database
            .execute(&format!(
                "insert into bookings select name, environment, '{booking}' \
                 from unnest(array['live', 'test']) as environment, \
                 unnest(array['ticket_status_update', 'booking_callback', 'order_ticketed']) as name \
                 where (name, environment) <> ('{}', 'live')",
                provider.name
            ))
            .await;
        let delivery = (provider.delivery)("main", &booking);
        let answer = post(&service, provider, delivery.to_string()).await;
        let status = if provider.name == "ticket_status_update" { 422 } else { 404 };
        let words = assert_refused(provider, &answer, status, &[]);
        if provider.name == "ticket_status_update" {
            assert_eq!(words, ["Air Booking Info not found"]);
        }
        kept.push((provider.name, "unknown_booking", less_credentials(delivery).to_string()));
    }
    assert_kept(&database, &kept).await;
    assert!(database.events().await.is_empty());

    // what was kept is reprocessed meanwhile: the same content, counted once more
    for provider in &PROVIDERS {
        let booking = format!("B-{}", provider.name);
        database.execute(&format!("insert into bookings values ('{}', 'live', '{booking}')", provider.name)).await;
        assert_success(provider, &post(&service, provider, (provider.delivery)("main", &booking).to_string()).await);
    }
    assert_eq!(database.events().await.len(), 3);
}

#[tokio::test]
async fn every_booking_is_accepted_by_default() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    database.execute("insert into bookings values ('booking_callback', 'live', 'another')").await;
    for provider in &PROVIDERS {
        assert_success(provider, &post(&service, provider, (provider.delivery)("main", "B1").to_string()).await);
    }
    assert_eq!(database.events().await.len(), 3);
}

#[tokio::test]
async fn another_notification_type_is_answered_as_a_success_and_kept_unprocessed() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("order_ticketed");
    let mut kept = Vec::new();
    for delivery in [
        with(provider, "B1", "/type", json!("order.void")),
        with(provider, "B1", "/type", json!("order.schedulechange")),
        // nothing that order.ticketed requires is asked of another type
        json!({"cid": with(provider, "B1", "/type", json!(0))["cid"], "type": "order.void", "data": []}),
    ] {
        assert_success(provider, &post(&service, provider, delivery.to_string()).await);
        kept.push((provider.name, "unsupported_type", less_credentials(delivery).to_string()));
    }
    assert_kept(&database, &kept).await;
    assert!(database.events().await.is_empty());
}

#[tokio::test]
async fn an_answer_has_an_id_of_its_own_or_that_of_a_trusted_proxy() {
    let database = Database::new().await;
    for (is_trusted, variables) in
        [(false, &[][..]), (true, &[("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")])]
    {
        let service = Service::start(&database, variables).await;
        for provider in &PROVIDERS {
            let send = async |id: Option<&str>| {
                let mut request = service.request("POST", provider.path).body("{}");
                if let Some(id) = id {
                    request = request.header("x-request-id", id);
                }
                let answer = crate::support::Answer::of(request).await;
                assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
                answer.headers["x-request-id"].to_str().unwrap().to_owned()
            };
            // whatever stands in it, also where it is a secret
            let secret = crate::support::credentials("order_ticketed", "main")[0].1;
            for id in ["from-the-caller.1", secret] {
                assert_eq!(send(Some(id)).await == id, is_trusted, "{id}");
            }
            assert_ne!(send(None).await, send(None).await);
            for odd in ["", "with space", "\"quoted\"", &"x".repeat(129)] {
                assert_eq!(send(Some(odd)).await.len(), 36, "{odd:?}");
            }
        }
    }
}
