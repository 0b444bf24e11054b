//! `spool salvage`

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

/// For one batch.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Write the intact records of a spool file that was set aside to Postgres
///
/// In their order, also while the service runs. Running it again is safe: no event is recorded twice. Damaged records are
/// listed. The file is not changed. The exit code is 0 when every record was intact, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Spool file
    file: PathBuf,
    /// Only read the file
    #[arg(long)]
    dry_run: bool,
}

/// Intact records, by outcome.
#[derive(Default)]
struct SalvageCounts {
    records: u64,
    recorded: u64,
    duplicates: u64,
    unprocessed: u64,
}

pub(super) fn run(args: &Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let settings = load()?;
    let own = settings.spool.directory.as_deref().map(Spools::paths_in);
    let is_own = own.iter().flatten().any(|own| own.canonicalize().ok() == args.file.canonicalize().ok());
    ensure!(
        !is_own || args.dry_run,
        "{} is a file of the configured spool, and the service drains it by itself; use --dry-run or spool inspect",
        args.file.display()
    );
    let mut file = super::open(&args.file)?;
    let options = settings.database.connect_options()?;
    super::super::block_on(settings.log.format, async {
        let counts = if args.dry_run {
            read(&mut file)?
        } else {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            write(&mut file, &pool, &settings).await?
        };
        let (missing, count) = file.missing();
        missing.iter().for_each(super::print_missing);
        let SalvageCounts { records, recorded, duplicates, unprocessed } = counts;
        print(&if args.dry_run {
            format!("{records} records are whole, {count} are not; nothing was written (--dry-run)\n")
        } else {
            format!(
                "{records} records were whole: {recorded} recorded (now or before), {duplicates} duplicates, \
                 {unprocessed} unprocessed; {count} were not whole\n"
            )
        });
        Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn read(file: &mut Salvage) -> anyhow::Result<SalvageCounts> {
    let mut counts = SalvageCounts::default();
    while file.next_whole()?.is_some() {
        counts.records += 1;
    }
    Ok(counts)
}

async fn write(file: &mut Salvage, pool: &PgPool, settings: &Settings) -> anyhow::Result<SalvageCounts> {
    let providers_rejecting_unknown = serve::providers_rejecting_unknown(&settings.providers);
    let mut writer = Writer::new(pool.clone(), settings.database.transaction_pooler, providers_rejecting_unknown);
    let (mut counts, mut is_last) = (SalvageCounts::default(), false);
    while !is_last {
        let mut batch: Vec<Delivery> = Vec::new();
        while batch.len() < settings.inbox.max_batch && !is_last {
            match file.next_whole()? {
                Some(whole) => batch.push(record::decode(&whole.record)),
                None => is_last = true,
            }
        }
        if batch.is_empty() {
            break;
        }
        let again = "fix that and run the command again: no event is recorded twice";
        let written = timeout(TIMEOUT, writer.write(&batch, true)).await.context("the database did not answer in time");
        let outcomes =
            written.and_then(|written| written.context("the database did not accept the records")).context(again)?;
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
