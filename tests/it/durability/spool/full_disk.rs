//! A disk without space: what the spool has is drained all the same, and nobody is told that it takes more.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use super::{NOWHERE, start};
use crate::support::{Answer, Command, Server, Service, provider};

/// A small disk, which outlives the services over it.
struct Disk {
    holder: Child,
    path: PathBuf,
    _mountpoint: TempDir,
}

impl Disk {
    /// `None`: none can be mounted on this machine.
    fn new(size: &str) -> Option<Self> {
        if !Command::can_mount() {
            return None;
        }
        let mountpoint = TempDir::new().unwrap();
        let script = r#"mount -t tmpfs -o size="$1" none "$0" && echo mounted && exec sleep 3600"#;
        let mut command = process::Command::new("unshare");
        command.arg("--mount");
        if !rustix::process::getuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["sh", "-c", script]).arg(mountpoint.path()).arg(size).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n");
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let path = root.join(mountpoint.path().strip_prefix("/").unwrap());
        Some(Self { holder, path, _mountpoint: mountpoint })
    }

    /// Takes what is left of it.
    fn fill(&self) -> PathBuf {
        let filler = self.path.join("filler");
        let full = fs::write(&filler, vec![0; 32 * 1024 * 1024]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A delivery of 3 KB.
fn body(booking: &str) -> String {
    let mut delivery = (provider("booking_callback").delivery)("main", booking);
    delivery["Remark"] = json!(booking.repeat(3000 / booking.len()));
    delivery.to_string()
}

async fn post(service: &Service, booking: &str) -> u16 {
    service.post(provider("booking_callback"), body(booking)).await.status
}

async fn ready(service: &Service) -> u16 {
    Answer::of(service.request("GET", "/readyz")).await.status
}

/// Delivers on many connections until nothing is taken any more; the bookings that were acknowledged.
async fn fill_by_deliveries(service: &Service) -> Vec<String> {
    let (mut acknowledged, mut refused_rounds, mut number) = (Vec::new(), 0, 0);
    while refused_rounds < 20 {
        let before = acknowledged.len();
        let mut posts = JoinSet::new();
        for _ in 0..16 {
            number += 1;
            let booking = format!("B{number:05}");
            let request = service.request("POST", provider("booking_callback").path).body(body(&booking));
            posts.spawn(async move { (request.send().await.unwrap().status().as_u16(), booking) });
        }
        for (status, booking) in posts.join_all().await {
            match status {
                200 => acknowledged.push(booking),
                503 => {}
                _ => panic!("{status}"),
            }
        }
        refused_rounds = if acknowledged.len() > before { 0 } else { refused_rounds + 1 };
        assert!(number < 10_000, "it never fills");
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    acknowledged
}

async fn stopped_server() -> Server {
    let mut server = Server::start(true).await;
    server.signal("QUIT");
    server.gone().await;
    server
}

async fn assert_recorded(server: &Server, bookings: &[String]) {
    let recorded: Vec<String> =
        sqlx::query_scalar("select booking_ref from ticket_events").fetch_all(&server.pool()).await.unwrap();
    let missing: Vec<_> = bookings.iter().filter(|booking| !recorded.contains(booking)).collect();
    assert!(missing.is_empty(), "{missing:?} of {}", bookings.len());
}

async fn drained(service: Service) -> Service {
    let printed = service.process.printed();
    spawn_blocking(move || printed.line("the spool is empty again")).await.unwrap();
    service
}

#[tokio::test]
async fn a_spool_that_fills_its_disk_is_drained_and_takes_deliveries_again() {
    let Some(disk) = Disk::new("6m") else { return };
    let mut server = stopped_server().await;
    let service = start(server.url(), &disk.path, &[]).await;
    let mut acknowledged = fill_by_deliveries(&service).await;
    server.start_again().await;
    let service = drained(service).await;
    assert_recorded(&server, &acknowledged).await;
    assert_eq!(post(&service, "C1").await, 200);
    acknowledged.push("C1".to_owned());
    assert_recorded(&server, &acknowledged).await;
    // its disk is free again
    server.signal("QUIT");
    server.gone().await;
    for number in 0..20 {
        assert_eq!(post(&service, &format!("D{number}")).await, 200);
    }
    service.stop().await;
}

#[tokio::test]
async fn a_spool_that_fills_its_disk_is_opened_and_drained_by_the_next_process() {
    for is_filled_by_others in [false, true] {
        let Some(disk) = Disk::new("6m") else { return };
        let mut server = stopped_server().await;
        let mut service = start(server.url(), &disk.path, &[]).await;
        let acknowledged = fill_by_deliveries(&service).await;
        service.process.signal("KILL");
        spawn_blocking(move || service.process.wait()).await.unwrap();
        if is_filled_by_others {
            disk.fill();
        }
        let service = start(server.url(), &disk.path, &[]).await;
        assert_eq!(ready(&service).await, 503);
        server.start_again().await;
        let service = drained(service).await;
        assert_recorded(&server, &acknowledged).await;
        service.stop().await;
        let service = start(server.url(), &disk.path, &[]).await;
        assert!(service.process.line("the spool is open").contains("\"records\":0"));
    }
}

#[tokio::test]
async fn a_disk_that_others_fill_keeps_nothing_from_postgres() {
    let Some(disk) = Disk::new("6m") else { return };
    let mut server = stopped_server().await;
    let service = start(server.url(), &disk.path, &[]).await;
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 300 {
        let booking = format!("B{}", acknowledged.len());
        assert_eq!(post(&service, &booking).await, 200);
        acknowledged.push(booking);
    }
    disk.fill();
    while post(&service, "C1").await == 200 {}
    assert_eq!(ready(&service).await, 503);
    server.start_again().await;
    let service = drained(service).await;
    // the space that the spool gave back, too
    disk.fill();
    while ready(&service).await != 200 {
        sleep(Duration::from_millis(20)).await;
    }
    for number in 0..20 {
        let booking = format!("D{number}");
        assert_eq!(post(&service, &booking).await, 200);
        acknowledged.push(booking);
    }
    assert_recorded(&server, &acknowledged).await;
    service.stop().await;
}

#[tokio::test]
async fn a_file_that_is_deleted_from_a_full_disk_is_drained_too() {
    let Some(disk) = Disk::new("6m") else { return };
    let mut server = stopped_server().await;
    let service = start(server.url(), &disk.path, &[]).await;
    let acknowledged = fill_by_deliveries(&service).await;
    fs::remove_file(disk.path.join("deliveries.redb")).unwrap();
    server.start_again().await;
    let service = drained(service).await;
    assert_recorded(&server, &acknowledged).await;
    assert_eq!(post(&service, "C1").await, 200);
    service.stop().await;
}

/// Delivers one by one; before each the service is asked whether it is ready. Whether all were refused.
async fn compare_with_readiness(service: &Service, posts: std::ops::Range<u32>) -> bool {
    let mut is_any_taken = false;
    for number in posts {
        let is_ready = ready(service).await == 200;
        let is_taken = post(service, &format!("B{number:05}")).await == 200;
        assert!(is_taken || !is_ready, "{number} was refused, and the service was ready");
        is_any_taken |= is_taken;
    }
    !is_any_taken
}

#[tokio::test]
async fn nobody_is_told_that_the_service_is_ready_while_a_full_disk_refuses() {
    let Some(disk) = Disk::new("6m") else { return };
    let service = start(NOWHERE, &disk.path, &[]).await;
    let mut number = 0;
    while !compare_with_readiness(&service, number..number + 10).await {
        number += 10;
        assert!(number < 3000, "it never fills");
    }
    // after pauses, too
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        assert!(compare_with_readiness(&service, number..number + 2).await, "it refuses and takes by turns");
        sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(ready(&service).await, 503);
    service.stop().await;
}

#[tokio::test]
async fn the_service_is_ready_again_when_others_leave_the_disk() {
    let Some(disk) = Disk::new("6m") else { return };
    let service = start(NOWHERE, &disk.path, &[]).await;
    assert_eq!((ready(&service).await, post(&service, "A1").await), (200, 200));
    let filler = disk.fill();
    assert_eq!(ready(&service).await, 503);
    while post(&service, "A2").await == 200 {}
    assert_eq!(ready(&service).await, 503);
    fs::remove_file(filler).unwrap();
    let began = Instant::now();
    while ready(&service).await != 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "it never gets ready");
        sleep(Duration::from_millis(20)).await;
    }
    for number in 0..20 {
        assert_eq!(post(&service, &format!("B{number}")).await, 200);
    }
    assert!(Path::new(&disk.path).join("deliveries.redb").exists());
    service.stop().await;
}
