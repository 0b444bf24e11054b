//! What is a duplicate, what is the next revision, and that races change nothing about it.

mod chains;

use std::sync::Arc;

use serde_json::{Value, json};
use ticket_webhooks::{
    delivery::{Delivery, Outcome},
    payload::RedactedPayload,
    providers,
    store::Writer,
    ticket_event::{Environment, TicketEvent},
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Database, PROVIDERS, Service, provider};

async fn revisions(database: &Database) -> Vec<Value> {
    let query = "select provider, environment, account, booking_ref as booking, revision, status, previous_status, \
                 delivery_count as deliveries from ticket_events order by provider, environment, booking_ref, revision";
    database.rows(query).await
}

#[tokio::test]
async fn a_revision_replaces_what_was_known_and_is_not_merged_with_it() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("booking_callback");
    let passenger = |name: &str| json!([{"Title": "Mr", "FirstName": name, "LastName": "Mehta", "TicketNumber": name}]);
    for (name, locator) in [("Arjun", json!("7HX2LM")), ("Rahul", json!(null))] {
        let mut delivery = (provider.delivery)("main", "B1");
        delivery["Passengers"] = passenger(name);
        delivery["GdsPNR"] = locator;
        assert_eq!(service.post(provider, delivery.to_string()).await.status, 200);
    }
    let columns = database.rows("select gds_pnr, ticket_numbers as tickets from ticket_events order by revision").await;
    assert_eq!(
        columns,
        [json!({"gds_pnr": "7HX2LM", "tickets": ["ARJUN"]}), json!({"gds_pnr": null, "tickets": ["RAHUL"]})]
    );
    let passengers = database.events().await.pop().unwrap()["passengers"].as_array().unwrap().len();
    assert_eq!(passengers, 1);
}

#[tokio::test]
async fn a_failure_sent_again_is_seen_once_and_a_changed_one_follows_a_failure() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("booking_callback");
    for remark in ["no seats", "no seats", "no fare"] {
        let mut delivery = (provider.delivery)("main", "B1");
        delivery["Status"] = json!("Failed");
        delivery["Remark"] = json!(remark);
        assert_eq!(service.post(provider, delivery.to_string()).await.status, 200);
    }
    let seen: Vec<_> =
        revisions(&database).await.into_iter().map(|row| json!([row["previous_status"], row["deliveries"]])).collect();
    assert_eq!(seen, [json!([null, 2]), json!(["failed", 1])]);
}

#[tokio::test]
async fn what_differs_only_in_volatile_fields_is_a_duplicate() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for (name, pointer, values) in [
        ("booking_callback", "/TraceId", [json!("trace-1"), json!("trace-2")]),
        ("booking_callback", "/EndUserIp", [json!("203.0.113.7"), json!("203.0.113.8")]),
        ("order_ticketed", "/status", [json!(-1), json!(0)]),
    ] {
        let provider = provider(name);
        for value in values {
            let mut delivery = (provider.delivery)("main", pointer);
            *delivery.pointer_mut(pointer).unwrap() = value;
            assert_eq!(service.post(provider, delivery.to_string()).await.status, 200);
        }
    }
    let revisions = revisions(&database).await;
    assert_eq!(revisions.len(), 3);
    assert!(revisions.iter().all(|row| row["deliveries"] == 2), "{revisions:#?}");
}

#[tokio::test]
async fn whatever_else_differs_is_a_revision_also_where_it_is_normalized_to_the_same() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let passenger = "/data/paxTicketInfos/0";
    for (n, (name, pointer, values)) in [
        ("order_ticketed", &format!("{passenger}/ancillaries"), [json!([]), json!(["BAG 20KG"])]),
        ("order_ticketed", &format!("{passenger}/airlinePNRs"), [json!(["S30814"]), json!(["s30814", "S30814"])]),
        ("order_ticketed", &"/RefundAmount".to_owned(), [json!(null), json!(100)]),
        ("order_ticketed", &"/data/status".to_owned(), [json!(-1), json!(0)]),
        ("booking_callback", &"/Status".to_owned(), [json!("Pending"), json!("On Hold")]),
        (
            "booking_callback",
            &"/Passengers/0/TicketNumber".to_owned(),
            [json!("098-2412345678"), json!("0982412345678")],
        ),
        ("booking_callback", &"/Passengers/0/TraceId".to_owned(), [json!("1"), json!("2")]),
        ("booking_callback", &"/traceid".to_owned(), [json!("1"), json!("2")]),
        ("ticket_status_update", &"/PNR".to_owned(), [json!("ABC123"), json!(" abc123 ")]),
        ("ticket_status_update", &"/TraceId".to_owned(), [json!("1"), json!("2")]),
        ("ticket_status_update", &"/status".to_owned(), [json!(1), json!(1.0)]),
    ]
    .into_iter()
    .enumerate()
    {
        let provider = provider(name);
        for value in values {
            let mut delivery = (provider.delivery)("main", &format!("B{n}"));
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            delivery.pointer_mut(parent).unwrap()[key] = value;
            assert_eq!(service.post(provider, delivery.to_string()).await.status, 200);
        }
        let query = format!("select revision from ticket_events where booking_ref = 'B{n}'");
        assert_eq!(database.rows(&query).await.len(), 2, "{name} {pointer}");
    }
}

