//! `spool inspect`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    cli::print,
    config::{ConfigError, Settings},
    spool::{Spools, record},
};

/// List the records of a spool, without their payloads
///
/// Works also while the service runs. Records that were drained but are still in free pages of the file are counted, not
/// listed. The exit code is 0 when every record is intact, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Spool file, also one that was set aside [default: both files of the configured spool]
    file: Option<PathBuf>,
}

pub(super) fn run(args: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let paths = match args.file {
        Some(file) => vec![file],
        None => {
            let directory = load()?.spool.directory;
            Spools::paths_in(&directory.context("spool.directory is not configured: name a file")?).to_vec()
        }
    };
    let mut is_intact = true;
    for path in paths {
        is_intact &= inspect(&path)?;
    }
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the records of a file and returns whether all are intact.
fn inspect(path: &Path) -> anyhow::Result<bool> {
    let mut file = super::open(path)?;
    let (mut records, mut bytes) = (0_u64, 0);
    let (mut oldest, mut newest): (Option<OffsetDateTime>, Option<OffsetDateTime>) = (None, None);
    while let Some(whole) = file.next_whole()? {
        records += 1;
        bytes += whole.record.len();
        let (key, size) = (whole.key, whole.record.len());
        match record::summary(&whole.record) {
            Some(summary) => {
                oldest = Some(oldest.map_or(summary.received_at, |oldest| oldest.min(summary.received_at)));
                newest = newest.max(Some(summary.received_at));
                print(&format!(
                    "record {key}: {} {} {} {} received {} {size} bytes whole\n",
                    summary.id,
                    summary.provider,
                    summary.account,
                    summary.environment.as_str(),
                    timestamp(Some(summary.received_at)),
                ));
            }
            None => print(&format!("record {key}: written by another version, {size} bytes whole\n")),
        }
    }
    // a running service may have drained some since
    let low = super::open(path)?.low();
    let (named, count) = file.missing();
    let gone: Vec<_> = named.iter().filter(|missing| missing.key >= low).collect();
    let missing = if gone.is_empty() { 0 } else { count };
    gone.into_iter().for_each(super::print_missing);
    print(&format!(
        "{}\n{records} records, {bytes} bytes; oldest received {}, newest {}; {missing} not whole; {} drained copies in \
         free pages, not listed\n",
        path.display(),
        timestamp(oldest),
        timestamp(newest),
        file.drained(),
    ));
    Ok(missing == 0)
}

fn timestamp(moment: Option<OffsetDateTime>) -> String {
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}
