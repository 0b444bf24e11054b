//! `forward`: sends every event on, from a terminal.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use secrecy::{ExposeSecret, SecretString};
use time::{OffsetDateTime, macros::format_description};
use tokio::select;
use tokio_util::sync::CancellationToken;

use super::events::{arguments, escaped};
use crate::{
    commits::Commits,
    config::{ConfigError, ReceiverUrl, Settings},
    feed::Feed,
    forward::{Attempted, Forward, Outcome, Sender, SigningKey, SigningKeys, Wanted, new_secret},
    lifecycle::{Signals, Tasks},
    store::{Cursor, FeedError, Pool},
    ticket_event::{Environment, Status},
};

/// A page and the items of attempts are read at the same time; one connection listens for commits.
const MAX_CONNECTIONS: u32 = 3;

const MAX_IN_FLIGHT: usize = 8;

/// A request has ended by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(16);

/// Send every event on to a URL, signed, until Ctrl-C
///
/// For the development of a receiver: it prints the secret with which it signs, and a line for each request. An event is sent
/// again until the receiver answers 2xx; unlike a forward of the service it is not paused by 410. It keeps no position: the next
/// time it begins anew. The exit code is 0, 2 when the configuration or an option is wrong, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to: https, or http on this machine
    #[arg(long, value_name = "URL", value_parser = ReceiverUrl::parse)]
    to: ReceiverUrl,
    /// The secret that signs (whsec_…), so that it stays the same; without it a new one is made
    #[arg(long, value_name = "SECRET", env = "TICKET_WEBHOOKS_FORWARD_SECRET", hide_env_values = true)]
    secret: Option<SecretString>,
    /// Begin at the first event, not behind the newest one
    #[arg(long)]
    from_start: bool,
    /// Only of these providers (repeatable)
    #[arg(long, value_parser = arguments::providers())]
    provider: Vec<String>,
    /// Only of this environment
    #[arg(long, value_parser = PossibleValuesParser::new(["live", "test"]))]
    environment: Option<String>,
    /// Only of these statuses (repeatable)
    #[arg(long, value_parser = arguments::statuses())]
    status: Vec<String>,
    /// With the JSON as the provider sent it, less the credentials
    #[arg(long)]
    include_payload: bool,
}

pub(super) fn run(args: &Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let secret = args.secret.clone().unwrap_or_else(new_secret);
    let Some(key) = SigningKey::parse(secret.expose_secret()) else {
        eprintln!("error: --secret: expected whsec_ and 24 to 64 bytes in base64");
        return Ok(ExitCode::from(2));
    };
    let settings = load()?;
    let options = settings.database.connect_options()?;
    super::block_on(settings.log.format, async {
        let pool = Pool::new(options, MAX_CONNECTIONS, settings.database.transaction_pooler);
        let from =
            if args.from_start { Cursor::START } else { newest(&pool).await.context("the events cannot be read")? };
        super::print(&format!(
            "Sends {} to {}, until Ctrl-C.\nThe secret is {}\n\n",
            if args.from_start { "every event" } else { "what comes from now on" },
            args.to.uri(),
            secret.expose_secret(),
        ));
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        let (output_ended, output_error) = (stop.clone(), Arc::new(Mutex::new(None)));
        let print_error = Arc::clone(&output_error);
        let print_or_stop = move |attempted: &Attempted| {
            if let Err(error) = io::stdout().write_all(line(attempted).as_bytes()) {
                *print_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                output_ended.cancel();
            }
        };
        let forward = Forward {
            consumer: "terminal".to_owned(),
            wanted: args.wanted(),
            include_payload: args.include_payload,
            from_start: args.from_start,
            max_in_flight: MAX_IN_FLIGHT,
            stop_timeout: STOP_TIMEOUT,
            sender: Arc::new(Sender::new(args.to.uri().clone(), Arc::new(SigningKeys::from_pointee(vec![key])))?),
            feed: Feed::start(pool.clone(), Arc::new(Commits::default()), &mut tasks),
            pool,
            observe: Box::new(print_or_stop),
        };
        let mut signals = Signals::listen()?;
        let running = forward.run_unrecorded(from, stop.clone());
        tokio::pin!(running);
        let result = select! {
            result = &mut running => result,
            _ = signals.next() => {
                stop.cancel();
                // the second signal ends what is being sent
                select! {
                    result = running => result,
                    _ = signals.next() => Ok(()),
                }
            }
        };
        tasks.abort();
        let output_error = output_error.lock().unwrap_or_else(PoisonError::into_inner).take();
        match output_error {
            // its reader has seen enough
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("the output cannot be written")
            }
            _ => result.map(|()| ExitCode::SUCCESS),
        }
    })
}

impl Args {
    fn wanted(&self) -> Wanted {
        let environments = [Environment::Live, Environment::Test];
        let is_wanted = |environment: &Environment| self.environment.as_deref() == Some(environment.as_str());
        let providers = crate::providers::names();
        Wanted {
            environments: environments.into_iter().filter(is_wanted).collect(),
            providers: providers.filter(|name| self.provider.iter().any(|wanted| wanted == name)).collect(),
            statuses: Status::ALL
                .into_iter()
                .filter(|status| self.status.iter().any(|wanted| wanted == status.as_str()))
                .collect(),
        }
    }
}

async fn newest(pool: &Pool) -> Result<Cursor, FeedError> {
    pool.newest_cursor(&mut *pool.read().await?).await
}

/// `10:15:02 ✓ 200 in 12 ms  revision 0193… order_ticketed/live/B-1`
fn line(attempted: &Attempted) -> String {
    let Attempted { item, attempt, kind, answer, duration } = attempted;
    let time = OffsetDateTime::now_utc().format(format_description!("[hour]:[minute]:[second]")).unwrap_or_default();
    let mark = if answer.outcome == Outcome::Delivered { '✓' } else { '✗' };
    let status = answer.status.map_or_else(|| answer.outcome.as_str().to_owned(), |status| status.as_u16().to_string());
    let booking = format!("{}/{}/{}", item.booking.provider, item.booking.environment, item.booking.booking_ref);
    let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
    let error = answer.error.as_ref().map_or(String::new(), |error| format!(": {}", escaped(error)));
    format!(
        "{time} {mark} {status} in {} ms  {kind} {} {}{again}{error}\n",
        duration.as_millis(),
        item.id,
        escaped(&booking)
    )
}
