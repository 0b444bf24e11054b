//! `spool salvage`: records in Postgres what is intact in a spool file that was set aside.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::timeout;

use crate::{
    cli::{print, serve},
    config::{ConfigError, Settings},
    delivery::{Delivery, Outcome},
    spool::{Spools, record, salvage::Salvage},
    store::Writer,
};

/// For a batch.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Record in Postgres the intact records of a spool file that was set aside
///
/// In their order; it may run beside the service. It may be repeated: no event is recorded twice. Records that are not
/// intact are listed. The file is not changed. The exit code is 0 when every record was intact, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The spool file
    file: PathBuf,
    /// Read everything and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Default)]
struct SalvageCounts {
    records: u64,
    recorded: u64,
    duplicates: u64,
    unprocessed: u64,
}

pub(super) fn run(args: &Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let settings = load()?;
    let configured = settings.spool.directory.as_deref().map(Spools::paths_in);
    let is_configured =
        configured.iter().flatten().any(|path| path.canonicalize().ok() == args.file.canonicalize().ok());
    ensure!(
        !is_configured || args.dry_run,
        "{} is the configured spool: the service drains it by itself; list it with `spool inspect`",
        args.file.display()
    );
    let mut salvage = super::open(&args.file)?;
    let options = settings.database.connect_options()?;
    super::super::block_on(settings.log.format, async {
        let counts = if args.dry_run {
            read(&mut salvage)?
        } else {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            write(&mut salvage, &pool, &settings).await?
        };
        let (missing, count) = salvage.missing();
        missing.iter().for_each(super::print_missing);
        let SalvageCounts { records, recorded, duplicates, unprocessed } = counts;
        print(&if args.dry_run {
            format!("{records} records are intact, {count} are not; nothing was written (--dry-run)\n")
        } else {
            format!(
                "{records} records were intact: {recorded} recorded (now or before), {duplicates} duplicates, \
                 {unprocessed} unprocessed; {count} were not intact\n"
            )
        });
        Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn read(salvage: &mut Salvage) -> anyhow::Result<SalvageCounts> {
    let mut counts = SalvageCounts::default();
    while salvage.next_intact()?.is_some() {
        counts.records += 1;
    }
    Ok(counts)
}

async fn write(salvage: &mut Salvage, pool: &PgPool, settings: &Settings) -> anyhow::Result<SalvageCounts> {
    let providers_rejecting_unknown = serve::providers_rejecting_unknown(&settings.providers);
    let mut writer = Writer::new(pool.clone(), settings.database.transaction_pooler, providers_rejecting_unknown);
    let (mut counts, mut is_last) = (SalvageCounts::default(), false);
    while !is_last {
        let mut batch: Vec<Delivery> = Vec::new();
        while batch.len() < settings.inbox.max_batch && !is_last {
            match salvage.next_intact()? {
                Some(intact) => batch.push(record::decode(&intact.record)),
                None => is_last = true,
            }
        }
        if batch.is_empty() {
            break;
        }
        let advice = "resolve this and run the command again: no event is recorded twice";
        let written = timeout(WRITE_TIMEOUT, writer.write(&batch, true)).await.context("the database does not answer");
        let outcomes =
            written.and_then(|written| written.context("the database does not take them")).context(advice)?;
        counts.records += outcomes.len() as u64;
        for outcome in outcomes {
            match outcome {
                Outcome::Recorded { .. } => counts.recorded += 1,
                Outcome::Duplicate { .. } => counts.duplicates += 1,
                _ => counts.unprocessed += 1,
            }
        }
    }
    Ok(counts)
}
