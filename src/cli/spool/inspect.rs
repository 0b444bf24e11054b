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

/// Show what waits in a spool: a line for each record, without what was delivered
///
/// It only reads, also while the service runs. What was drained and still lies in free pages of the file is told apart
/// by the file's marks and not listed. The exit code is 0 when every record is whole, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file, also one that was set aside [default: those of the configured spool, for live deliveries and for those of test accounts]
    file: Option<PathBuf>,
}

pub(super) fn run(args: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let paths = match args.file {
        Some(file) => vec![file],
        None => {
            let directory = load()?.spool.directory;
            Spools::paths_in(&directory.context("no spool is configured (spool.directory): name a file")?).to_vec()
        }
    };
    let mut is_whole = true;
    for path in paths {
        is_whole &= inspect(&path)?;
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether every record in the file is whole.
fn inspect(path: &Path) -> anyhow::Result<bool> {
    let mut found = super::open(path)?;
    let (mut records, mut bytes) = (0_u64, 0);
    let (mut oldest, mut newest): (Option<OffsetDateTime>, Option<OffsetDateTime>) = (None, None);
    while let Some(whole) = found.next_whole()? {
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
                    said(Some(summary.received_at)),
                ));
            }
            None => print(&format!("record {key}: of another version, {size} bytes whole\n")),
        }
    }
    // a service that runs may have drained some meanwhile
    let low = super::open(path)?.low();
    let (named, count) = found.missing();
    let gone: Vec<_> = named.iter().filter(|missing| missing.key >= low).collect();
    let missing = if gone.is_empty() { 0 } else { count };
    gone.into_iter().for_each(super::print_missing);
    print(&format!(
        "{}\n{records} records, {bytes} bytes; oldest received {}, newest {}; {missing} not whole; {} drained copies in \
         free pages, not listed\n",
        path.display(),
        said(oldest),
        said(newest),
        found.drained(),
    ));
    Ok(missing == 0)
}

fn said(moment: Option<OffsetDateTime>) -> String {
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}
