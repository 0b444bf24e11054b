//! `spool`: inspects spool files and records what is intact in damaged ones. Both commands only read the file.

mod inspect;
mod salvage;

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;

use crate::{
    config::{ConfigError, Settings},
    spool::salvage::{Missing, Salvage},
};

/// Inspect a spool, or save the records of a damaged one
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

fn open(path: &Path) -> anyhow::Result<Salvage> {
    let opened = fs::File::open(path).and_then(Salvage::of);
    opened.with_context(|| {
        format!("{} cannot be read: name a spool file, and run as the user who may read it", path.display())
    })
}

fn print_missing(missing: &Missing) {
    let reason = match missing.damaged_frame {
        Some((offset, bytes)) => format!("damaged at offset {offset}, {bytes} bytes"),
        None => "not found: its header is damaged, or its page is gone".to_owned(),
    };
    super::print(&format!("record {}: {reason}\n", missing.key));
}
