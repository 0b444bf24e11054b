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

/// How long the database may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Record in Postgres what is whole in a spool's file that was set aside
///
/// In its order, also while the service runs. It can be done again: an event that is recorded already is not recorded
/// twice. What is not whole is listed. The file is not changed. The exit code is 0 when every record was whole, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file
    file: PathBuf,
    /// Read everything and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What became of the records.
#[derive(Default)]
struct Salvaged {
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
        "{} is the configured spool: the service drains it by itself. Look into it with spool inspect",
        args.file.display()
    );
    let mut found = super::open(&args.file)?;
    let options = settings.database.connect_options()?;
    super::super::block_on(settings.log.format, async {
        let salvaged = if args.dry_run {
            read(&mut found)?
        } else {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            write(&mut found, &pool, &settings).await?
        };
        let (missing, count) = found.missing();
        missing.iter().for_each(super::print_missing);
        let Salvaged { records, recorded, duplicates, unprocessed } = salvaged;
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

fn read(found: &mut Salvage) -> anyhow::Result<Salvaged> {
    let mut salvaged = Salvaged::default();
    while found.next_whole()?.is_some() {
        salvaged.records += 1;
    }
    Ok(salvaged)
}

async fn write(found: &mut Salvage, pool: &PgPool, settings: &Settings) -> anyhow::Result<Salvaged> {
    let known_bookings_only = serve::known_bookings_only(&settings.providers).into();
    let mut writer = Writer::new(pool.clone(), settings.database.transaction_pooler, known_bookings_only);
    let (mut salvaged, mut is_last) = (Salvaged::default(), false);
    while !is_last {
        let mut batch: Vec<Delivery> = Vec::new();
        while batch.len() < settings.inbox.max_batch && !is_last {
            match found.next_whole()? {
                Some(whole) => batch.push(record::decode(&whole.record)),
                None => is_last = true,
            }
        }
        if batch.is_empty() {
            break;
        }
        let again = "mend that and run the command again: what is recorded already is not recorded twice";
        let written = timeout(TIMEOUT, writer.write(&batch, true)).await.context("the database does not answer");
        let outcomes = written.and_then(|written| written.context("the database does not take them")).context(again)?;
        salvaged.records += outcomes.len() as u64;
        for outcome in outcomes {
            match outcome {
                Outcome::Recorded { .. } => salvaged.recorded += 1,
                Outcome::Duplicate { .. } => salvaged.duplicates += 1,
                _ => salvaged.unprocessed += 1,
            }
        }
    }
    Ok(salvaged)
}
