//! What becomes of the payloads in `tests/fixtures`, one file for each kind that a provider sends.
//!
//! The snapshots hold everything that is stored, except what differs from run to run. They pin the content hashes: one
//! that changes makes a delivery that comes again after an upgrade look new.

use std::{collections::BTreeSet, fs, path::PathBuf};

use insta::{Settings, assert_json_snapshot};
use serde_json::{Value, json};

use crate::support::{Database, PROVIDERS, Service, provider};

fn directory(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

fn files(path: &str) -> Vec<PathBuf> {
    let files: BTreeSet<_> = fs::read_dir(directory(path)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.into_iter().collect()
}

/// Everything that is stored of the only delivery, as JSON.
async fn stored(database: &Database) -> Value {
    let events = "select provider, account, environment, booking_ref, revision, late, status, previous_status, pnr, \
                  gds_pnr, airline_pnrs, booking_number, trace_id, provider_status, remark, passengers, \
                  ticket_numbers, warnings, encode(content_hash, 'hex') as content_hash, delivery_count, \
                  payload::text as payload from ticket_events";
    let unprocessed = "select provider, account, environment, reason, detail, reprocessed_at, event_id, \
                       encode(body, 'escape') as body from unprocessed_deliveries";
    let mut stored = json!({});
    for (table, query, text) in [("event", events, "payload"), ("unprocessed", unprocessed, "body")] {
        for mut row in database.rows(query).await {
            // where it is JSON it reads better as such
            let document = row[text].as_str().and_then(|text| serde_json::from_str(text).ok());
            row[text] = document.unwrap_or_else(|| row[text].take());
            assert_eq!(stored.as_object_mut().unwrap().insert(table.to_owned(), row), None);
        }
    }
    stored
}

/// Delivers every file of a provider to an empty database.
async fn deliver_all(name: &str) {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for file in files(&format!("fixtures/{name}")) {
        let answer = service.post(provider(name), fs::read(&file).unwrap()).await;
        let outcome =
            json!({"answer": {"status": answer.status, "body": answer.body}, "stored": stored(&database).await});
        let fixture = file.file_stem().unwrap().to_str().unwrap();
        let snapshot = format!("{name}__{fixture}");
        settings.bind(|| assert_json_snapshot!(snapshot, outcome));
        database.execute("truncate ticket_events, unprocessed_deliveries").await;
    }
}

#[tokio::test]
async fn every_ticket_status_update_becomes_what_its_snapshot_says() {
    deliver_all("ticket_status_update").await;
}

#[tokio::test]
async fn every_booking_callback_becomes_what_its_snapshot_says() {
    deliver_all("booking_callback").await;
}

#[tokio::test]
async fn every_order_ticketed_becomes_what_its_snapshot_says() {
    deliver_all("order_ticketed").await;
}

#[test]
fn every_snapshot_has_its_fixture() {
    let expected: BTreeSet<_> = PROVIDERS
        .iter()
        .flat_map(|provider| {
            files(&format!("fixtures/{}", provider.name)).into_iter().map(|file| (provider.name, file))
        })
        .map(|(name, file)| format!("{name}__{}.snap", file.file_stem().unwrap().to_str().unwrap()))
        .collect();
    let snapshots =
        files("it/inputs/snapshots").into_iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned());
    assert_eq!(snapshots.filter(|name| name.ends_with(".snap")).collect::<BTreeSet<_>>(), expected);
}
