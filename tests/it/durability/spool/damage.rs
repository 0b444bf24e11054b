//! Whatever byte of the file is hit: what comes out is what went in, in order, and everything that was not hit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;
use ticket_webhooks::{
    delivery::{Delivery, Reason, UnprocessedDelivery},
    spool::{Spool, Spools, record},
    ticket_event::Environment,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{NOWHERE, bookings, post, start, wait};
use crate::support::{Database, Scrape};

const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The file of live deliveries.
fn file_in(directory: &Path) -> PathBuf {
    let [live, _] = Spools::paths_in(directory);
    live
}

fn delivery(number: u64) -> Delivery {
    Delivery::Unprocessed(UnprocessedDelivery {
        id: Uuid::from_u128(number.into()),
        provider: "order_ticketed".to_owned(),
        account: "main".into(),
        environment: Environment::Live,
        reason: Reason::Malformed,
        detail: format!("number {number}"),
        booking_ref: None,
        body: format!("<body of {number}>").repeat(9).into_bytes(),
        received_at: OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(number as i64),
    })
}

/// The numbers of deliveries that come out; what is none of those that went in is a failure.
async fn drain(spool: &Spool) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(batch) = spool.read(3, usize::MAX).await.unwrap() {
        for found in &batch.deliveries {
            let Delivery::Unprocessed(unprocessed) = found else { panic!("{found:?}") };
            let number = u64::try_from(unprocessed.id.as_u128()).unwrap();
            assert_eq!(format!("{found:?}"), format!("{:?}", delivery(number)));
            numbers.push(number);
        }
        spool.remove(batch).await.unwrap();
    }
    assert_eq!((spool.records(), spool.bytes()), (0, 0));
    numbers
}

async fn filled(directory: &Path, numbers: std::ops::Range<u64>) -> Spool {
    let spool = Spool::open(directory, MAX_BYTES).unwrap();
    for number in numbers {
        spool.append(&[delivery(number)]).await.unwrap();
    }
    spool
}

/// Where a delivery's own bytes lie in a file, frames included.
fn places(file: &[u8], number: u64) -> Vec<std::ops::Range<usize>> {
    let record = record::encode(&delivery(number));
    let finds = memchr::memmem::find_iter(file, &record);
    finds.map(|at| at.saturating_sub(40)..at + record.len()).collect()
}

fn aside(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.display().to_string().contains("damaged")).collect()
}

/// A disk in memory where there is one: the sweep syncs thousands of times.
fn quick_directory() -> TempDir {
    if Path::new("/dev/shm").is_dir() { TempDir::new_in("/dev/shm").unwrap() } else { TempDir::new().unwrap() }
}

#[tokio::test]
async fn whatever_byte_is_hit_only_the_record_that_it_belongs_to_may_be_missing() {
    let parent = quick_directory();
    let whole = parent.path().join("whole");
    let spool = Spool::open(&whole, MAX_BYTES).unwrap();
    // at once, so that there is no other copy of them in free pages
    spool.append(&(1..8).map(delivery).collect::<Vec<_>>()).await.unwrap();
    // some are drained, and lie in free pages
    let batch = spool.read(2, usize::MAX).await.unwrap().unwrap();
    spool.remove(batch).await.unwrap();
    drop(spool);
    let file = fs::read(file_in(&whole)).unwrap();
    let hit_directory = parent.path().join("hit");
    let (mut tried, mut set_aside, mut missing_once) = (0, 0, 0);
    let expected: Vec<u64> = (3..8).collect();
    let used: Vec<usize> = (0..file.len()).filter(|at| *at < 320 || file[*at] != 0).collect();
    // every byte of the header; of the rest as many as a test has time for
    let records: Vec<_> = (3..8).flat_map(|number| places(&file, number)).collect();
    let stride = |at: &usize| match at {
        0..320 => 1,
        at if records.iter().any(|record| record.contains(at)) => 29,
        _ => used.len() / 200,
    };
    for (index, at) in used.iter().enumerate().filter(|(index, at)| index % stride(at) == 0) {
        let mut hit = file.clone();
        hit[*at] ^= 1 << (index % 8);
        let _ = fs::remove_dir_all(&hit_directory);
        fs::create_dir(&hit_directory).unwrap();
        fs::write(file_in(&hit_directory), &hit).unwrap();
        let spool = Spool::open(&hit_directory, MAX_BYTES).unwrap();
        let was_set_aside = spool.files_set_aside();
        let damaged = spool.records_damaged();
        let out = drain(&spool).await;
        let lost: Vec<_> = expected.iter().filter(|number| !out.contains(number)).collect();
        for number in &lost {
            let is_hit = places(&file, **number).iter().any(|place| place.contains(at));
            assert!(is_hit, "byte {at}: {number} is missing and was not hit: {out:?}");
        }
        assert!(lost.len() <= 1, "byte {at}: {lost:?}");
        assert!(lost.is_empty() || was_set_aside == 1, "byte {at}: nobody is told");
        // the tail alone may be lost without a trace in the frames, and the file is set aside all the same
        assert!(damaged >= lost.iter().filter(|number| ***number < 7).count() as u64, "byte {at}: {damaged} damaged");
        let live: Vec<_> = out.iter().copied().filter(|number| *number > 2).collect();
        assert!(out.is_sorted() && live.len() + lost.len() == expected.len(), "byte {at}: {out:?}");
        (tried, set_aside, missing_once) = (tried + 1, set_aside + was_set_aside, missing_once + lost.len());
    }
    println!("{tried} bytes hit, {set_aside} files set aside, {missing_once} times a record that was hit missing");
    assert!(set_aside > 50 && missing_once > 5);
}

