//! `spool`: shows what a spool holds, and saves the records of a damaged file.

mod inspect;
mod salvage;

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;

use crate::{
    config::{ConfigError, Settings},
    spool::salvage::{Missing, Salvage},
};

/// Show the records of a spool, or save those of a damaged one
///
/// Both read the file without changing it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Salvage(salvage::Args),
}

pub(super) fn run(args: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Inspect(args) => inspect::run(args, load),
        Command::Salvage(args) => salvage::run(&args, load),
    }
}

/// Opens a spool file to read it.
fn open(path: &Path) -> anyhow::Result<Salvage> {
    let opened = fs::File::open(path).and_then(Salvage::of);
    opened.with_context(|| {
        format!("{} cannot be read as a spool file; run this as a user with access to it", path.display())
    })
}

fn print_missing(missing: &Missing) {
    let location = match missing.place {
        Some((offset, bytes)) => format!("damaged at offset {offset}, {bytes} bytes"),
        None => "not found: its header is damaged, or its page was overwritten".to_owned(),
    };
    super::print(&format!("record {}: {location}\n", missing.key));
}
