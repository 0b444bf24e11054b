//! `privacy.identity_documents = "drop"`: they are written nowhere.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{dump, found};
use crate::support::{Command, Database, PROVIDERS, Provider, Server, Service, settings};

/// Of the documents alone.
const DOCUMENT: [&str; 4] = ["k99x4410", "nansen", "atlantis", "20991231"];

const DROP: (&str, &str) = ("TICKET_WEBHOOKS__PRIVACY__IDENTITY_DOCUMENTS", "drop");

/// With documents in every member that is known to carry some, also in JSON in a string, and in what no document has.
fn delivery(provider: &Provider, booking: &str) -> Value {
    let mut body = (provider.delivery)("main", booking);
    let document = json!({
        "DocumentNumber": "K99X4410", "DocumentType": "nansen", "cardNum": "K99X4410", "CARDTYPE": "nansen",
        "cardIssuePlace": "atlantis", "card\u{45}xpired": "20991231",
        "DocumentInfo": {"Number": "K99X4410", "Country": "atlantis", "Expiry": "20991231"}
    });
    let pointer = match provider.name {
        "ticket_status_update" => {
            body["TicketInfoes"][0]["PassengerInfo"]["NameElement"]["DocumentNumber"] = json!("K99X4410");
            "/TicketInfoes/0/PassengerInfo"
        }
        "booking_callback" => "/Passengers/0",
        _ => {
            let passenger = &mut body["data"]["paxTicketInfos"][0];
            passenger["ancillaries"] = json!([{"for": {"cardNum": "K99X4410"}, "meal": "vegetarian"}]);
            "/data/paxTicketInfos/0"
        }
    };
    let object = body.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
    object.extend(document.as_object().unwrap().clone());
    object.insert("Extra".to_owned(), json!(document.to_string()));
    body
}

/// Bodies that cannot be processed.
fn unprocessable(provider: &Provider, booking: &str) -> Vec<Vec<u8>> {
    let text = delivery(provider, booking).to_string();
    let broken = format!("{text},,");
    let utf_16 = [0xff, 0xfe].into_iter().chain(broken.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let mut windows_1252 = broken.clone().into_bytes();
    windows_1252.extend(b"\"M\xfcller\"");
    vec![
        text.replace(&format!("\"{booking}\""), "[]").into_bytes(),
        broken.clone().into_bytes(),
        utf_16,
        windows_1252,
        broken.replace("\"K99", "\"K99\\u0058").replace("\"cardNum\":", "cardNum=").into_bytes(),
        broken.replace("\"Extra\"", "\u{1}\"Extra\"").into_bytes(),
    ]
}

fn files(directory: &Path) -> Vec<u8> {
    let files = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap_or_default());
    files.collect::<Vec<_>>().concat()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let bytes = bytes.to_ascii_lowercase();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn deliver(service: &Service, booking: &str) {
    for provider in &PROVIDERS {
        for _ in 0..2 {
            assert_eq!(service.post(provider, delivery(provider, booking).to_string()).await.status, 200);
        }
        for body in unprocessable(provider, booking) {
            let status = service.post(provider, body).await.status;
            assert!((400..500).contains(&status) && status != 401, "{} {status}", provider.name);
        }
    }
}

#[tokio::test]
async fn dropped_documents_are_in_no_table_and_in_no_file_of_the_spool() {
    let mut server = Server::start(true).await;
    let spool = TempDir::new().unwrap();
    let mut variables = settings(server.url());
    let directory = spool.path().display().to_string();
    variables.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), directory));
    variables.push((DROP.0.to_owned(), DROP.1.to_owned()));
    let command = Command::new(&["serve"]).envs(&variables);
    let service = tokio::task::spawn_blocking(move || Service::over(command.start())).await.unwrap();
    deliver(&service, "DIRECT").await;
    assert_eq!(found(&dump(server.url()).await, &DOCUMENT), Vec::<&str>::new());

    server.signal("QUIT");
    server.gone().await;
    deliver(&service, "SPOOLED").await;
    let spooled = files(spool.path());
    assert!(holds(&spooled, "spooled"), "it is in use");
    assert_eq!(DOCUMENT.map(|text| holds(&spooled, text)), [false; 4]);
    server.start_again().await;
    let printed = service.process.printed();
    tokio::task::spawn_blocking(move || printed.line("the spool is empty again")).await.unwrap();
    deliver(&service, "SPOOLED").await;
    deliver(&service, "DIRECT").await;

    assert_eq!(found(&dump(server.url()).await, &DOCUMENT), Vec::<&str>::new());
    let query = "select count(*), min(delivery_count), max(delivery_count), count(distinct passengers) as said, \
                 count(*) filter (where passengers::text like '%\"document\"%') as documents, \
                 count(*) filter (where warnings::text like '%missing%') as missing, \
                 count(*) filter (where passengers::text like '%vegetarian%') as ancillaries from ticket_events";
    let row: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select to_jsonb(q) from ({query}) as q")))
        .fetch_one(&server.pool())
        .await
        .unwrap();
    let expected = json!({
        "count": 6, "min": 4, "max": 4, "said": 3, "documents": 0, "missing": 0, "ancillaries": 2
    });
    assert_eq!(row, expected, "duplicates are recognised, spooled or not, and nothing else is lost");
    assert_eq!(found(&service.stop().await, &DOCUMENT), Vec::<&str>::new());
}

#[tokio::test]
async fn documents_are_stored_otherwise() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    deliver(&service, "DIRECT").await;
    assert_eq!(found(&dump(&database.url()).await, &DOCUMENT), DOCUMENT);
}