/// The file as `kill -9` would leave it now, in a directory of its own with these changes.
fn killed(directory: &Path, change: impl Fn(&mut Vec<u8>)) -> TempDir {
    let (mut file, killed) = (fs::read(file_in(directory)).unwrap(), quick_directory());
    change(&mut file);
    fs::write(file_in(killed.path()), file).unwrap();
    killed
}

/// Flips a bit in the middle of a delivery, wherever in the file it is.
fn hit(file: &mut [u8], number: u64) {
    let places = places(file, number);
    assert!(!places.is_empty(), "{number} is in it");
    places.into_iter().for_each(|place| file[place.end - 20] ^= 4);
}

#[tokio::test]
async fn damage_in_the_last_commit_before_a_kill_is_counted_and_not_taken_for_a_batch_never_acknowledged() {
    let numbers = |from: u64, to: u64| (from..to).map(delivery).collect::<Vec<_>>();
    for (before, batch, damaged) in [
        (0, 68, vec![5, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59]),
        (0, 1, vec![0]),
        (3, 4, vec![3]),
        (3, 20, vec![10]),
        (3, 20, vec![22]),
        (40, 1, vec![40]),
        (40, 100, vec![70, 71, 139]),
    ] {
        let directory = quick_directory();
        let spool = filled(directory.path(), 0..before).await;
        spool.append(&numbers(before, before + batch)).await.unwrap();
        let flip = |file: &mut Vec<u8>| damaged.iter().for_each(|number| hit(file, *number));
        let header = |file: &mut Vec<u8>| (64..320).for_each(|at| file[at] ^= u8::from(at % 128 == 73));
        let last_slot = |file: &mut Vec<u8>| {
            let last = usize::from(file[9] & 1);
            file[64 + 128 * last + 20] ^= 1;
        };
        for (what, killed, lost) in [
            ("nothing", killed(directory.path(), |_| ()), 0),
            ("records", killed(directory.path(), flip), damaged.len()),
            ("both slots", killed(directory.path(), header), 0),
            ("the last slot", killed(directory.path(), last_slot), 0),
            (
                "records and the last slot",
                killed(directory.path(), |file| (flip(file), last_slot(file)).0),
                damaged.len(),
            ),
        ] {
            let case = format!("{before} and {batch}, hit: {what}");
            let spool = Spool::open(killed.path(), MAX_BYTES).unwrap();
            let expected: Vec<_> =
                (0..before + batch).filter(|number| lost == 0 || !damaged.contains(number)).collect();
            let counted = (spool.records_damaged(), spool.files_set_aside(), spool.files_aside());
            let is_hit = u64::from(what != "nothing");
            assert_eq!((counted, drain(&spool).await), ((lost as u64, is_hit, is_hit), expected), "{case}");
        }
    }
}

