//! `serve`: the only place where the parts are put together.

mod reload;

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use sqlx::postgres::PgPoolOptions;
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::reload::Reload;
use super::LIKE_DATA;
use crate::{
    clock::{self, ReceiptClock},
    config::{ConfigError, MIN_CONNECTIONS, ProviderSettings, Settings, SpoolSettings, UnknownBooking},
    http::{BodyReader, Health, Limits, Observer, Server, admin_router, public_router},
    inbox::{self, Inbox},
    lifecycle::{ReloadSignal, Signals, keep_memory_private, raise_open_file_limit},
    metrics::Metrics,
    receive::{Endpoint, FailureLimiter, InterpretLimiter, Receiver},
    secrets::{CurrentSecrets, Secrets},
    spool::Spools,
    store::{self, Connections, Writer},
    telemetry::Traces,
    ticket_event::Environment,
};

/// Under full load there are a few ten thousand measurements in it.
const TIDY_PAUSE: Duration = Duration::from_millis(100);

/// Open files beside connections: standard streams, the runtime's own, the spool, `/proc`, name look-ups.
const OTHER_FILES: u64 = 24;

/// Receive deliveries: the service
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not apply migrations; refuse to start while some are pending
    #[arg(long)]
    no_migrate: bool,
}

/// Reads the configuration.
type Load = Arc<dyn Fn() -> Result<Settings, ConfigError> + Send + Sync>;

pub(super) fn run(
    args: &Args,
    load: impl Fn() -> Result<Settings, ConfigError> + Send + Sync + 'static,
) -> anyhow::Result<ExitCode> {
    // before there is a secret in it
    let is_private = keep_memory_private();
    let settings = load()?;
    super::block_on(settings.log.format, async {
        if let Err(error) = is_private {
            tracing::warn!(%error, "core dumps could not be switched off");
        }
        let (mut signals, reload_signal) = (Signals::listen()?, ReloadSignal::listen()?);
        serve(settings, !args.no_migrate, &mut signals, Some((reload_signal, Arc::new(load))), |_| {}).await
    })
}

/// Serves until a signal, then stops in order. With `reload` the configuration is read anew when that is asked for.
/// `started` is told where the public listener is.
pub(super) async fn serve(
    settings: Settings,
    migrate: bool,
    signals: &mut Signals,
    reload: Option<(ReloadSignal, Load)>,
    started: impl FnOnce(SocketAddr),
) -> anyhow::Result<ExitCode> {
    // no secret may outlive its use: what is needed to the end is kept without them
    let (server, write_timeout) = (settings.server.clone(), settings.database.write_timeout);
    let max_database_connections = settings.database.max_connections;
    let other_files = u64::from(max_database_connections) + OTHER_FILES;
    let files = raise_open_file_limit().map(|files| files.saturating_sub(other_files));
    let [public_limits, admin_limits] = Limits::within(&server, files)?;
    if !clock::is_usable() {
        bail!("the clock of this machine shows a time before 1970 or after 9999; set it");
    }
    let spools = open_spools(&settings.spool).await?;
    let clock = Arc::new(ReceiptClock::after(spools.as_ref().and_then(Spools::newest_at_open)));

    let pool = PgPoolOptions::new()
        .max_connections(settings.database.max_connections - MIN_CONNECTIONS + 1)
        .acquire_timeout(write_timeout)
        .connect_lazy_with(settings.database.connect_options()?);
    let is_prepared = Arc::new(AtomicBool::new(false));
    let (tried, first_attempt) = oneshot::channel();
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn({
        let (pool, is_prepared, stop) = (pool.clone(), Arc::clone(&is_prepared), stop.clone());
        // the lock that keeps replicas apart while they migrate belongs to a session
        let migrate = migrate && !settings.database.transaction_pooler;
        async move {
            stop.run_until_cancelled(store::prepare(&pool, migrate, &is_prepared, tried)).await.transpose()?;
            stop.cancelled().await;
            Ok(())
        }
    });
    let metrics = Arc::new(Metrics::new()?);
    tasks.spawn(tidy(Arc::clone(&metrics), stop.clone()));
    let writers = Connections::default();
    let known_bookings_only: Arc<[&'static str]> = known_bookings_only(&settings.providers).into();
    let inbox = Inbox::start(
        inbox::Settings { max_batch: settings.inbox.max_batch, write_timeout, clock: Arc::clone(&clock) },
        |allowance| {
            let transaction_pooler = settings.database.transaction_pooler;
            let writer = Writer::new(pool.clone(), transaction_pooler, Arc::clone(&known_bookings_only));
            writer.within(allowance).counted_in(&writers)
        },
        spools.clone(),
        Arc::clone(&metrics),
        Arc::clone(&is_prepared),
        stop.clone(),
        &mut tasks,
    );
    let queues = [Environment::Live, Environment::Test].map(|environment| (environment, inbox.level(environment)));
    let traces = Arc::new(Traces::start());
    warn_of_secrets_like_data(&settings);
    let secrets = Secrets::new(&settings.providers, settings.admin.token.clone(), None);
    let secrets = Arc::new(CurrentSecrets::from_pointee(secrets));
    let receiver = Arc::new(Receiver {
        inbox,
        secrets: Arc::clone(&secrets),
        failure_limiter: FailureLimiter::new(server.authentication_failures_per_minute),
        interpret_limiter: InterpretLimiter::default(),
        clock,
        body_limit_bytes: server.body_limit_bytes,
        metrics: Arc::clone(&metrics),
        traces: Arc::clone(&traces),
    });
    let is_stopping = Arc::new(AtomicBool::new(false));
    let health = Health::new(pool.clone(), is_prepared, write_timeout, spools, Arc::clone(&is_stopping));
    let bodies = BodyReader::new(&server);
    let endpoints = endpoints(&settings.providers, &metrics);
    let public = public_router(endpoints, &receiver, health.clone(), &bodies, &server);
    // from now on the public listener alone holds the inbox, which ends with it
    drop(receiver);
    if let Some((reload_signal, load)) = reload {
        let (reload, stop) = (Reload::new(settings, Arc::clone(&secrets), pool.clone()), stop.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(reload.run(reload_signal, load)).await.transpose()?;
            Ok(())
        });
    }
    let bind = async |key: &str, address, limits, metrics| {
        Server::bind(address, limits, metrics).await.with_context(|| format!("{key}: cannot listen on {address}"))
    };
    let (of_public, of_admin) = (metrics.public_connections.clone(), metrics.admin_connections.clone());
    let public_server = bind("server.public_address", server.public_address, public_limits, of_public).await?;
    let admin_server = bind("server.admin_address", server.admin_address, admin_limits, of_admin).await?;
    let public_address = public_server.address();
    let observer = Observer {
        metrics,
        health: health.clone(),
        queues,
        bodies,
        connections: Arc::clone(public_server.connections()),
        writers,
        max_database_connections,
        secrets: Arc::clone(&secrets),
    };
    let admin = admin_router(health, observer, secrets, &server);

    // a database that is there is ready before the first delivery
    if first_attempt.await.is_err() {
        return Err(end_of(tasks.join_next().await));
    }
    tracing::info!(public.address = %public_address, admin.address = %admin_server.address(), "serving");
    started(public_address);
    tasks.spawn(public_server.serve(public, stop.clone()));
    tasks.spawn(admin_server.serve(admin, stop.clone()));

    tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, drain_delay_ms = server.drain_delay.as_millis(), "stopping");
        }
        ended = tasks.join_next() => return Err(end_of(ended)),
    }
    is_stopping.store(true, Ordering::Relaxed);
    tokio::select! {
        () = sleep(server.drain_delay) => {}
        signal = signals.next() => bail!("ended at once by a second signal ({signal})"),
    }
    // the listeners end with the last request, which lets the inbox go, which ends with the last delivery
    stop.cancel();
    tokio::select! {
        finished = timeout(server.shutdown_timeout, tasks.join_all()) => {
            let results = finished.context("the requests in flight did not finish within server.shutdown_timeout_ms")?;
            results.into_iter().collect::<anyhow::Result<()>>()?;
        }
        signal = signals.next() => bail!("ended at once by a second signal ({signal})"),
    }
    pool.close().await;
    spawn_blocking(move || traces.stop()).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Every task runs until it is told to stop: one that ends before takes the service down.
