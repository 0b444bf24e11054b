//! `spool`: looking into the buffer on disk, and getting out of a damaged file what is whole in it.

mod inspect;
mod salvage;

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;

use crate::{
    config::{ConfigError, Settings},
    spool::salvage::{Missing, Salvage},
};

/// Look into a spool, or save what is in a damaged one
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

/// Reads a file and never changes it.
fn open(path: &Path) -> anyhow::Result<Salvage> {
    let opened = fs::File::open(path).and_then(Salvage::of);
    opened.with_context(|| {
        format!("{} cannot be read: name a file of a spool, as the user who may read it", path.display())
    })
}

fn print_missing(missing: &Missing) {
    let place = match missing.place {
        Some((offset, bytes)) => format!("damaged at offset {offset}, {bytes} bytes"),
        None => "not found: where it begins is damaged, or its page is gone".to_owned(),
    };
    super::print(&format!("record {}: {place}\n", missing.key));
}
