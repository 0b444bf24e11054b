//! The wiring plan: the only place where the parts of the service are made and connected.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, bail};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};

use super::{
    Load,
    background::Background,
    forwards::forwards,
    providers_rejecting_unknown,
    reload::Reload,
    service::{Listener, Service, Start},
    warn_of_weak_secrets,
};
use crate::{
    activity::{Activity, ActivityWriter},
    api::{self, Api, ConfiguredForward},
    bookings::Bookings,
    clock::{self, ReceiptClock},
    commits::Commits,
    config::{DatabaseSettings, ProviderSettings, ServerSettings, Settings, SpoolSettings},
    feed::Feed,
    forward::consumer_name,
    http::{BodyReader, Limits, Server, admin_service, public_service},
    inbox::{self, Inbox},
    lifecycle::{ReloadSignal, Stage, Tasks, raise_open_file_limit},
    metrics::{Metrics, QueueSource, Scrape, Sources},
    readiness::Readiness,
    receive::{Endpoint, FailureLimiter, InterpretLimiter, Receiver},
    reprocess::Reprocessor,
    secrets::{CurrentSecrets, Secrets},
    spool::Spools,
    store::{self, Pool, Writer, WriterConnections},
    telemetry::Traces,
    ticket_event::Environment,
};

/// Of a connection to Postgres. Below that of most firewalls and load balancers, which is four minutes or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);

/// Open files beside connections: standard streams, the runtime's own, the spool, `/proc`, name look-ups.
const OTHER_FILES: u64 = 24;

/// Connections of the writers, and the one for readiness and the schema.
const WRITERS_AND_CHECKS: u32 = inbox::CONNECTIONS + 1;

/// Where deliveries are recorded.
struct Database {
    pool: PgPool,
    /// For everything beside the deliveries.
    shared_pool: Pool,
    /// The tables are up to date.
    schema_ready: Arc<AtomicBool>,
    first_attempt: oneshot::Receiver<()>,
}

