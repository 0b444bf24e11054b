//! Many clients at once, and how far they have come.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{client::Client, ledger::Sent};
use crate::support::{Chance, connection::Outcome};

const CLIENTS: u32 = 32;

/// For what takes a moment while all is well, and seconds while a server is away.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Answers so far.
#[derive(Default)]
pub struct Counts {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    in_doubt: AtomicU64,
}

impl Counts {
    pub fn of(&self, outcome: Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Acknowledged => &self.acknowledged,
            Outcome::Refused => &self.refused,
            Outcome::InDoubt => &self.in_doubt,
        }
    }
}

pub struct Load {
    clients: JoinSet<Vec<Sent>>,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

impl Load {
    pub fn start(round: u32, address: &watch::Receiver<SocketAddr>, chance: &mut Chance) -> Self {
        let (counts, stop, mut clients) = (Arc::<Counts>::default(), CancellationToken::new(), JoinSet::new());
        for number in 0..CLIENTS {
            let client = Client {
                name: format!("{round}-{number}"),
                chance: chance.split(),
                address: address.clone(),
                counts: Arc::clone(&counts),
                stop: stop.clone(),
            };
            clients.spawn(client.run());
        }
        Self { clients, counts, stop }
    }

    /// Waits until so many more deliveries are acknowledged.
    pub async fn acknowledges(&self, more: u64) {
        self.wait_for(&[Outcome::Acknowledged], more).await;
    }

    /// Waits until so many more deliveries are refused.
    pub async fn is_refused(&self, more: u64) {
        self.wait_for(&[Outcome::Refused], more).await;
    }

    /// Waits until so many more deliveries are acknowledged or refused.
    pub async fn is_answered(&self, more: u64) {
        self.wait_for(&[Outcome::Acknowledged, Outcome::Refused], more).await;
    }

    async fn wait_for(&self, outcomes: &[Outcome], more: u64) {
        let count = || -> u64 { outcomes.iter().map(|outcome| self.counts.of(*outcome).load(Ordering::Relaxed)).sum() };
        let (before, deadline) = (count(), Instant::now() + TIMEOUT);
        while count() < before + more {
            assert!(Instant::now() < deadline, "{outcomes:?}: {} of {more} deliveries", count() - before);
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Stops the clients. What each of them sent, in that order.
    pub async fn finish(self) -> Vec<Vec<Sent>> {
        self.stop.cancel();
        self.clients.join_all().await
    }
}
