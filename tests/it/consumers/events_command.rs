//! The command `events`.

use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{
    pages::send,
    search::{given_out, indexed},
};
use crate::support::{Command, Database, Service, settings};

/// Its exit code, output and errors.
async fn events(database: &Database, arguments: &[&str]) -> (i32, String, String) {
    let command = Command::new(&[&["events"], arguments].concat()).envs(&settings(&database.url()));
    spawn_blocking(move || command.run()).await.unwrap()
}

/// The booking references of a listing.
async fn bookings(database: &Database, arguments: &[&str]) -> Vec<String> {
    let (code, output, errors) = events(database, &[arguments, &["--json"]].concat()).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
    let items = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    items.map(|item| item["booking_ref"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn it_lists_the_newest_that_match_oldest_first() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    send(&service, 0..4).await;
    indexed(&database).await;
    // some with search keys, some without
    service.stop().await;
    let service = Service::start(&database, &[]).await;
    send(&service, 4..6).await;
    service.stop().await;
    given_out(&database).await;
    let newest = ["B-3", "B-4", "B-5"];
    assert_eq!(bookings(&database, &["--limit", "3", "--provider", "booking_callback"]).await, newest);
    assert_eq!(bookings(&database, &["--limit", "3", "--name", "MEHTA/arjun"]).await, newest);
    assert_eq!(bookings(&database, &["--limit", "3", "--ticket", "098 2412345678"]).await, newest);
    assert_eq!(bookings(&database, &["--limit", "3", "--pnr", "k4t9qz", "--status", "ticketed"]).await, newest);
    assert_eq!(bookings(&database, &["--booking", "B-5", "--environment", "live"]).await, ["B-5"; 3]);
    assert_eq!(bookings(&database, &[]).await.len(), 18);
    assert_eq!(bookings(&database, &["--since", "1h"]).await.len(), 18);
    assert_eq!(bookings(&database, &["--until", "1h"]).await.len(), 0);
    assert_eq!(bookings(&database, &["--limit", "0"]).await.len(), 0);
    let id = database.events().await[4]["id"].as_str().unwrap().to_owned();
    assert_eq!(bookings(&database, &["--id", &id]).await.len(), 1);
}

#[tokio::test]
async fn a_line_is_readable_and_changes_nothing_of_the_terminal() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    send(&service, 0..1).await;
    let provider = crate::support::provider("booking_callback");
    let failed = (provider.delivery)("main", "B-0").to_string().replace("Success", "Failed");
    assert_eq!(service.post(provider, failed).await.status, 200);
    let odd = (provider.delivery)("main", "B\u{202e}\u{1b}[31mX").to_string();
    assert_eq!(service.post(provider, odd).await.status, 200);
    given_out(&database).await;
    let (code, output, errors) = events(&database, &[]).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 5, "{output}");
    for word in ["booking_callback", "live", "B-0", "2", "failed, was ticketed", "K4T9QZ", "0982412345678"] {
        assert!(lines[3].contains(word), "{word}: {output}");
    }
    assert!(lines[4].contains("B\\u202e\\u001b[31mX"), "{output}");
    assert!(!output.chars().any(|char| char.is_control() && char != '\n'), "{output:?}");
}

#[tokio::test]
async fn it_follows_until_it_is_interrupted() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    send(&service, 0..1).await;
    given_out(&database).await;
    let arguments = ["events", "--follow", "--json", "--provider", "order_ticketed"];
    let mut following = Command::new(&arguments).envs(&settings(&database.url())).start();
    let printed = following.printed();
    spawn_blocking(move || printed.line("\"B-0\"")).await.unwrap();
    send(&service, 1..3).await;
    let printed = following.printed();
    spawn_blocking(move || printed.line("\"B-2\"")).await.unwrap();
    following.signal("INT");
    let status = spawn_blocking(move || (following.wait(), following.output())).await.unwrap();
    assert!(status.0.success(), "{status:?}");
    let lines: Vec<_> = status.1.lines().filter(|line| line.contains("booking_ref")).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

#[tokio::test]
async fn it_ends_quietly_when_its_reader_has_seen_enough() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    send(&service, 0..10).await;
    given_out(&database).await;
    let script = format!(
        "DATABASE_URL='{}' '{}' events --follow | head -n 1; echo ${{PIPESTATUS[0]}}",
        database.url(),
        env!("CARGO_BIN_EXE_ticket-webhooks")
    );
    let ended = spawn_blocking(move || std::process::Command::new("bash").args(["-c", &script]).output().unwrap());
    // that the reader has gone is noticed by the next line
    for booking in 10..1000 {
        if ended.is_finished() {
            break;
        }
        send(&service, booking..booking + 1).await;
    }
    let output = ended.await.unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("\n0\n"));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_exit_code_of_the_other_commands() {
    let database = Database::new().await;
    for (arguments, code, message) in [
        (&["--status", "done"][..], 2, "possible values: ticketed"),
        (&["--provider", "nobody"], 2, "possible values"),
        (&["--since", "yesterday"], 2, "expected a time such as"),
        (&["--name", "/-"], 2, "name has no letter and no digit"),
        (&["--limit=-1"], 2, "--limit"),
        (&["--id", "00000000-0000-7000-8000-000000000000"], 1, "there is no event with this id"),
    ] {
        let (exit_code, output, errors) = events(&database, arguments).await;
        assert_eq!((exit_code, output.as_str()), (code, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
    let nowhere = Command::new(&["events"]).env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let (code, _, errors) = spawn_blocking(move || nowhere.run()).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.starts_with("error: the events cannot be listed"), "{errors}");
}
