//! How long Postgres is away, for a client that commits all the time through the way of the replicas.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{sleep, timeout};

const INTERVAL: Duration = Duration::from_millis(50);

/// Of one commit. A commit that waits for a standby is no commit.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Writes to the log and to no table.
const COMMIT: &str = "select pg_logical_emit_message(true, 'probe', '')::text";

pub struct Probe {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Probe {
    pub fn start(url: String) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(longest_gap(&url, &stop))
        });
        Self { is_over, thread }
    }

    /// The longest time between two commits.
    pub fn finish(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn longest_gap(url: &str, stop: &AtomicBool) -> Duration {
    let (mut connection, mut last, mut longest) = (None, Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        if let Ok(Ok(open)) = timeout(TIMEOUT, commit(url, connection.take())).await {
            longest = longest.max(last.elapsed());
            (connection, last) = (Some(open), Instant::now());
        }
        sleep(INTERVAL).await;
    }
    longest.max(last.elapsed())
}

async fn commit(url: &str, connection: Option<PgConnection>) -> sqlx::Result<PgConnection> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => PgConnection::connect(url).await?,
    };
    connection.execute(COMMIT).await?;
    Ok(connection)
}