impl Service {
    /// Connects the parts, starts the tasks that need no client, and binds the listeners. With `reload` the
    /// configuration is read again when that is asked for.
    pub(super) async fn build(
        settings: Settings,
        migrate: bool,
        reload: Option<(ReloadSignal, Load)>,
    ) -> anyhow::Result<Self> {
        // settings hold secrets, which must not outlive their use: what is needed until the end is copied without them
        let (server, write_timeout) = (settings.server.clone(), settings.database.write_timeout);
        let max_database_connections = settings.database.max_connections;
        let [public_limits, admin_limits] = limits(&server, max_database_connections)?;
        if !clock::is_usable() {
            bail!("the clock of this machine shows a time before 1970 or after 9999; set it");
        }

        let mut tasks = Tasks::default();
        let (metrics, activity) = (Arc::new(Metrics::default()), Arc::new(Activity::default()));
        let traces = Arc::new(Traces::start());
        warn_of_weak_secrets(&settings);
        let secrets = Secrets::new(&settings.providers, settings.admin.token.clone(), None);
        let secrets = Arc::new(CurrentSecrets::from_pointee(secrets));

        let spools = open_spools(&settings.spool).await?;
        let clock = Arc::new(ReceiptClock::after(spools.as_ref().and_then(Spools::newest_at_open)));
        let Database { pool, shared_pool, schema_ready, first_attempt } =
            database(&settings.database, migrate, &mut tasks)?;
        let (writers, writes_fail) = (WriterConnections::default(), Arc::new(AtomicBool::new(false)));
        let commits = Arc::new(Commits::default());
        let rejecting = providers_rejecting_unknown(&settings.providers);
        let writer = Writer::new(pool.clone(), settings.database.transaction_pooler, Arc::clone(&rejecting));
        let reprocessor = Arc::new(Reprocessor {
            pool: shared_pool.clone(),
            secrets: Arc::clone(&secrets),
            body_limit_bytes: server.body_limit_bytes,
            dropped_members: settings.privacy.dropped_members(),
            providers_rejecting_unknown: rejecting,
            metrics: Arc::clone(&metrics),
            commits: Arc::clone(&commits),
        });
        let inbox = Inbox::start(
            inbox::Settings { max_batch: settings.inbox.max_batch, write_timeout },
            inbox::Parts {
                clock: Arc::clone(&clock),
                writer: writer.counted_in(&writers),
                spools: spools.clone(),
                metrics: Arc::clone(&metrics),
                schema_ready: Arc::clone(&schema_ready),
                writes_fail: Arc::clone(&writes_fail),
                commits: Arc::clone(&commits),
            },
            &mut tasks,
        );

        let feed = Feed::start(shared_pool.clone(), Arc::clone(&commits), &mut tasks);

        let receiver = Arc::new(Receiver {
            inbox: inbox.clone(),
            secrets: Arc::clone(&secrets),
            failure_limiter: FailureLimiter::new(server.authentication_failures_per_minute),
            interpret_limiter: InterpretLimiter::default(),
            clock,
            body_limit_bytes: server.body_limit_bytes,
            dropped_members: settings.privacy.dropped_members(),
            metrics: Arc::clone(&metrics),
            activity: Arc::clone(&activity),
            traces: Arc::clone(&traces),
        });
        let is_stopping = Arc::new(AtomicBool::new(false));
        let live_spool = spools.as_ref().map(|spools| spools.live.clone());
        let readiness = Readiness::new(
            // it ends no backend that the committers have given up, so that it makes no commit visible
            Writer::new(pool.clone(), settings.database.transaction_pooler, Arc::default()),
            Arc::clone(&schema_ready),
            writes_fail,
            write_timeout,
            live_spool,
            Arc::clone(&is_stopping),
        );
        let bookings =
            Bookings::new(shared_pool.clone(), settings.bookings.stuck_after_minutes, Arc::clone(&metrics.bookings));
        let mut background = Background { tasks: &mut tasks, schema_ready: &schema_ready, commits: &commits };
        background.start(&shared_pool, &bookings, &reprocessor, &settings.privacy);
        background.activity(ActivityWriter::new(shared_pool.clone(), Arc::clone(&activity)));
        let (forwards, signing_keys) = forwards(&settings, &feed, &shared_pool, &metrics)?;
        for forward in forwards {
            background.forward(forward);
        }
        let bodies = BodyReader::new(&server);
        let endpoints = endpoints(&settings.providers, &metrics, &activity);
        let provider_paths = endpoints.iter().map(|(path, endpoint)| (path.clone(), endpoint.provider)).collect();
        let retention_days = settings.privacy.retention_days;
        let configured_forwards: Vec<_> = settings.forward.iter().map(ConfiguredForward::of).collect();
        if let Some((reload_signal, load)) = reload {
            let reload = Reload::new(settings, Arc::clone(&secrets), signing_keys, pool.clone(), shared_pool.clone());
            let stop = tasks.soft_token(Stage::Intake);
            tasks.spawn("configuration reload", Stage::Intake, async move {
                stop.run_until_cancelled(reload.run(reload_signal, load)).await.unwrap_or(Ok(()))
            });
        }

        let bind = async |key: &str, address, limits, metrics| {
            Server::bind(address, limits, metrics).await.with_context(|| format!("{key}: cannot listen on {address}"))
        };
        let (of_public, of_admin) = (metrics.public_connections.clone(), metrics.admin_connections.clone());
        let public = bind("server.public_address", server.public_address, public_limits, of_public).await?;
        let admin = bind("server.admin_address", server.admin_address, admin_limits, of_admin).await?;
        let public_routes = public_service(endpoints, &receiver, readiness.clone(), &bodies, &server);
        let connections = Arc::clone(public.connections());
        let scrape = Scrape::new(Sources {
            metrics,
            readiness: readiness.clone(),
            secrets: Arc::clone(&secrets),
            spools,
            queues: [Environment::Live, Environment::Test].map(|environment| queue_source(&inbox, environment)),
            body_memory: Box::new(move || bodies.memory()),
            connections: Box::new(move || connections.usage()),
            pool: pool.clone(),
            shared_pool: shared_pool.clone(),
            writers,
            max_database_connections,
            retention_days,
            forwards: configured_forwards.iter().map(|forward| consumer_name(&forward.name)).collect(),
        });
        let api = Arc::new(Api {
            pool: shared_pool.clone(),
            feed,
            bookings,
            reprocessor,
            forwards: configured_forwards,
            streams: Arc::new(Semaphore::new(api::MAX_STREAMS)),
            provider_paths,
        });
        let admin_routes = admin_service(readiness, scrape, &api, secrets, &server);
        let stop = tasks.soft_token(Stage::Intake);
        let start = Start {
            first_attempt,
            public: Listener { address: public.address(), serve: Box::pin(public.serve(public_routes, stop.clone())) },
            admin: Listener { address: admin.address(), serve: Box::pin(admin.serve(admin_routes, stop)) },
        };
        Ok(Self {
            tasks,
            start: Some(start),
            inbox,
            pool,
            shared_pool,
            traces,
            is_stopping,
            drain_delay: server.drain_delay,
            shutdown_timeout: server.shutdown_timeout,
        })
    }
}

