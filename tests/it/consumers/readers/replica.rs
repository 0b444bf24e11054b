//! A replica with a spool of its own, which can be killed and started again.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::{sync::RwLock, task::spawn_blocking, time::sleep};

use super::TIMEOUT;
use crate::support::{ADMIN_TOKEN, Command, Scrape, Service, settings};

pub struct Replica {
    spool: TempDir,
    service: RwLock<Service>,
}

impl Replica {
    pub async fn start(database_url: &str) -> Self {
        let spool = TempDir::new().unwrap();
        let service = RwLock::new(serve(database_url, &spool).await);
        Self { spool, service }
    }

    pub async fn public(&self) -> String {
        self.service.read().await.public.clone()
    }

    pub async fn admin(&self) -> String {
        self.service.read().await.admin.clone()
    }

    /// `kill -9`.
    pub async fn kill_and_start(&self, database_url: &str) {
        let mut service = self.service.write().await;
        service.process.signal("KILL");
        service.process.wait();
        *service = serve(database_url, &self.spool).await;
    }

    /// Waits until its spool is empty.
    pub async fn drained(&self) {
        let deadline = Instant::now() + TIMEOUT;
        let service = self.service.read().await;
        while Scrape::of(&service).await.get("ticket_webhooks_spool_records", &[("environment", "live")]) > 0.0 {
            assert!(Instant::now() < deadline, "the spool is not drained");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(database_url: &str, spool: &TempDir) -> Service {
    let mut settings = settings(database_url);
    for (name, value) in [
        ("TICKET_WEBHOOKS__ADMIN__TOKEN", ADMIN_TOKEN),
        ("TICKET_WEBHOOKS__SPOOL__DIRECTORY", spool.path().to_str().unwrap()),
        ("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "300"),
        ("RUST_LOG", "warn,ticket_webhooks::cli=info"),
    ] {
        settings.push((name.to_owned(), value.to_owned()));
    }
    let command = Command::new(&["serve"]).envs(&settings);
    spawn_blocking(move || Service::over(command.start())).await.unwrap()
}
