//! A machine whose clock is wrong, or is set while the service runs (libfaketime, Debian's package `faketime`).

use std::{fs, path::PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, PROVIDERS, Service, provider, settings};

/// What stands between a process and the clock of the machine; nothing where it is not installed.
pub fn library() -> Option<PathBuf> {
    let mut directories: Vec<_> = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path()).collect();
    directories.push("/usr/local/lib".into());
    directories.into_iter().map(|directory| directory.join("faketime/libfaketime.so.1")).find(|file| file.exists())
}

/// A service whose clock can be set.
struct Machine {
    database: Database,
    /// The spool, and the file that says what the clock shows.
    directory: TempDir,
    library: PathBuf,
}

impl Machine {
    /// `None` where no clock can be set, which is said.
    async fn new() -> Option<Self> {
        let Some(library) = library() else {
            println!("SKIPPED: libfaketime is not installed (Debian: apt-get install faketime)");
            return None;
        };
        let machine = Self { database: Database::new().await, directory: TempDir::new().unwrap(), library };
        machine.set("+0");
        Some(machine)
    }

    /// An offset (`-3600s`) or a time (`@2026-01-01 00:00:00`).
    fn set(&self, clock: &str) {
        let file = self.directory.path().join("clock");
        fs::write(file.with_extension("new"), clock).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
    }

    fn command(&self) -> Command {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let mut variables = settings(&self.database.url());
        for (name, value) in [
            ("TICKET_WEBHOOKS__SPOOL__DIRECTORY", path("spool")),
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", path("clock")),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ] {
            variables.push((name.to_owned(), value));
        }
        Command::new(&["serve"]).envs(&variables)
    }

    async fn start(&self) -> Service {
        let command = self.command();
        spawn_blocking(move || Service::over(command.start())).await.unwrap()
    }

    async fn wait_until_drained(&self, service: Service) -> Service {
        let drained = spawn_blocking(move || {
            service.process.line("the spool is empty again");
            service
        });
        drained.await.unwrap()
    }
}

async fn post(service: &Service, status: &str) {
    let mut delivery = (provider("booking_callback").delivery)("main", "B1");
    delivery["Status"] = json!(status);
    assert_eq!(service.post(provider("booking_callback"), delivery.to_string()).await.status, 200);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_late() {
    let Some(machine) = Machine::new().await else { return };
    let service = machine.start().await;
    post(&service, "Pending").await;
    machine.database.execute("alter table ticket_events rename to away").await;
    machine.set("-3600s");
    post(&service, "Success").await;
    // nor does a restart, as long as something is in the spool
    drop(service);
    machine.set("-7200s");
    let service = machine.start().await;
    post(&service, "Failed").await;
    machine.set("-10800s");
    post(&service, "Aborted").await;
    machine.database.execute("alter table away rename to ticket_events").await;
    let service = machine.wait_until_drained(service).await;
    post(&service, "Pending").await;
    let query = "select status, late, received_at < lag(received_at) over (order by revision) as runs_back \
                 from ticket_events order by revision";
    let rows = machine.database.rows(query).await;
    let statuses: Vec<_> = rows.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["pending", "ticketed", "failed", "aborted", "pending"]);
    assert!(rows.iter().all(|row| row["late"] == false && row["runs_back"] != true), "{rows:#?}");
}

#[tokio::test]
async fn a_clock_far_in_the_future_stops_nothing() {
    let Some(machine) = Machine::new().await else { return };
    for clock in ["@2262-04-12 00:00:00", "@9998-12-31 00:00:00", "@1970-01-01 12:00:00"] {
        machine.set(clock);
        let service = machine.start().await;
        for provider in &PROVIDERS {
            let answer = service.post(provider, (provider.delivery)("main", clock).to_string()).await;
            assert_eq!(answer.status, 200, "{clock}");
        }
        assert!(!service.stop().await.contains("panicked"));
    }
    let received = "select distinct extract(year from received_at)::int as year from ticket_events order by 1";
    let years: Vec<_> = machine.database.rows(received).await.into_iter().map(|row| row["year"].clone()).collect();
    assert_eq!(years, [json!(1970), json!(2262), json!(9998)]);
}

#[tokio::test]
async fn a_time_that_http_has_no_word_for_is_an_error_at_the_start_and_a_refusal_later() {
    let Some(machine) = Machine::new().await else { return };
    let service = machine.start().await;
    let order = provider("order_ticketed");
    assert_eq!(service.post(order, (order.delivery)("main", "B1").to_string()).await.status, 200);
    machine.set("@1969-06-01 00:00:00");
    let answer = service.request("POST", order.path).body((order.delivery)("main", "B2").to_string()).send().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 503));
    let command = machine.command();
    let (code, _, errors) = spawn_blocking(move || command.run()).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.contains("the clock of this machine shows a time before 1970 or after 9999"), "{errors}");
    machine.set("+0");
    assert_eq!(service.post(order, (order.delivery)("main", "B3").to_string()).await.status, 200);
    assert!(!service.stop().await.contains("panicked"));
}