#[tokio::test]
async fn white_space_escapes_and_the_order_of_members_make_no_difference() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let delivery = (provider.delivery)("main", "B/1");
        let pretty = serde_json::to_string_pretty(&delivery).unwrap();
        let escaped = delivery.to_string().replace("B/1", "\\u0042\\/1");
        let mut members: Vec<_> = delivery.as_object().unwrap().clone().into_iter().collect();
        members.reverse();
        let reversed = Value::Object(members.into_iter().collect()).to_string();
        assert_ne!(reversed, delivery.to_string());
        for body in [delivery.to_string(), pretty, escaped, reversed] {
            assert_eq!(service.post(provider, body).await.status, 200);
        }
    }
    let revisions = revisions(&database).await;
    assert_eq!(revisions.len(), 3);
    assert!(revisions.iter().all(|row| row["deliveries"] == 4), "{revisions:#?}");
}

#[tokio::test]
async fn only_the_newest_revision_makes_a_duplicate() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("booking_callback");
    for status in ["Pending", "Pending", "Success", "Pending", "Failed", "Failed", "Success"] {
        let mut delivery = (provider.delivery)("main", "B1");
        delivery["Status"] = json!(status);
        assert_eq!(service.post(provider, delivery.to_string()).await.status, 200);
    }
    let seen: Vec<_> = revisions(&database)
        .await
        .into_iter()
        .map(|row| json!([row["revision"], row["status"], row["previous_status"], row["deliveries"]]))
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            [1, "pending", null, 2],
            [2, "ticketed", "pending", 1],
            [3, "pending", "ticketed", 1],
            [4, "failed", "pending", 2],
            [5, "ticketed", "failed", 1]
        ])
    );
}

#[tokio::test]
async fn environments_and_providers_are_apart_and_accounts_are_not() {
    let database = Database::new().await;
    let variables = [
        ("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__ROTATED__ENVIRONMENT", "live"),
        ("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__ROTATED__CID", "rotated_cid"),
    ];
    let service = Service::start(&database, &variables).await;
    let orders = provider("order_ticketed");
    for account in ["main", "other"] {
        for provider in [orders, provider("booking_callback")] {
            assert_eq!(service.post(provider, (provider.delivery)(account, "B1").to_string()).await.status, 200);
        }
    }
    let mut rotated = (orders.delivery)("main", "B1");
    rotated["cid"] = json!("rotated_cid");
    assert_eq!(service.post(orders, rotated.to_string()).await.status, 200);
    let seen: Vec<_> = revisions(&database)
        .await
        .into_iter()
        .map(|row| json!([row["provider"], row["environment"], row["account"], row["revision"], row["deliveries"]]))
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            ["booking_callback", "live", "main", 1, 1],
            ["booking_callback", "test", "other", 1, 1],
            ["order_ticketed", "live", "main", 1, 2],
            ["order_ticketed", "test", "other", 1, 1]
        ])
    );
}

#[tokio::test]
async fn equal_deliveries_at_once_to_several_replicas_make_one_revision() {
    let database = Database::new().await;
    let replicas = [Service::start(&database, &[]).await, Service::start(&database, &[]).await];
    let replicas = Arc::new(replicas);
    for provider in &PROVIDERS {
        let body = (provider.delivery)("main", "B1").to_string();
        let deliveries: Vec<_> = (0..50)
            .map(|n| {
                let (replicas, body) = (Arc::clone(&replicas), body.clone());
                let path = crate::support::provider(provider.name);
                tokio::spawn(async move { replicas[n % 2].post(path, body).await.status })
            })
            .collect();
        for delivery in deliveries {
            assert_eq!(delivery.await.unwrap(), 200);
        }
    }
    let seen = revisions(&database).await;
    assert_eq!(seen.len(), 3, "{seen:#?}");
    assert!(seen.iter().all(|row| row["revision"] == 1 && row["deliveries"] == 50), "{seen:#?}");
}

