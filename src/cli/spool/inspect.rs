//! `spool inspect`: lists the records of spool files.

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

/// List the records of a spool, without the delivered content
///
/// It only reads, and may run beside the service. Copies of drained records in free pages of the file are counted, not
/// listed. The exit code is 0 when every record is intact, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A spool file, also one that was set aside [default: the live and the test file of the configured spool]
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
    let mut is_intact = true;
    for path in paths {
        is_intact &= inspect(&path)?;
    }
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether every record is intact.
fn inspect(path: &Path) -> anyhow::Result<bool> {
    let mut salvage = super::open(path)?;
    let (mut records, mut bytes) = (0_u64, 0);
    let (mut oldest, mut newest): (Option<OffsetDateTime>, Option<OffsetDateTime>) = (None, None);
    while let Some(intact) = salvage.next_intact()? {
        let (key, size) = (intact.key, intact.record.len());
        records += 1;
        bytes += size;
        match record::summary(&intact.record) {
            Some(summary) => {
                oldest = Some(oldest.map_or(summary.received_at, |oldest| oldest.min(summary.received_at)));
                newest = newest.max(Some(summary.received_at));
                print(&format!(
                    "record {key}: {} {} {} {} received {} {size} bytes intact\n",
                    summary.id,
                    summary.provider,
                    summary.account,
                    summary.environment.as_str(),
                    format_time(Some(summary.received_at)),
                ));
            }
            None => print(&format!("record {key}: of another version, {size} bytes intact\n")),
        }
    }
    // what a running service has drained meanwhile is not missing
    let first_pending = super::open(path)?.first_pending();
    let (listed, count) = salvage.missing();
    let still_missing: Vec<_> = listed.iter().filter(|missing| missing.key >= first_pending).collect();
    let missing = if still_missing.is_empty() { 0 } else { count };
    still_missing.into_iter().for_each(super::print_missing);
    print(&format!(
        "{}\n{records} records, {bytes} bytes; oldest received {}, newest {}; {missing} not intact; {} drained copies in \
         free pages, not listed\n",
        path.display(),
        format_time(oldest),
        format_time(newest),
        salvage.drained(),
    ));
    Ok(missing == 0)
}

fn format_time(moment: Option<OffsetDateTime>) -> String {
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}
