//! `events`: lists events from the database.

pub(super) mod arguments;
mod table;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use time::OffsetDateTime;
use tokio::{select, signal::ctrl_c, time::sleep};
use uuid::Uuid;

use self::table::Table;
pub(super) use self::table::escaped;
use crate::{
    config::{ConfigError, Settings},
    feed::{InvalidQuestion, Question},
    store::{Cursor, Direction, FeedError, Filter, Item, MAX_PAGE_BYTES, Pool},
};

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// After an error while following.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Items that are read at once while following.
const MAX_ITEMS: i64 = 500;

/// List events from the database, newest last
///
/// Those that match all the options. The times are UTC. The exit code is 0, also when nothing matches, 2 when the
/// configuration or an option is wrong, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The provider's reference of the booking
    #[arg(long, value_name = "REFERENCE")]
    booking: Option<String>,
    /// A record locator of any kind, or the booking number, in any case
    #[arg(long, value_name = "LOCATOR")]
    pnr: Option<String>,
    /// A ticket number, with or without dashes and spaces
    #[arg(long, value_name = "NUMBER")]
    ticket: Option<String>,
    /// Words of the passengers' names, in any order and case, accents ignored
    #[arg(long, value_name = "WORDS")]
    name: Option<String>,
    #[arg(long, value_parser = arguments::providers())]
    provider: Option<String>,
    #[arg(long, value_parser = PossibleValuesParser::new(["live", "test"]))]
    environment: Option<String>,
    #[arg(long, value_parser = arguments::statuses())]
    status: Option<String>,
    /// Received then or later: 2026-11-26T08:00:00Z, 2026-11-26, or 90m, 12h, 7d ago
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    since: Option<OffsetDateTime>,
    /// Received before: as --since
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    until: Option<OffsetDateTime>,
    /// The event with this id
    #[arg(long, conflicts_with_all = ["booking", "pnr", "ticket", "name", "provider", "environment", "status", "since",
        "until", "follow"])]
    id: Option<Uuid>,
    /// How many: the newest that match
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..=100_000))]
    limit: i64,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// One JSON object a line, as the feed gives them
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let filter = match args.filter() {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let settings = load()?;
    let options = settings.database.connect_options()?;
    super::block_on(settings.log.format, async {
        let pool = Pool::new(options, 1, settings.database.transaction_pooler);
        let table = (!args.json).then(|| Table::new(io::stdout().is_terminal()));
        let mut listing = Listing { pool, filter, table };
        let listed = select! {
            listed = listing.run(args) => listed,
            _ = ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        match listed {
            // its reader has seen enough
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            listed => listed.context("the events cannot be listed"),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl Args {
    fn filter(&self) -> Result<Filter, InvalidQuestion> {
        let question = Question {
            provider: self.provider.clone(),
            environment: self.environment.clone(),
            status: self.status.clone(),
            booking_ref: self.booking.clone(),
            pnr: self.pnr.clone(),
            ticket: self.ticket.clone(),
            name: self.name.clone(),
            received_from: self.since,
            received_to: self.until,
        };
        question.filter()
    }
}

struct Listing {
    pool: Pool,
    filter: Filter,
    /// `None`: JSON.
    table: Option<Table>,
}

impl Listing {
    async fn run(&mut self, args: &Args) -> anyhow::Result<ExitCode> {
        if let Some(id) = args.id {
            let Some(event) = self.pool.event(id).await? else {
                eprintln!("error: there is no event with this id");
                return Ok(ExitCode::FAILURE);
            };
            self.print(&[event])?;
            return Ok(ExitCode::SUCCESS);
        }
        let (mut items, newest) = self.newest(args.limit).await?;
        items.reverse();
        self.print(&items)?;
        if args.follow {
            self.follow(newest).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The newest that match, newest first, and where to go on.
    async fn newest(&self, limit: i64) -> Result<(Vec<Item>, Cursor), FeedError> {
        let mut snapshot = self.pool.read().await?;
        let newest = self.pool.newest_cursor(&mut snapshot).await?;
        let (mut items, mut from, mut missing) = (Vec::new(), None, limit);
        while missing > 0 {
            let direction = Direction::NewestFirst;
            let page =
                self.pool.find_items(&mut snapshot, &self.filter, from, direction, missing, MAX_PAGE_BYTES, false);
            let page = page.await?;
            missing -= page.items.len() as i64;
            items.extend(page.items);
            from = Some(page.next);
            if !page.more {
                break;
            }
        }
        Ok((items, newest))
    }

    async fn follow(&mut self, mut after: Cursor) -> anyhow::Result<()> {
        loop {
            match self.next(&mut after).await {
                Ok((items, more)) => {
                    self.print(&items)?;
                    if !more {
                        sleep(POLL_INTERVAL).await;
                    }
                }
                Err(FeedError::HistoryChanged(cursor)) => {
                    tracing::warn!("the database was recovered to an earlier point in time: events may come again");
                    after = cursor.parse()?;
                }
                Err(error) => {
                    tracing::warn!(%error, "the events cannot be read, trying again");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    async fn next(&self, after: &mut Cursor) -> Result<(Vec<Item>, bool), FeedError> {
        let mut snapshot = self.pool.read().await?;
        self.pool.check_cursor(&mut snapshot, *after).await?;
        let (from, direction) = (Some(*after), Direction::OldestFirst);
        let page = self.pool.find_items(&mut snapshot, &self.filter, from, direction, MAX_ITEMS, MAX_PAGE_BYTES, false);
        let page = page.await?;
        *after = page.next;
        Ok((page.items, page.more))
    }

    fn print(&mut self, items: &[Item]) -> io::Result<()> {
        let text = match &mut self.table {
            Some(table) => table.lines(items),
            None => items.iter().map(|item| escaped(&item.to_json()) + "\n").collect(),
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}
