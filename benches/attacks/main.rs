//! `make attacks`: what strangers, a test account and one provider can do to the deliveries of the others.
//!
//! It starts a Postgres of its own with durable settings and the release binary, and attacks that over loopback while a
//! steady live load comes from another address. Everything shares this machine's cores, so only two binaries compared in
//! one run are meaningful: `ARGS="--before /path/to/another/binary"`. After each attack every acknowledged
//! live delivery must be in Postgres exactly once, or the run fails.
//!
//! `ARGS=--quick` shortens each attack to 2 s, `ARGS="--only 3"` makes one of them.

/// The Postgres under it all.
#[path = "../support/database.rs"]
mod database;
/// Prepared requests.
#[path = "../support/requests.rs"]
mod requests;
/// The server under load.
#[path = "../support/service.rs"]
mod service;
/// HTTP over a connection.
#[path = "../support/wire.rs"]
mod wire;

/// The service that is attacked, and the check that nothing was lost.
mod bench;
/// The attacker's connections.
mod client;
/// The steady live load.
mod live;
/// Repeated requests for one path.
mod probe;
/// The final table.
mod report;

/// Attacks by accounts.
mod accounts;
/// Attacks by expensive bodies.
mod bodies;
/// Attacks on the spool while Postgres is away.
mod spool;
/// Attacks without credentials.
mod strangers;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::Parser;

use bench::Bench;
use database::Server;
use report::{Attack, Row};

/// In the order of their numbers; some make more than one row.
const ATTACKS: &[Attack] = &[
    (1, bodies::empty_gzip_blocks),
    (2, bodies::many_tickets),
    (3, accounts::hot_booking),
    (4, strangers::held_bodies),
    (5, accounts::test_account),
    (6, spool::full),
    (7, strangers::guessed_ids),
    (8, spool::damaged),
    (9, spool::modes),
    (10, bodies::repeated_broken),
    (11, strangers::failures_and_files),
];

#[derive(Parser)]
struct Args {
    /// The binary to compare with
    #[arg(long)]
    before: Option<PathBuf>,
    /// Shortens each attack to 2 s
    #[arg(long)]
    quick: bool,
    /// The number of the only attack to make
    #[arg(long)]
    only: Option<u8>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("attacks");
    fs::create_dir_all(&directory)?;
    let mut bench = Bench {
        server: Server::start(directory.join("postgres"))?,
        directory,
        binary: PathBuf::new(),
        duration: Duration::from_secs(if args.quick { 2 } else { 6 }),
        spooled: if args.quick { 2_000 } else { 20_000 },
    };
    let after = PathBuf::from(env!("CARGO_BIN_EXE_ticket-webhooks"));
    let binaries: Vec<_> = args.before.map(|binary| ("before", binary)).into_iter().chain([("after", after)]).collect();
    let mut rows: Vec<(&str, Row)> = Vec::new();
    for (number, attack) in ATTACKS.iter().filter(|(number, _)| args.only.is_none_or(|only| only == *number)) {
        for (turn, binary) in &binaries {
            eprintln!("attack {number}, {turn}");
            bench.binary.clone_from(binary);
            let made = bench.clean().and_then(|()| attack(&mut bench));
            let made = made.unwrap_or_else(|error| vec![Row::failed(*number, &error)]);
            bench.server_is_there()?;
            rows.extend(made.into_iter().map(|row| (*turn, row)));
        }
    }
    bench.server.remove()?;
    report::print(&mut rows);
    let is_lost = rows.iter().any(|(turn, row)| *turn == "after" && row.has_lost());
    ensure!(!is_lost, "acknowledged live deliveries are not recorded exactly once");
    let failed = rows.iter().filter(|(turn, row)| *turn == "after" && row.is_failed).count();
    ensure!(failed == 0, "{failed} attacks could not be made");
    Ok(())
}