#[tokio::test]
async fn different_deliveries_of_one_booking_at_once_get_a_revision_each() {
    let database = Database::new().await;
    let replicas = Arc::new([Service::start(&database, &[]).await, Service::start(&database, &[]).await]);
    let deliveries: Vec<_> = (0..40)
        .map(|n: usize| {
            let replicas = Arc::clone(&replicas);
            tokio::spawn(async move {
                let provider = provider("booking_callback");
                let mut delivery = (provider.delivery)("main", "B1");
                delivery["Remark"] = json!(format!("remark {n}"));
                replicas[n % 2].post(provider, delivery.to_string()).await.status
            })
        })
        .collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), 200);
    }
    let query =
        "select count(*) as rows, count(distinct remark) as remarks, max(revision) as newest from ticket_events";
    assert_eq!(database.rows(query).await, [json!({"rows": 40, "remarks": 40, "newest": 40})]);
}

#[tokio::test]
async fn a_repetition_that_joins_a_delivery_handed_in_again_is_counted_once() {
    let database = Database::new().await;
    let mut writer = Writer::new(database.pool.clone(), false, Arc::new([]));
    let began = OffsetDateTime::now_utc();
    // Postgres drops the nanoseconds
    let moment = |n| began + Duration::microseconds(n) + Duration::nanoseconds(1);
    let said: Vec<_> = (0..3).map(|n| callback("B1", "Ticketed", moment(n))).collect();
    // its answer is lost, or the spool is not rid of it; meanwhile more of the same has come
    for handed_in in [1, 2, 2, 3, 3] {
        let outcomes = writer.write(&said[..handed_in], true).await.unwrap();
        assert_eq!(outcomes[0], Outcome::Recorded { revision: 1, changes_final_status: false });
        assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Duplicate { revision: 1, .. })));
        let seen = revisions(&database).await;
        assert_eq!((seen.len(), &seen[0]["deliveries"]), (1, &json!(handed_in)));
    }
}

#[tokio::test]
async fn a_delivery_handed_in_again_is_found_also_where_the_first_revision_was_removed() {
    let database = Database::new().await;
    let mut writer = Writer::new(database.pool.clone(), false, Arc::new([]));
    let now = OffsetDateTime::now_utc();
    let said = ["on its way", "there"].map(|remark| callback("B1", remark, now));
    writer.write(&said, false).await.unwrap();
    sqlx::query("delete from ticket_events where revision = 1").execute(&database.pool).await.unwrap();
    let [_, second] = said;
    let recorded = |revision| Outcome::Recorded { revision, changes_final_status: false };
    let again = [callback("A1", "Ticketed", now), second, callback("C1", "Ticketed", now)];
    for handed_in in [&again[1..2], &again] {
        let outcomes = writer.write(handed_in, false).await.unwrap();
        let expected = if handed_in.len() == 1 { vec![recorded(2)] } else { [1, 2, 1].map(recorded).to_vec() };
        assert_eq!(outcomes, expected);
    }
    let query = "select booking_ref, revision from ticket_events order by booking_ref";
    let row = |booking: &str, revision: i32| json!({"booking_ref": booking, "revision": revision});
    assert_eq!(database.rows(query).await, [row("A1", 1), row("B1", 2), row("C1", 1)]);
    assert!(database.rows("select id from unprocessed_deliveries").await.is_empty());
}

/// What the booking callback says about a booking.
fn callback(booking_ref: &str, remark: &str, received_at: OffsetDateTime) -> Delivery {
    says(booking_ref, &json!({"Remark": remark}), received_at)
}

/// The same with these members.
fn says(booking_ref: &str, members: &Value, received_at: OffsetDateTime) -> Delivery {
    let callback = providers::by_name("booking_callback").unwrap();
    let mut text = (provider("booking_callback").delivery)("main", booking_ref);
    text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let kept = RedactedPayload::restore(&text.to_string()).unwrap();
    Delivery::Event(TicketEvent {
        id: Uuid::now_v7(),
        provider: callback.name(),
        account: "main".into(),
        environment: Environment::Live,
        booking: callback.normalize(kept.payload(), received_at.date()).unwrap(),
        content_hash: kept.content_hash(callback.volatile_members()),
        payload: kept.into_string(),
        is_restorable: true,
        received_at,
    })
}
