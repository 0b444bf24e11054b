//! Attacks without credentials.

use std::{net::SocketAddr, process::Command, time::Duration};

use ticket_webhooks::providers::PROVIDERS;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    bench::{Bench, LIVE, TEST},
    bodies::provider,
    client::{address, block_on, connect},
    live::Live,
    probe::{Probe, ask, said_200, send},
    report::Row,
    requests::{NUMBER, Request, credentials},
    wire,
};

const TRUST_ALL: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8");

/// More than the 2,048 connections of a listener: some are refused.
const HELD: usize = 2_200;

/// Holds connections open with a head and one byte of body.
pub fn held_bodies(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let subject = bench.start(&[])?;
    let path = provider("order_ticketed")?.default_path();
    let begun = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{{");
    let (loaded, (public, admin)) = bench.under_load(&subject, Live::Reconnecting, || {
        let (public, admin) = (Probe::start(subject.public, "/readyz"), Probe::start(subject.admin, "/readyz"));
        block_on(async {
            let held = open(subject.public, HELD, 256, begun.as_bytes()).await;
            sleep(bench.duration).await;
            drop(held);
            Ok(())
        })?;
        Ok((public.finish()?, admin.finish()?))
    })?;
    let finding = format!("/readyz: public {}, admin {}", said_200(&public), said_200(&admin));
    let attack =
        "4. 2,200 heads with one byte of body, held open from 9 addresses (a connection for each live delivery)";
    Ok(vec![Row::loaded(attack, loaded, finding)])
}

/// Checks whether an `x-request-id` that holds a secret is treated as any other.
pub fn guessed_ids(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let secrets = credentials(provider("order_ticketed")?, LIVE)
        .into_iter()
        .chain(credentials(provider("booking_callback")?, TEST));
    let ids: Vec<_> = secrets.flat_map(|secret| [format!("id-{secret}-1"), secret]).collect();
    let mut findings = Vec::new();
    for (who, variables) in [("a stranger", &[][..]), ("through a trusted proxy", &[TRUST_ALL])] {
        let subject = bench.start(variables)?;
        let is_taken = |id: &str| -> anyhow::Result<bool> {
            let answer = ask(subject.public, "/livez", &[("x-request-id", id)])?;
            Ok(String::from_utf8_lossy(&answer)
                .to_lowercase()
                .contains(&format!("x-request-id: {}\r\n", id.to_lowercase())))
        };
        let is_other_taken = is_taken("some-other-id")?;
        let mut differing = 0;
        for id in &ids {
            differing += usize::from(is_taken(id)? != is_other_taken);
        }
        let treatment = if is_other_taken { "taken" } else { "replaced" };
        findings.push(match differing {
            0 => format!("{who}: no difference (all {treatment})"),
            _ => format!("{who}: **{differing} of {} ids with a secret differ** (others {treatment})", ids.len()),
        });
    }
    Ok(vec![Row::words("7. guessing a secret by x-request-id", findings.join("; "))])
}

/// Failed authentications from many /64 of one /48, and a service with a low limit for open files.
pub fn failures_and_files(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    Ok(vec![failed_authentications(bench)?, few_files(bench)?])
}

fn failed_authentications(bench: &Bench) -> anyhow::Result<Row> {
    const BLOCKS: u32 = 5_000;
    const CONNECTIONS: u32 = 16;
    let subject = bench.start(&[TRUST_ALL])?;
    let path = provider("ticket_status_update")?.default_path();
    let (loaded, statuses) = bench.under_load(&subject, Live::Kept, || {
        block_on(async {
            let mut connections = JoinSet::new();
            for first in 0..CONNECTIONS {
                let (to, path) = (subject.public, path.clone());
                connections.spawn(async move {
                    let stream = connect(address(0), to).await?;
                    let mut statuses = Vec::new();
                    for block in (first..BLOCKS).step_by(CONNECTIONS as usize) {
                        let client = format!("2001:db8:7:{block:x}::1");
                        let headers = [("x-forwarded-for", client.as_str()), ("authorization", "Bearer wrong")];
                        let mut request = Request::post(&path, &headers, b"{}");
                        statuses
                            .push(wire::status(wire::exchange(&stream, request.numbered(0), &mut [0; 4096]).await?));
                    }
                    anyhow::Ok(statuses)
                });
            }
            let mut statuses = Vec::new();
            while let Some(of_one) = connections.join_next().await {
                statuses.extend(of_one??);
            }
            Ok(statuses)
        })
    })?;
    let of = |status: u16| statuses.iter().filter(|answered| **answered == status).count();
    let finding = format!("{} answered 401, {} 429", of(401), of(429));
    Ok(Row::loaded("11. failed authentications from 5,000 /64 of one /48", loaded, finding))
}

fn few_files(bench: &Bench) -> anyhow::Result<Row> {
    const TRIES: usize = 5;
    let mut command = Command::new("prlimit");
    command.arg("--nofile=64").arg(&bench.binary);
    let attack = "11. 100 idle strangers on each listener where 64 files may be open";
    let subject = match bench.run(command, &[]) {
        Ok(subject) => subject,
        Err(error) => return Ok(Row::words(attack, format!("it does not start: {error:#}"))),
    };
    let strangers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let idle = strangers.block_on(async {
        let idle = [open(subject.public, 100, 100, b"").await, open(subject.admin, 100, 100, b"").await];
        sleep(Duration::from_millis(500)).await;
        idle
    });
    let (mut delivered, mut ready) = (0, 0);
    for (attempt, provider) in PROVIDERS.iter().cycle().take(TRIES).enumerate() {
        let mut request = Request::sample(*provider, LIVE, &format!("FILES-{NUMBER}"), 0);
        delivered += usize::from(wire::status(&send(subject.public, request.numbered(attempt as u64))?) == 200);
        ready += usize::from(wire::status(&ask(subject.admin, "/readyz", &[])?) == 200);
    }
    drop(idle);
    let finding = format!("{delivered} of {TRIES} deliveries and {ready} of {TRIES} admin /readyz get through");
    Ok(Row::words(attack, finding))
}

/// Opens connections that send `begun` and nothing more; leaves out the refused ones.
async fn open(to: SocketAddr, count: usize, of_an_address: usize, begun: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for index in 0..count {
        let connected = timeout(Duration::from_secs(1), connect(address(index / of_an_address), to)).await;
        if let Ok(Ok(stream)) = connected {
            let _ = stream.try_write(begun);
            held.push(stream);
        }
    }
    held
}
