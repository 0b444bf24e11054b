//! Postgres stops and starts under load: the rate meanwhile, and the check that everything acknowledged is recorded.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    load::Load,
    measure::{Bench, DATABASE},
};

const CONNECTIONS: usize = 64;

/// Limit for draining the spool.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The result.
pub struct Outage {
    /// Acknowledged deliveries per second.
    pub up: f64,
    pub down: f64,
    /// Answered with another status than 200.
    pub refused: u64,
    /// Time from the end of the outage until everything was recorded.
    pub drained_after: Duration,
}

/// `None` if the service has no spool.
pub fn run(bench: &mut Bench) -> anyhow::Result<Option<Outage>> {
    eprintln!("an outage");
    bench.server.empty(DATABASE)?;
    let spool = bench.directory.join("spool");
    let _ = fs::remove_dir_all(&spool);
    fs::create_dir_all(&spool)?;
    let path = spool.to_str().context("the target directory is no UTF-8")?;
    let service = match bench.service(DATABASE, &[("TICKET_WEBHOOKS__SPOOL__DIRECTORY", path)]) {
        Ok(service) => service,
        Err(error) => {
            eprintln!("  not available: {error}");
            return Ok(None);
        }
    };
    let acknowledged = Arc::<AtomicU64>::default();
    // before, during and after, and the time that stopping and starting take
    let load = Load::new(CONNECTIONS, bench.duration * 3 + Duration::from_secs(5));
    let running = spawn({
        let (address, acknowledged) = (service.address, Arc::clone(&acknowledged));
        move || load.run(address, &acknowledged)
    });
    let rate = || {
        let (start, before) = (Instant::now(), acknowledged.load(Relaxed));
        sleep(bench.duration);
        (acknowledged.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
    };
    sleep(Duration::from_secs(1));
    let up = rate();
    bench.server.go_away()?;
    let down = rate();
    bench.server.come_back()?;
    let back = Instant::now();
    let run = running.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))??;
    while bench.recorded(DATABASE)? < run.acknowledged && back.elapsed() < TIMEOUT {
        sleep(Duration::from_millis(100));
    }
    let drained_after = back.elapsed();
    let recorded = bench.recorded(DATABASE)?;
    ensure!(
        recorded >= run.acknowledged && recorded <= run.acknowledged + run.refused,
        "{} deliveries were acknowledged, {} refused, {recorded} recorded",
        run.acknowledged,
        run.refused
    );
    eprintln!("  up {up:.0}/s, down {down:.0}/s, {} refused, drained after {drained_after:.1?}", run.refused);
    Ok(Some(Outage { up, down, refused: run.refused, drained_after }))
}
