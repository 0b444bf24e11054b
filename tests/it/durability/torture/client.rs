//! One client: new bookings of every provider, and between them one booking after the other whose revisions it sends
//! in order, some of them again. It goes on to the next revision whether or not the last was taken.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{ledger::Sent, load::Counts};
use crate::support::{
    Chance,
    connection::{Connection, Outcome, body},
};

/// Revisions of one booking.
const REVISIONS: u32 = 30;

/// A provider thinks for less than this before its next delivery, in microseconds.
const THOUGHT: u64 = 12_000;

pub struct Client {
    /// What its bookings begin with.
    pub name: String,
    pub chance: Chance,
    /// Where the service is, or was.
    pub address: watch::Receiver<SocketAddr>,
    pub counts: Arc<Counts>,
    pub stop: CancellationToken,
}

impl Client {
    /// Delivers until it is told to stop. What it sent, in that order.
    pub async fn run(mut self) -> Vec<Sent> {
        let (mut sent, mut revisions, mut connection): (Vec<Sent>, u32, Option<Connection>) = (Vec::new(), 0, None);
        // where the last revision is
        let mut last = None;
        while !self.stop.is_cancelled() {
            let again = last.filter(|_| self.chance.one_in(8));
            let position = again.unwrap_or_else(|| {
                let is_revision = self.chance.one_in(2);
                sent.push(if is_revision {
                    revisions += 1;
                    last = Some(sent.len());
                    let (booking, says) = ((revisions - 1) / REVISIONS, (revisions - 1) % REVISIONS);
                    Sent::new("booking_callback", format!("{}-revised-{booking}", self.name), says)
                } else {
                    let names = ["ticket_status_update", "booking_callback", "order_ticketed"];
                    Sent::new(self.chance.one_of(&names), format!("{}-{}", self.name, sent.len()), 0)
                });
                sent.len() - 1
            });
            loop {
                let Some(outcome) = self.deliver(&mut connection, &sent[position]).await else { break };
                sent[position].count(outcome);
                self.counts.of(outcome).fetch_add(1, Ordering::Relaxed);
                // some providers try again, some do not
                if outcome == Outcome::Acknowledged || self.chance.one_in(2) || self.stop.is_cancelled() {
                    break;
                }
            }
            sleep(Duration::from_micros(self.chance.between(0, THOUGHT))).await;
        }
        sent
    }

    /// `None` when it was told to stop before it could send.
    async fn deliver(&mut self, slot: &mut Option<Connection>, sent: &Sent) -> Option<Outcome> {
        let mut connection = loop {
            if let Some(connection) = slot.take().filter(|connection| !connection.is_closed()) {
                break connection;
            }
            let address = *self.address.borrow_and_update();
            match Connection::to(address).await {
                Ok(connection) => break connection,
                // gone: until it is somewhere else
                Err(_) => self.stop.run_until_cancelled(self.address.changed()).await?.unwrap(),
            }
        };
        let (provider, body) = body(sent.provider, &sent.booking, sent.says);
        let outcome = connection.deliver(provider, &body).await;
        if outcome != Outcome::InDoubt {
            *slot = Some(connection);
        }
        Some(outcome)
    }
}
