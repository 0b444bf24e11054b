//! `erase`

use std::process::ExitCode;

use clap::{ArgGroup, ValueEnum};

use crate::{
    config::{ConfigError, Settings},
    erase::{How, Report, Subject, erase},
    store::{Pool, RequestedBy},
    ticket_event::Environment,
};

/// Erase the personal data of a booking, of a person, or of everything older than an age
///
/// It may run beside the service. Names, documents, birth dates, payloads and the bodies of unprocessed deliveries are
/// emptied; the events stay in the feed, and each gets an item `erased`. When it was interrupted, run it again. With
/// --dry-run it says how much there is, and writes nothing.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("subject").required(true).args(["booking", "name", "document", "older_than"])))]
pub(super) struct Args {
    /// Reference of the booking
    #[arg(long, value_name = "REFERENCE")]
    booking: Option<String>,
    /// Of the booking: only this provider's
    // `requires` says nothing beside another subject
    #[arg(long, requires = "booking", conflicts_with_all = ["name", "document", "older_than"])]
    provider: Option<String>,
    /// Of the booking: only this environment's
    #[arg(long, requires = "booking", conflicts_with_all = ["name", "document", "older_than"], value_enum)]
    environment: Option<EnvironmentArg>,
    /// Name of a passenger, such as "Jane Smith" or SMITH/JANE: everybody whose name has all these words
    #[arg(long)]
    name: Option<String>,
    /// Number of a passenger's identity document
    #[arg(long, value_name = "NUMBER")]
    document: Option<String>,
    /// Everything that was received more than this many days ago
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    /// Count, and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EnvironmentArg {
    Live,
    Test,
}

pub(super) fn run(args: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let is_dry_run = args.dry_run;
    let subject = args.subject();
    let settings = load()?;
    let options = settings.database.connect_options()?;
    let transaction_pooler = settings.database.transaction_pooler;
    super::block_on(settings.log.format, async move {
        let pool = Pool::new(options, 1, transaction_pooler);
        let how = How { requested_by: RequestedBy::Command, is_dry_run, deadline: None };
        let Report { events, unprocessed_deliveries, .. } = erase(&pool, &subject, how).await?;
        let done = if is_dry_run { "to erase; nothing was written (--dry-run)" } else { "erased" };
        super::print(&format!("{events} events and {unprocessed_deliveries} unprocessed deliveries {done}\n"));
        pool.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

impl Args {
    /// The command line has exactly one of them.
    fn subject(self) -> Subject {
        let Self { booking, provider, environment, name, document, older_than, .. } = self;
        let environment = environment.map(|environment| match environment {
            EnvironmentArg::Live => Environment::Live,
            EnvironmentArg::Test => Environment::Test,
        });
        match (booking, name, document, older_than) {
            (Some(booking_ref), ..) => Subject::Booking { booking_ref, provider, environment },
            (_, Some(name), ..) => Subject::Name(name),
            (_, _, Some(number), _) => Subject::Document(number),
            (.., days) => Subject::OlderThan(days.unwrap_or_default()),
        }
    }
}