/// Of the public and the admin listener, with which all of the service's files can be open at once.
fn limits(server: &ServerSettings, max_database_connections: u32) -> anyhow::Result<[Limits; 2]> {
    let other_files = u64::from(max_database_connections) + OTHER_FILES;
    let files = raise_open_file_limit().map(|files| files.saturating_sub(other_files));
    Ok(Limits::within(server, files)?)
}

/// Makes the pool, which connects when it is used, and starts the task that brings the tables up to date.
fn database(settings: &DatabaseSettings, migrate: bool, tasks: &mut Tasks) -> anyhow::Result<Database> {
    let options = settings.connect_options()?;
    let pool = PgPoolOptions::new()
        // for readiness and the schema; the writers have connections of their own
        .max_connections(1)
        .acquire_timeout(settings.write_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .connect_lazy_with(options.clone());
    let shared_pool = Pool::new(options, settings.max_connections - WRITERS_AND_CHECKS, settings.transaction_pooler);
    let schema_ready = Arc::new(AtomicBool::new(false));
    let (attempted, first_attempt) = oneshot::channel();
    tasks.spawn("database schema", Stage::Intake, {
        let (pool, schema_ready, stop) = (pool.clone(), Arc::clone(&schema_ready), tasks.soft_token(Stage::Intake));
        // the lock against migrations of other replicas belongs to a session, which a transaction pooler does not keep
        let migrate = migrate && !settings.transaction_pooler;
        async move {
            stop.run_until_cancelled(store::wait_for_schema(&pool, migrate, &schema_ready, attempted))
                .await
                .transpose()?;
            stop.cancelled().await;
            Ok(())
        }
    });
    Ok(Database { pool, shared_pool, schema_ready, first_attempt })
}

async fn open_spools(settings: &SpoolSettings) -> anyhow::Result<Option<Spools>> {
    let Some(directory) = settings.directory.clone() else {
        tracing::warn!(
            "there is no spool (spool.directory): while the database is unavailable, deliveries are answered with an error"
        );
        return Ok(None);
    };
    let max_bytes = settings.max_bytes;
    let spools = spawn_blocking(move || Spools::open(&directory, max_bytes)).await??;
    tracing::info!(records = spools.records(), "the spool is open");
    Ok(Some(spools))
}

fn queue_source(inbox: &Inbox, environment: Environment) -> QueueSource {
    let (deliveries, memory) = (inbox.depth(environment), inbox.depth(environment));
    QueueSource {
        environment,
        deliveries: Box::new(move || deliveries.deliveries()),
        memory: Box::new(move || memory.bytes()),
    }
}

/// Of every provider with its path: one without an account may get one by a reload.
fn endpoints(providers: &[ProviderSettings], metrics: &Metrics, activity: &Activity) -> Vec<(String, Endpoint)> {
    let endpoint = |settings: &ProviderSettings| {
        let (name, path) = (settings.provider.name(), settings.path.clone());
        if settings.accounts.is_empty() {
            tracing::warn!(provider = name, "not routed: no account in the configuration");
        } else {
            let accounts: Vec<_> = settings.accounts.iter().map(|account| account.name.as_str()).collect();
            tracing::info!(provider = name, path, accounts = accounts.join(", "), "routed");
        }
        let endpoint = Endpoint {
            provider: settings.provider,
            allowed_networks: settings.allowed_networks.clone(),
            metrics: metrics.provider(settings.provider),
            activity: activity.provider(settings.provider),
        };
        (path, endpoint)
    };
    providers.iter().map(endpoint).collect()
}
