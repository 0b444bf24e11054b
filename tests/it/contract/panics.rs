//! A panic of the service's own: answered in the provider's words, counted, logged, and nobody else's concern.
//!
//! The service runs in this process, as no delivery that makes the real binary panic is known.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use http::HeaderMap;
use serde_json::{Value, json};
use ticket_webhooks::{
    activity::Activity,
    clock::ReceiptClock,
    config::{self, Settings},
    credentials::{AuthenticationFailure, Presented},
    http::{BodyReader, Limits, Server, public_service},
    inbox::{self, Inbox},
    lifecycle::{Stage, Tasks},
    metrics::{Metrics, QueueSource, Scrape, Sources},
    payload::Payload,
    providers::{Credential, EncodedReply, NormalizeError, Provider, Reply, Sample},
    readiness::Readiness,
    receive::{Endpoint, FailureLimiter, InterpretLimiter, Receiver},
    secrets::{CurrentSecrets, Secrets},
    store::{Pool, Writer, WriterConnections},
    telemetry::Traces,
    ticket_event::{Booking, Environment},
};
use time::Date;
use tokio::task::spawn_blocking;

use crate::support::{Database, PROVIDERS, Wire, settings};

/// The booking that the service cannot stand.
const FATAL: &str = "FATAL";

/// A provider that panics when it normalizes a delivery for the booking [`FATAL`].
struct Panicking(&'static dyn Provider);

impl Provider for Panicking {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn credentials(&self) -> &'static [Credential] {
        self.0.credentials()
    }

    fn credentials_in_header<'a>(&self, headers: &'a HeaderMap) -> Result<Presented<'a>, AuthenticationFailure> {
        self.0.credentials_in_header(headers)
    }

    fn normalize(&self, payload: &Payload, received_on: Date) -> Result<Booking, NormalizeError> {
        let booking = self.0.normalize(payload, received_on)?;
        assert_ne!(booking.booking_ref, FATAL, "on purpose");
        Ok(booking)
    }

    fn encode(&self, reply: &Reply) -> EncodedReply {
        self.0.encode(reply)
    }

    fn sample(&self, credentials: &[&str], booking_ref: &str) -> Sample {
        self.0.sample(credentials, booking_ref)
    }

    fn structured_members(&self) -> &'static [&'static str] {
        self.0.structured_members()
    }
}

/// The public listener over a database, in this process.
struct InProcess {
    address: SocketAddr,
    scrape: Scrape,
    inbox: Inbox,
    tasks: Tasks,
}

impl InProcess {
    async fn start(database: &Database) -> Self {
        let variables = settings(&database.url()).into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut settings: Settings = config::load(None, variables).unwrap();
        for provider in &mut settings.providers {
            provider.provider = Box::leak(Box::new(Panicking(provider.provider)));
        }
        let mut tasks = Tasks::default();
        let (metrics, clock) = (Arc::new(Metrics::default()), Arc::new(ReceiptClock::after(None)));
        let activity = Arc::new(Activity::default());
        let secrets = Arc::new(CurrentSecrets::from_pointee(Secrets::new(&settings.providers, None, None)));
        let schema_ready = Arc::new(AtomicBool::new(true));
        let write_timeout = settings.database.write_timeout;
        let inbox = Inbox::start(
            inbox::Settings { max_batch: 1, write_timeout },
            inbox::Parts {
                clock: Arc::clone(&clock),
                writer: Writer::new(database.pool.clone(), false, Arc::new([])),
                spools: None,
                metrics: Arc::clone(&metrics),
                schema_ready: Arc::clone(&schema_ready),
                writes_fail: Arc::default(),
                commits: Arc::default(),
            },
            &mut tasks,
        );
        let receiver = Arc::new(Receiver {
            inbox: inbox.clone(),
            secrets: Arc::clone(&secrets),
            failure_limiter: FailureLimiter::new(settings.server.authentication_failures_per_minute),
            interpret_limiter: InterpretLimiter::default(),
            clock,
            body_limit_bytes: settings.server.body_limit_bytes,
            dropped_members: &[],
            metrics: Arc::clone(&metrics),
            activity: Arc::clone(&activity),
            traces: Arc::new(Traces::start()),
        });
        let is_stopping = Arc::default();
        let writer = Writer::new(database.pool.clone(), false, Arc::new([]));
        let readiness = Readiness::new(writer, schema_ready, Arc::default(), write_timeout, None, is_stopping);
        let endpoints = settings.providers.iter().map(|settings| {
            let (metrics, activity) = (metrics.provider(settings.provider), activity.provider(settings.provider));
            let allowed_networks = Vec::new();
            (settings.path.clone(), Endpoint { provider: settings.provider, allowed_networks, metrics, activity })
        });
        let bodies = BodyReader::new(&settings.server);
        let service = public_service(endpoints.collect(), &receiver, readiness.clone(), &bodies, &settings.server);
        let [limits, _] = Limits::within(&settings.server, None).unwrap();
        let server = Server::bind(settings.server.public_address, limits, metrics.public_connections.clone());
        let server = server.await.unwrap();
        let address = server.address();
        let stop = tasks.soft_token(Stage::Intake);
        tasks.spawn("public listener", Stage::Intake, server.serve(service, stop));
        let nothing = || -> Box<dyn Fn() -> (usize, usize) + Send + Sync> { Box::new(|| (0, 0)) };
        let queues = [Environment::Live, Environment::Test];
        let scrape = Scrape::new(Sources {
            metrics,
            readiness,
            secrets,
            spools: None,
            queues: queues.map(|environment| QueueSource { environment, deliveries: nothing(), memory: nothing() }),
            body_memory: nothing(),
            connections: nothing(),
            pool: database.pool.clone(),
            shared_pool: Pool::new(database.pool.connect_options().as_ref().clone(), 2, false),
            writers: WriterConnections::default(),
            max_database_connections: 4,
            retention_days: None,
            forwards: Vec::new(),
        });
        Self { address, scrape, inbox, tasks }
    }

