//! `reprocess`: runs unprocessed deliveries through today's code again.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{print, serve::providers_rejecting_unknown};
use crate::{
    clock,
    config::{ConfigError, Settings},
    delivery::Reason,
    providers,
    reprocess::{ReprocessOutcome, ReprocessedDelivery, Reprocessor},
    secrets::{CurrentSecrets, Secrets},
    store::{Pool, UnprocessedFilter},
};

/// Deliveries of one query.
const BATCH: i64 = 100;

/// Run unprocessed deliveries through today's code again, the oldest first
///
/// It works on the database of the configuration; the service may run. Each delivery becomes an event with its own id and
/// time of receipt, counts as a repetition of one, or stays unprocessed with the reason that it has today. It may be
/// repeated and run several times at once. The exit code is 0, 1 when a delivery of --id does not exist or the database
/// does not answer, 2 when the command line or the configuration is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only those of this provider
    #[arg(long)]
    provider: Option<String>,
    /// Only those with this reason: malformed, invalid, no_ticket, unknown_booking, unsupported_type, refused
    #[arg(long, value_parser = parse_reason)]
    reason: Option<Reason>,
    /// Only those received since a day (2026-05-04, UTC) or a moment (2026-05-04T03:02:01Z)
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<OffsetDateTime>,
    /// Only the delivery with this id; may be repeated
    #[arg(long, value_name = "ID", conflicts_with_all = ["provider", "reason", "since", "limit"])]
    id: Vec<Uuid>,
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Say what would become of each by itself, and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Default)]
struct Counts {
    recorded: u64,
    duplicates: u64,
    unprocessed: u64,
    before: u64,
    missing: u64,
}

pub(super) fn run(args: &Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let settings = load()?;
    if let Some(name) = args.provider.as_deref().filter(|name| providers::by_name(name).is_none()) {
        eprintln!("there is no provider {name}: deliveries of one that is not known cannot be processed");
        return Ok(ExitCode::from(2));
    }
    let options = settings.database.connect_options()?;
    super::block_on(settings.log.format, async {
        let reprocessor = Reprocessor {
            dropped_members: settings.privacy.dropped_members(),
            pool: Pool::new(options, 1, settings.database.transaction_pooler),
            secrets: Arc::new(CurrentSecrets::from_pointee(Secrets::new(
                &settings.providers,
                settings.admin.token.clone(),
                None,
            ))),
            body_limit_bytes: settings.server.body_limit_bytes,
            providers_rejecting_unknown: providers_rejecting_unknown(&settings.providers),
            metrics: Arc::default(),
            commits: Arc::default(),
        };
        let result = if args.id.is_empty() { all(&reprocessor, args).await } else { named(&reprocessor, args).await };
        let counts = result.context("resolve this and run the command again: nothing is recorded twice")?;
        print_summary(&counts, args.dry_run);
        Ok(if counts.missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn named(reprocessor: &Reprocessor, args: &Args) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    for id in &args.id {
        match reprocessor.reprocess(*id, args.dry_run).await? {
            Some(reprocessed) => counts.add(&reprocessed),
            None => {
                print(&format!("{id}: there is no such delivery\n"));
                counts.missing += 1;
            }
        }
    }
    Ok(counts)
}

async fn all(reprocessor: &Reprocessor, args: &Args) -> anyhow::Result<Counts> {
    let Args { provider, reason, since, dry_run, .. } = args;
    let filter = UnprocessedFilter {
        provider: provider.clone(),
        reason: *reason,
        since: *since,
        ..UnprocessedFilter::default()
    };
    let mut left = args.limit.unwrap_or(u64::MAX);
    let (mut counts, mut after) = (Counts::default(), None);
    while left > 0 {
        let ids = reprocessor.waiting(&filter, after, BATCH.min(i64::try_from(left).unwrap_or(BATCH))).await?;
        if ids.is_empty() {
            break;
        }
        for id in ids {
            if let Some(reprocessed) = reprocessor.reprocess(id, *dry_run).await? {
                counts.add(&reprocessed);
            }
            (after, left) = (Some(id), left - 1);
        }
    }
    Ok(counts)
}

impl Counts {
    fn add(&mut self, delivery: &ReprocessedDelivery) {
        let ReprocessedDelivery { id, provider, environment, outcome } = delivery;
        let (count, text) = match outcome {
            ReprocessOutcome::Recorded { booking_ref, revision, late, .. } => {
                let late = if *late { ", late" } else { "" };
                (&mut self.recorded, format!("revision {revision} of {booking_ref}{late}"))
            }
            ReprocessOutcome::Duplicate { event_id, booking_ref, revision } => {
                (&mut self.duplicates, format!("duplicate of revision {revision} of {booking_ref}, {event_id}"))
            }
            ReprocessOutcome::Unprocessed { reason, detail } => {
                (&mut self.unprocessed, format!("still {}: {detail}", reason.as_str()))
            }
            ReprocessOutcome::AlreadyReprocessed { .. } => (&mut self.before, "was reprocessed before".to_owned()),
        };
        *count += 1;
        print(&format!("{id} {provider} {}: {text}\n", environment.as_str()));
    }
}

fn print_summary(counts: &Counts, dry_run: bool) {
    let Counts { recorded, duplicates, unprocessed, before, missing } = counts;
    let deliveries = recorded + duplicates + unprocessed + before + missing;
    let end = if dry_run { "; nothing was written (--dry-run)" } else { "" };
    print(&format!(
        "{deliveries} deliveries: {recorded} recorded, {duplicates} duplicates, {unprocessed} still unprocessed, {before} \
         reprocessed before, {missing} not found{end}\n"
    ));
}

fn parse_reason(text: &str) -> Result<Reason, String> {
    let words = || Reason::ALL.map(Reason::as_str).join(", ");
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| format!("one of {}", words()))
}

fn parse_since(text: &str) -> Result<OffsetDateTime, String> {
    clock::parse(text).ok_or_else(|| "such as 2026-05-04 or 2026-05-04T03:02:01Z".to_owned())
}