fn end_of(task: Option<Result<anyhow::Result<()>, JoinError>>) -> anyhow::Error {
    match task {
        Some(Ok(Err(error))) => error,
        other => anyhow!("a part of the service ended: {other:?}"),
    }
}

async fn open_spools(settings: &SpoolSettings) -> anyhow::Result<Option<Spools>> {
    let Some(directory) = settings.directory.clone() else {
        tracing::warn!("there is no spool (spool.directory): while the database is away, deliveries are refused");
        return Ok(None);
    };
    let max_bytes = settings.max_bytes;
    let spools = spawn_blocking(move || Spools::open(&directory, max_bytes)).await??;
    tracing::info!(records = spools.records(), "the spool is open");
    Ok(Some(spools))
}

/// Keeps small what waits to be counted.
async fn tidy(metrics: Arc<Metrics>, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(sleep(TIDY_PAUSE)).await.is_some() {
        metrics.tidy();
    }
    Ok(())
}

fn warn_of_secrets_like_data(settings: &Settings) {
    for key in settings.secrets_like_data() {
        tracing::warn!(key, "the secret {LIKE_DATA}");
    }
}

/// Of every provider: one that is not routed may get an account later.
fn endpoints(providers: &[ProviderSettings], metrics: &Metrics) -> Vec<(String, Endpoint)> {
    let endpoint = |settings: &ProviderSettings| {
        let (name, path) = (settings.provider.name(), settings.path.clone());
        if settings.accounts.is_empty() {
            tracing::warn!(provider = name, "not routed: it has no account in the configuration");
        } else {
            let accounts: Vec<_> = settings.accounts.iter().map(|account| account.name.as_str()).collect();
            tracing::info!(provider = name, path, accounts = accounts.join(", "), "routed");
        }
        let endpoint = Endpoint {
            provider: settings.provider,
            allowed_networks: settings.allowed_networks.clone(),
            metrics: metrics.provider(settings.provider),
        };
        (path, endpoint)
    };
    providers.iter().map(endpoint).collect()
}

/// The providers of which only bookings are taken that are announced.
pub(super) fn known_bookings_only(providers: &[ProviderSettings]) -> Vec<&'static str> {
    let rejecting = providers.iter().filter(|settings| settings.unknown_booking == UnknownBooking::Reject);
    rejecting.map(|settings| settings.provider.name()).collect()
}