    async fn stop(mut self) {
        self.tasks.stop(Stage::Intake).await.unwrap();
        self.inbox.close();
        self.tasks.stop(Stage::Commit).await.unwrap();
    }
}

/// What is logged on this thread, on which the listener runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_is_answered_as_not_durable_and_the_connection_goes_on() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let database = Database::new().await;
    let service = InProcess::start(&database).await;
    for provider in &PROVIDERS {
        // read in its place, and on another thread
        for padding in [0, 40_000] {
            let mut wire = Wire::try_from([127, 0, 0, 1], &service.address.to_string()).await.unwrap();
            let request = move |booking: &str| {
                let mut delivery = (provider.delivery)("main", booking);
                delivery["padding"] = "x".repeat(padding).into();
                let (body, path) = (delivery.to_string(), provider.path);
                let authorization = (provider.authorization)("main").unwrap_or_default();
                format!(
                    "POST {path}/ HTTP/1.1\r\nhost: test\r\nx-request-id: a-strangers\r\ncontent-length: {}\r\n\
                     authorization: {authorization}\r\n\r\n{body}",
                    body.len()
                )
            };
            let answers = spawn_blocking(move || {
                let bookings = [FATAL.to_owned(), format!("after-{padding}"), FATAL.to_owned()];
                bookings.map(|booking| {
                    wire.send(request(&booking).as_bytes());
                    wire.answer()
                })
            });
            let [(head, body), recorded, again] = answers.await.unwrap();
            let status = if provider.name == "ticket_status_update" { 422 } else { 503 };
            for expected in
                [&format!("http/1.1 {status} "), "retry-after: 30\r\n", "content-type: application/json\r\n"]
            {
                assert!(head.contains(expected), "{head}");
                assert!(again.0.contains(expected), "{again:?}");
            }
            let body: Value = serde_json::from_str(&body).unwrap();
            let words = match provider.name {
                "ticket_status_update" => json!({"code": 422, "message": ["Something went wrong..."]}),
                "booking_callback" => {
                    let message = &body["Error"]["ErrorMessage"];
                    json!({"Error": {"ErrorCode": 503, "ErrorMessage": message}})
                }
                _ => json!({"status": 503, "msg": body["msg"]}),
            };
            assert_eq!(body, words);
            assert!(!body.to_string().contains("on purpose"));
            assert!(recorded.0.starts_with("http/1.1 200 "), "{recorded:?}");
            let id = head.split("x-request-id: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
            assert_ne!(id, "a-strangers");
            let log = log.text();
            let line =
                log.lines().find(|line| line.contains("ERROR") && line.contains(id)).unwrap_or_else(|| panic!("{log}"));
            assert!(line.contains(provider.name) && line.contains("not_durable"), "{line}");
        }
    }
    let page = service.scrape.page().await;
    for provider in &PROVIDERS {
        let series = |environment, outcome| {
            format!(
                "ticket_webhooks_deliveries_total{{provider=\"{}\",environment=\"{environment}\",outcome=\"{outcome}\"}}",
                provider.name
            )
        };
        for expected in
            [format!("{} 4\n", series("none", "not_durable")), format!("{} 2\n", series("live", "recorded"))]
        {
            assert!(page.contains(&expected), "no {expected} in {page}");
        }
    }
    assert_eq!(database.events().await.len(), 6);
    assert!(!log.text().contains("on purpose"));
    service.stop().await;
}