#[tokio::test]
async fn damage_in_a_file_made_anew_is_counted_after_a_kill_and_the_file_set_aside_as_it_was() {
    let directory = quick_directory();
    let spool = filled(directory.path(), 0..68).await;
    fs::remove_file(file_in(directory.path())).unwrap();
    assert_eq!((spool.oldest().await.unwrap().is_some(), spool.files_replaced()), (true, 1));
    let killed = killed(directory.path(), |file| [5, 50, 59].iter().for_each(|number| hit(file, *number)));
    let found = fs::read(file_in(killed.path())).unwrap();
    let spool = Spool::open(killed.path(), MAX_BYTES).unwrap();
    assert_eq!((spool.records_damaged(), spool.files_set_aside(), spool.files_aside()), (3, 1, 1));
    // also a start that is killed before it has replaced the file leaves the damage to be found
    assert!(fs::read(&aside(killed.path())[0]).unwrap() == found);
    assert_eq!(drain(&spool).await, (0..68).filter(|number| ![5, 50, 59].contains(number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_commit_is_no_damage() {
    let directory = TempDir::new().unwrap();
    for round in 0..8 {
        let mut service = start(NOWHERE, directory.path(), &[]).await;
        let aside = Scrape::of(&service).await.get("ticket_webhooks_spool_files_aside", &[("environment", "live")]);
        assert_eq!(aside, 0.0, "round {round}: {}", service.process.output());
        let posts = async {
            for number in 0.. {
                let [a, b, c, d] = std::array::from_fn(|client| format!("B{round}-{number}-{client}"));
                tokio::join!(post(&service, &a), post(&service, &b), post(&service, &c), post(&service, &d));
            }
        };
        let kill = tokio::time::sleep(std::time::Duration::from_millis(40 + round * 13));
        tokio::select! { () = posts => {} () = kill => {} }
        service.process.signal("KILL");
        tokio::task::spawn_blocking(move || service.process.wait()).await.unwrap();
    }
}

#[tokio::test]
async fn a_bit_that_flips_under_the_process_writes_nothing_wrong_and_blocks_nothing() {
    let directory = TempDir::new().unwrap();
    let spool = Spool::open(directory.path(), MAX_BYTES).unwrap();
    // more than the cache holds, so that it is read from the disk
    let large = |number: u64| {
        let Delivery::Unprocessed(mut delivery) = delivery(number) else { unreachable!() };
        delivery.body = vec![b'a' + (number % 20) as u8; 200_000];
        Delivery::Unprocessed(delivery)
    };
    for number in 1..=100 {
        spool.append(&[large(number)]).await.unwrap();
    }
    let path = file_in(directory.path());
    let mut file = fs::read(&path).unwrap();
    let record = record::encode(&large(5));
    let copies: Vec<_> = memchr::memmem::find_iter(&file, &record).collect();
    for at in copies {
        file[at + 1000] ^= 4;
    }
    // in place, as a disk does it
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut open| std::io::Write::write_all(&mut open, &file))
        .unwrap();
    let mut numbers = Vec::new();
    while let Some(batch) = spool.read(10, usize::MAX).await.unwrap() {
        for found in &batch.deliveries {
            let Delivery::Unprocessed(unprocessed) = found else { panic!("{found:?}") };
            let number = u64::try_from(unprocessed.id.as_u128()).unwrap();
            assert_eq!(format!("{found:?}"), format!("{:?}", large(number)));
            numbers.push(number);
        }
        spool.remove(batch).await.unwrap();
    }
    assert_eq!(numbers, (1..=100).filter(|number| *number != 5).collect::<Vec<_>>());
    assert_eq!((spool.files_set_aside(), spool.records_damaged(), spool.files_aside()), (1, 1, 1));
    assert_eq!(spool.append(&[delivery(200)]).await.map_err(|error| error.to_string()), Ok(()));
    assert_eq!(drain(&spool).await, [200]);
}

#[tokio::test]
async fn a_file_cut_short_gives_what_is_left_and_one_of_another_kind_nothing() {
    let directory = TempDir::new().unwrap();
    drop(filled(directory.path(), 1..300).await);
    let path = file_in(directory.path());
    let bytes = fs::read(&path).unwrap();
    let newest = places(&bytes, 299)[0].end;
    fs::write(&path, &bytes[..newest - 10]).unwrap();
    let spool = Spool::open(directory.path(), MAX_BYTES).unwrap();
    let out = drain(&spool).await;
    assert!(out.is_sorted() && out.len() > 100 && spool.files_set_aside() == 1, "{out:?}");
    drop(spool);
    fs::write(&path, "this is no spool").unwrap();
    let spool = filled(directory.path(), 1..3).await;
    assert_eq!((drain(&spool).await, spool.files_set_aside(), aside(directory.path()).len()), (vec![1, 2], 1, 2));
}

#[tokio::test]
async fn times_of_receipt_go_on_behind_what_was_saved() {
    let directory = TempDir::new().unwrap();
    drop(filled(directory.path(), 1..30).await);
    let path = file_in(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let spool = Spool::open(directory.path(), MAX_BYTES).unwrap();
    assert_eq!(spool.newest_at_open(), Some(OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(29)));
    assert_eq!(drain(&spool).await, (1..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_flipped_bit_costs_a_service_one_delivery_at_most_and_is_told() {
    let directory = TempDir::new().unwrap();
    let service = start(NOWHERE, directory.path(), &[]).await;
    for number in 0..50 {
        assert_eq!(post(&service, &format!("B{number:02}")).await.status, 200);
    }
    service.stop().await;
    let path = directory.path().join("deliveries.redb");
    let mut bytes = fs::read(&path).unwrap();
    let copies: Vec<_> = memchr::memmem::find_iter(&bytes, b"\"orderNo\":\"B07\"").collect();
    assert!(!copies.is_empty(), "the booking is in it");
    copies.into_iter().for_each(|at| bytes[at + 12] ^= 1);
    fs::write(&path, &bytes).unwrap();
    let database = Database::new().await;
    let service = start(&database.url(), directory.path(), &[]).await;
    let scrape = Scrape::of(&service).await;
    for (name, value) in [
        ("files_set_aside_total", 1.0),
        ("records_damaged_total", 1.0),
        ("files_aside", 1.0),
        ("files_replaced_total", 0.0),
    ] {
        assert_eq!(scrape.get(&format!("ticket_webhooks_spool_{name}"), &[("environment", "live")]), value, "{name}");
    }
    let log = service.process.output();
    assert!(log.contains("is set aside") && log.contains("\"saved\":49") && log.contains("\"lost\":1"), "{log}");
    let process = wait(service.process, "the spool is empty again").await;
    let rows = bookings(&database).await;
    let expected: Vec<_> = (0..50)
        .filter(|number| *number != 7)
        .map(|number| json!({"b": format!("B{number:02}"), "r": 1, "d": 1}))
        .collect();
    assert_eq!(rows, expected);
    drop(process);
}

#[tokio::test]
async fn a_large_file_is_emptied_when_it_is_drained_and_goes_on() {
    let directory = TempDir::new().unwrap();
    let spool = Spool::open(directory.path(), MAX_BYTES).unwrap();
    let Delivery::Unprocessed(mut large) = delivery(1) else { unreachable!() };
    large.body = vec![b'a'; 1_000_000];
    let length = || fs::metadata(file_in(directory.path())).unwrap().len();
    for _ in 0..2 {
        for _ in 0..20 {
            spool.append(&[Delivery::Unprocessed(large.clone())]).await.unwrap();
        }
        assert!(length() > 16 * 1024 * 1024);
        while let Some(batch) = spool.read(7, usize::MAX).await.unwrap() {
            spool.remove(batch).await.unwrap();
        }
        assert!(length() < 4 * 1024 * 1024, "{}", length());
        assert_eq!((spool.records(), spool.bytes(), spool.has_room().await), (0, 0, true));
    }
    spool.append(&[delivery(3)]).await.unwrap();
    drop(spool);
    let spool = Spool::open(directory.path(), MAX_BYTES).unwrap();
    assert_eq!(drain(&spool).await, [3]);
    assert_eq!((spool.files_set_aside(), spool.files_replaced(), spool.records_damaged()), (0, 0, 0));
}
