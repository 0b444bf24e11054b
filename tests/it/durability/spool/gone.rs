//! The file is deleted or replaced under the process.

use std::fs;

use tempfile::TempDir;

use super::{NOWHERE, bookings, post, start, wait};
use crate::support::{Answer, Database, Scrape, Service};

/// That of live deliveries.
async fn metric(service: &Service, name: &str) -> f64 {
    Scrape::of(service).await.get(&format!("ticket_webhooks_spool_{name}"), &[("environment", "live")])
}

/// Deliveries before and after something was done to the spool, all of them recorded.
async fn survives(parent: &TempDir, strike: impl Fn(&std::path::Path)) -> Service {
    let spool = parent.path().join("spool");
    let mut service = start(NOWHERE, &spool, &[]).await;
    for number in 0..10 {
        assert_eq!(post(&service, &format!("B{number}")).await.status, 200);
    }
    strike(&spool);
    assert_eq!(post(&service, "C0").await.status, 200);
    assert_eq!(metric(&service, "files_replaced_total").await, 1.0);
    assert!(service.process.output().contains("deleted or replaced"));
    service.process.signal("KILL");
    tokio::task::spawn_blocking(move || service.process.wait()).await.unwrap();
    let database = Database::new().await;
    let service = start(&database.url(), &spool, &[]).await;
    let printed = service.process.printed();
    tokio::task::spawn_blocking(move || printed.line("the spool is empty again")).await.unwrap();
    let names: Vec<_> = bookings(&database).await.iter().map(|row| row["b"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..10).map(|number| format!("B{number}")).chain(["C0".to_owned()]).collect();
    assert_eq!(names, expected);
    service
}

#[tokio::test]
async fn a_deleted_file_is_noticed_before_anything_more_is_acknowledged() {
    let parent = TempDir::new().unwrap();
    survives(&parent, |spool| fs::remove_file(spool.join("deliveries.redb")).unwrap()).await;
}

#[tokio::test]
async fn so_is_a_deleted_directory() {
    let parent = TempDir::new().unwrap();
    survives(&parent, |spool| fs::remove_dir_all(spool).unwrap()).await;
}

#[tokio::test]
async fn a_file_put_in_its_place_is_set_aside() {
    let parent = TempDir::new().unwrap();
    let service = survives(&parent, |spool| {
        fs::write(spool.join("other"), "something else").unwrap();
        fs::rename(spool.join("other"), spool.join("deliveries.redb")).unwrap();
    });
    let service = service.await;
    assert_eq!(metric(&service, "files_aside").await, 1.0);
}

#[tokio::test]
async fn what_cannot_be_saved_is_not_acknowledged_and_readiness_says_so() {
    let parent = TempDir::new().unwrap();
    let spool = parent.path().join("spool");
    let service = start(NOWHERE, &spool, &[]).await;
    assert_eq!(post(&service, "B1").await.status, 200);
    // nobody, root included, makes a directory where a file is
    fs::rename(&spool, parent.path().join("away")).unwrap();
    fs::write(&spool, "").unwrap();
    assert_eq!(post(&service, "B2").await.status, 503);
    assert_eq!(Answer::of(service.request("GET", "/readyz")).await.status, 503);
    fs::remove_file(&spool).unwrap();
    assert_eq!(Answer::of(service.request("GET", "/readyz")).await.status, 200);
    assert_eq!(post(&service, "B3").await.status, 200);
    service.stop().await;
    let database = Database::new().await;
    let service = start(&database.url(), &spool, &[]).await;
    let process = wait(service.process, "the spool is empty again").await;
    let names: Vec<_> = bookings(&database).await.iter().map(|row| row["b"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["B1", "B3"]);
    drop(process);
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_noticed_before_anything_more_is_acknowledged() {
    for is_emptied in [true, false] {
        let spool = TempDir::new().unwrap();
        let mut service = start(NOWHERE, spool.path(), &[]).await;
        for number in 0..200 {
            assert_eq!(post(&service, &format!("B{number}")).await.status, 200);
        }
        let path = spool.path().join("deliveries.redb");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let length = if is_emptied { 0 } else { file.metadata().unwrap().len() / 8 };
        file.set_len(length).unwrap();
        for number in 0..3 {
            assert_eq!(post(&service, &format!("C{number}")).await.status, 200);
        }
        assert_eq!(metric(&service, "files_set_aside_total").await, 1.0);
        let damaged = metric(&service, "records_damaged_total").await;
        assert!(damaged > 0.0 && (damaged == 200.0 || !is_emptied), "{damaged}");
        service.process.signal("KILL");
        tokio::task::spawn_blocking(move || service.process.wait()).await.unwrap();
        let database = Database::new().await;
        let service = start(&database.url(), spool.path(), &[]).await;
        let process = wait(service.process, "the spool is empty again").await;
        let rows = bookings(&database).await;
        assert_eq!(rows.len(), 203 - damaged as usize);
        assert_eq!(rows.iter().filter(|row| row["b"].as_str().unwrap().starts_with('C')).count(), 3);
        drop(process);
    }
}
