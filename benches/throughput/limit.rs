//! What this machine could do at best: a listener that does nothing but answer, and Postgres fed by a client that does nothing
//! else.
//!
//! A delivery needs both, and all of it shares the processor: 1 / (1/H + 1/P) deliveries a second. A lone one takes at least
//! as long as both one after the other.

use std::{
    env,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::{Json, Router, body::Bytes, routing::post};
use serde_json::{Value, json};
use sqlx::PgPool;
use ticket_webhooks::{
    clock,
    config::ServerSettings,
    delivery::Delivery,
    http::{Limits, Server},
    metrics::Metrics,
    providers::{PROVIDERS, Provider},
    receive::{Arrival, CollectedBody, interpret},
    store::Writer,
};
use tokio_util::sync::CancellationToken;

use crate::{
    load::Load,
    measure::{Bench, DATABASE},
    service::{Service, public_address},
    subject::Subject,
};

/// Makes this program run as the listener that only answers.
pub const ARGUMENT: &str = "--answering-server";

/// Statements in flight, and deliveries in each: what the service has at 256 connections.
const WRITERS: usize = 2;
const BATCH: usize = 128;

#[derive(Clone, Copy, Default)]
pub struct Limit {
    /// Read and answered; deliveries a second.
    pub answered: f64,
    /// Written to Postgres; deliveries a second.
    pub written: f64,
    /// Of reading and answering at one connection, the median in milliseconds.
    pub latency: f64,
}

impl Limit {
    /// Deliveries a second.
    pub fn rate(self) -> f64 {
        1.0 / (1.0 / self.answered + 1.0 / self.written)
    }
}

pub fn run(bench: &Bench, connections: usize) -> anyhow::Result<Limit> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(ARGUMENT);
    let server = Service::spawn(command, &bench.directory.join("answering.log"), public_address)?;
    bench.warm_up(&server, connections)?;
    let answered = Load::new(connections, bench.duration).run(server.address, &Arc::default())?.rate();
    let latency = Load::new(1, bench.duration).run(server.address, &Arc::default())?.latency(0.5);
    drop(server);
    bench.server.empty(DATABASE)?;
    let written = bench.server.with(DATABASE, async |pool| write(&pool, bench.duration).await)?;
    eprintln!("  answered {answered:.0}/s, p50 of one {latency:.2} ms, written {written:.0}/s");
    Ok(Limit { answered, written, latency })
}

/// The listener of the service, with a route that reads the body and answers. Serves until it is killed.
#[tokio::main]
pub async fn serve() -> anyhow::Result<()> {
    let [limits, _] = Limits::within(&ServerSettings::default(), None)?;
    let connections = Metrics::default().public_connections.clone();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), limits, connections).await?;
    let router =
        PROVIDERS.iter().fold(Router::new(), |router, provider| router.route(&provider.default_path(), post(answer)));
    eprintln!("{{\"public.address\":\"{}\"}}", server.address());
    server.serve(router, CancellationToken::new()).await
}

async fn answer(body: Bytes) -> Json<Value> {
    Json(json!({"length": body.len()}))
}

/// Deliveries a second, of those that were written.
async fn write(pool: &PgPool, duration: Duration) -> anyhow::Result<f64> {
    let samples: Vec<_> = PROVIDERS.iter().map(|provider| admitted(*provider)).collect::<anyhow::Result<_>>()?;
    let samples = Arc::new(samples);
    let writer = Writer::new(pool.clone(), false, Arc::default());
    let began = Instant::now();
    let tasks = (0..WRITERS).map(|number| {
        let (mut writer, samples) = (writer.another(), Arc::clone(&samples));
        tokio::spawn(async move {
            let (mut next, mut written) = (0, 0);
            while began.elapsed() < duration {
                let batch: Vec<_> = (0..BATCH).map(|_| numbered(&samples, number, &mut next)).collect();
                written += writer.write(&batch, false).await?.len();
            }
            anyhow::Ok(written)
        })
    });
    let mut written = 0;
    for task in tasks.collect::<Vec<_>>() {
        written += task.await??;
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

/// The next delivery of a writer, for a new booking.
fn numbered(samples: &[Delivery], writer: usize, next: &mut usize) -> Delivery {
    let mut delivery = samples[*next % samples.len()].clone();
    delivery.set_id(clock::new_id());
    if let Delivery::Event(event) = &mut delivery {
        event.booking.booking_ref = format!("BENCH-{writer}{next:011}").into();
    }
    *next += 1;
    delivery
}

/// The sample of a provider, ready to be written.
fn admitted(provider: &'static dyn Provider) -> anyhow::Result<Delivery> {
    let Subject { provider, accounts, redactor, headers, body } = Subject::new(provider);
    let is_in_headers = provider.authenticates_by_header();
    let proof_in_headers = is_in_headers.then(|| accounts.verify(provider.credentials_in_header(&headers))).transpose();
    let admitted = interpret(&Arrival {
        provider,
        accounts: &accounts,
        proof_in_headers: proof_in_headers.ok().context("a sample has the right credentials")?,
        body: &CollectedBody::unmetered(body),
        is_encoding_supported: true,
        body_limit_bytes: 1 << 20,
        received_at: clock::now(),
        redactor: &redactor,
        dropped_members: &[],
    });
    Ok(admitted.ok().context("a sample is admitted")?.delivery)
}
