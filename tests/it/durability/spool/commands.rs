//! `spool inspect` and `spool salvage`.

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{NOWHERE, bookings, post, start};
use crate::support::{Command, Database, settings};

async fn run(url: &str, spool: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut settings = settings(url);
    settings.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool.display().to_string()));
    let command = Command::new(arguments).envs(&settings);
    spawn_blocking(move || command.run()).await.unwrap()
}

#[tokio::test]
async fn inspect_shows_what_waits_while_the_service_runs_and_nothing_personal() {
    let spool = TempDir::new().unwrap();
    let service = start(NOWHERE, spool.path(), &[]).await;
    for number in 0..3 {
        assert_eq!(post(&service, &format!("B{number}")).await.status, 200);
    }
    let file = spool.path().join("deliveries.redb");
    let before = fs::read(&file).unwrap();
    let (code, shown, errors) = run(NOWHERE, spool.path(), &["spool", "inspect"]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{shown}");
    assert_eq!(shown.matches(" order_ticketed main live received 20").count(), 3, "{shown}");
    assert!(shown.contains("3 records") && shown.contains("0 not intact"), "{shown}");
    let kept = String::from_utf8_lossy(&before).into_owned();
    for personal in ["paxTicketInfos", "orderNo", "\"B1\"", "\"name\""] {
        assert!(kept.contains(personal));
        let lines = shown.lines().filter(|line| line.starts_with("record"));
        assert!(lines.into_iter().all(|line| !line.contains(personal)), "{personal}: {shown}");
    }
    assert!(fs::read(&file).unwrap() == before, "it changes nothing");
    let none = run(NOWHERE, spool.path(), &["spool", "inspect", "/nowhere"]).await;
    assert_eq!((none.0, none.2.contains("/nowhere cannot be read")), (1, true), "{}", none.2);
}

#[tokio::test]
async fn salvage_records_what_is_whole_once_while_the_service_runs_and_lists_the_rest() {
    let (spool, database) = (TempDir::new().unwrap(), Database::new().await);
    let service = start(NOWHERE, spool.path(), &[]).await;
    for number in 0..20 {
        assert_eq!(post(&service, &format!("B{number:02}")).await.status, 200);
    }
    service.stop().await;
    let file = spool.path().join("deliveries.redb");
    let mut bytes = fs::read(&file).unwrap();
    let copies: Vec<_> = memchr::memmem::find_iter(&bytes, b"\"orderNo\":\"B07\"").collect();
    copies.into_iter().for_each(|at| bytes[at + 12] ^= 1);
    // the tree, too
    bytes[..4096].fill(0);
    let damaged = spool.path().join("damaged");
    fs::write(&damaged, &bytes).unwrap();
    fs::remove_file(&file).unwrap();
    let name = damaged.display().to_string();
    let service = start(&database.url(), spool.path(), &[]).await;
    let (code, shown, _) = run(NOWHERE, spool.path(), &["spool", "salvage", &name, "--dry-run"]).await;
    assert_eq!((code, shown.contains("19 records are intact, 1 are not")), (1, true), "{shown}");
    let (code, shown, errors) = run(NOWHERE, spool.path(), &["spool", "salvage", &name]).await;
    assert_eq!((code, errors.contains("run the command again")), (1, true), "{shown} {errors}");
    let expected: Vec<_> = (0..20)
        .filter(|number| *number != 7)
        .map(|number| json!({"b": format!("B{number:02}"), "r": 1, "d": 1}))
        .collect();
    for _ in 0..2 {
        let (code, shown, errors) = run(&database.url(), spool.path(), &["spool", "salvage", &name]).await;
        assert_eq!((code, shown.contains("record 8: damaged at offset")), (1, true), "{shown} {errors}");
        assert!(shown.contains("19 records were intact: 19 recorded"), "{shown}");
        assert_eq!(bookings(&database).await, expected);
    }
    let own = spool.path().join("deliveries.redb").display().to_string();
    let (code, _, errors) = run(&database.url(), spool.path(), &["spool", "salvage", &own]).await;
    assert_eq!((code, errors.contains("drains it by itself")), (1, true), "{errors}");
    drop(service);
}
