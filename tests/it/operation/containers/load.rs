//! The providers: many connections to the load balancer, a steady load, and nothing that is sent twice.
//!
//! Half of what they say is about new bookings, half is the next revision of a booking. Two of three keep their
//! connection, the third makes a new one for each delivery.

use std::{
    fs, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{runtime::Runtime, task::JoinSet, time::sleep};

use super::ledger::{Outcome, Sent};
use crate::support::{Chance, connection::Connection, provider};

/// As many as a load balancer has of busy providers.
pub const CLIENTS: u32 = 96;

/// A provider thinks for less than this before its next delivery, in microseconds.
const THOUGHT: u64 = 400_000;

/// Revisions of one booking.
const REVISIONS: u32 = 20;

/// For what takes a moment while all is well.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Shared {
    acknowledged: AtomicU64,
    is_over: AtomicBool,
}

pub struct Load {
    runtime: Runtime,
    clients: JoinSet<Vec<Sent>>,
    shared: Arc<Shared>,
}

impl Load {
    /// Starts the clients of a scenario.
    pub fn start(scenario: u32, address: SocketAddr, count: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (shared, mut clients) = (Arc::<Shared>::default(), JoinSet::new());
        for number in 0..count {
            let client = Client {
                name: format!("{scenario}-{number}"),
                keeps_connection: !number.is_multiple_of(3),
                chance: Chance::of(u64::from(scenario * CLIENTS + number)),
                connection: None,
                address,
                shared: Arc::clone(&shared),
            };
            clients.spawn_on(client.run(), runtime.handle());
        }
        Self { runtime, clients, shared }
    }

    /// Waits until so many more deliveries are acknowledged.
    pub fn acknowledges(&self, more: u64) {
        let count = || self.shared.acknowledged.load(Ordering::Relaxed);
        let (before, deadline) = (count(), Instant::now() + TIMEOUT);
        while count() < before + more {
            assert!(Instant::now() < deadline, "{} of {more} deliveries were acknowledged", count() - before);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the clients. What they sent.
    pub fn finish(self) -> Vec<Sent> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.runtime.block_on(self.clients.join_all()).into_iter().flatten().collect()
    }
}

struct Client {
    name: String,
    keeps_connection: bool,
    chance: Chance,
    connection: Option<Connection>,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Client {
    async fn run(mut self) -> Vec<Sent> {
        let (mut sent, mut revisions): (Vec<Sent>, u32) = (Vec::new(), 0);
        while !self.shared.is_over.load(Ordering::Relaxed) {
            sleep(Duration::from_micros(self.chance.between(0, THOUGHT))).await;
            let (name, booking, says) = if self.chance.one_in(2) {
                revisions += 1;
                let (booking, says) = ((revisions - 1) / REVISIONS, (revisions - 1) % REVISIONS);
                ("booking_callback", format!("{}-revised-{booking}", self.name), says)
            } else {
                let names = ["ticket_status_update", "booking_callback", "order_ticketed"];
                (self.chance.one_of(&names), format!("{}-{}", self.name, sent.len()), 0)
            };
            let began = Instant::now();
            let outcome = match self.deliver(&request(name, &booking, says)).await {
                Ok(200) => Outcome::Acknowledged,
                Ok(status) => Outcome::Refused(status),
                Err(_) => Outcome::Broken,
            };
            if outcome == Outcome::Acknowledged {
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            sent.push(Sent { booking, says, outcome, took: began.elapsed() });
        }
        sent
    }

    /// The status of the answer.
    async fn deliver(&mut self, request: &str) -> io::Result<u16> {
        let kept = self.connection.take().filter(|connection| !connection.is_closed());
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::to(self.address).await?,
        };
        let answer = connection.exchange(request).await?;
        if self.keeps_connection {
            self.connection = Some(connection);
        }
        Ok(answer.status)
    }
}

/// A delivery with the demo credentials, to the paths of config/example.toml.
fn request(name: &str, booking: &str, says: u32) -> String {
    let mut delivery = (provider(name).delivery)("main", booking);
    let (path, authorization) = match name {
        "ticket_status_update" => {
            let key = demo_secret("ticket-status-update-api-key");
            ("ticket-status-update", format!("authorization: Bearer {key}\r\n"))
        }
        "booking_callback" => {
            delivery["ClientId"] = "10001".into();
            delivery["UserName"] = "agency".into();
            delivery["Password"] = demo_secret("booking-callback-password").into();
            delivery["Remark"] = says.to_string().into();
            delivery["Status"] = ["Pending", "Success", "Failed"][says as usize % 3].into();
            ("booking-callback", String::new())
        }
        _ => {
            delivery["cid"] = Value::from(demo_secret("order-ticketed-cid"));
            ("order-ticketed-replace-me-by-something-unguessable", String::new())
        }
    };
    let body = delivery.to_string();
    format!("POST /webhooks/{path} HTTP/1.1\r\nhost: x\r\n{authorization}content-length: {}\r\n\r\n{body}", body.len())
}

fn demo_secret(name: &str) -> String {
    let path = format!("{}/ops/demo-secrets/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap().trim().to_owned()
}
