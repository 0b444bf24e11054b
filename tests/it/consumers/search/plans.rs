//! Which indexes the questions use, at the size of years: Postgres explains every statement of the real service.

use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::support::{ApiClient, Database, Service};

/// A question, the indexes that its statements use, and how many events match.
const QUESTIONS: [(&str, &[&str], usize); 11] = [
    ("booking_ref=B-1000", &["ticket_events_provider_environment_booking_ref_revision_key"], 3),
    (
        "booking_ref=B-1000&status=failed&name=last99",
        &["ticket_events_provider_environment_booking_ref_revision_key"],
        0,
    ),
    ("pnr=p1000", &["search_keys_pkey"], 3),
    ("ticket=24-0000-3000", &["search_keys_pkey"], 1),
    ("name=FIRST7%20last30007", &["search_keys_pkey"], 1),
    ("name=last30007&limit=5", &["search_keys_pkey"], 5),
    ("provider=booking_callback", &["search_keys_pkey"], 100),
    ("environment=live&status=aborted&limit=1", &["search_keys_pkey"], 1),
    ("status=aborted&from=now", &["search_keys_pkey"], 0),
    ("received_from=2020-01-02T00:00:00Z&received_to=2020-01-02T01:00:00Z", &["search_keys_received"], 60),
    (
        "received_from=2020-01-02T00:00:00Z&received_to=2020-01-03T00:00:00Z&status=failed",
        &["search_keys_received"],
        100,
    ),
];

/// The plans that Postgres has sent to the service.
fn plans(service: &Service) -> Vec<String> {
    let output = service.process.output();
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = messages.filter_map(|line| Some(line["message"].as_str()?.to_owned()));
    messages.filter(|message| message.contains("plan:") && message.contains("Query Text")).collect()
}

async fn every_question_uses_its_indexes(events: usize) {
    let database = Database::new().await;
    for statement in include_str!("events.sql").replace("{events}", &events.to_string()).split_inclusive(";\n") {
        database.execute(statement).await;
    }
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(&database.pool).await.unwrap();
    for setting in [
        "session_preload_libraries = auto_explain",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_level = notice",
        "auto_explain.log_nested_statements = on",
        "client_min_messages = notice",
    ] {
        database.execute(&format!("alter database {name} set {setting}")).await;
    }
    let (service, api) = ApiClient::start(&database, &[("RUST_LOG", "info,sqlx::postgres::notice=trace")]).await;
    for (question, indexes, found) in QUESTIONS {
        let before = plans(&service).len();
        let start = Instant::now();
        let page = api.get(&format!("/v1/events?{question}")).await;
        let took = start.elapsed();
        assert_eq!(page.body["events"].as_array().map(Vec::len), Some(found), "{question}: {page:?}");
        // the log may come later than the answer
        let is_of_question = |plan: &&String| plan.contains("ticket_events") || plan.contains("search_keys");
        let uses = |plans: &[String], index: &&str| {
            plans.iter().filter(is_of_question).any(|plan| plan.contains(&format!("using {index}")))
        };
        let mut of_question = plans(&service).split_off(before);
        while !indexes.iter().all(|index| uses(&of_question, index)) && start.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            of_question = plans(&service).split_off(before);
        }
        println!("{question}: {took:?}, {} statements", of_question.len());
        of_question.retain(|plan| is_of_question(&plan));
        assert!(of_question.len() >= 2, "{question}: {of_question:#?}");
        for plan in &of_question {
            for scan in ["Seq Scan on ticket_events", "Seq Scan on search_keys"] {
                assert!(!plan.contains(scan), "{question}: {plan}");
            }
        }
        for index in indexes {
            assert!(uses(&of_question, index), "{question}, {index}: {of_question:#?}");
        }
    }
}

#[tokio::test]
async fn every_question_uses_its_indexes_at_200_000_events() {
    every_question_uses_its_indexes(200_000).await;
}

/// Takes some minutes and 7 GB of disk: `make search-test`.
#[tokio::test]
#[ignore = "takes minutes: make search-test"]
async fn every_question_uses_its_indexes_at_5_million_events() {
    every_question_uses_its_indexes(5_000_000).await;
}
