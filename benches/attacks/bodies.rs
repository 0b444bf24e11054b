//! Attacks by bodies that are expensive to read.

use std::time::Duration;

use anyhow::Context;
use ticket_webhooks::providers::{Provider, by_name};

use crate::{
    bench::{Bench, LIVE, TEST},
    client::Flood,
    live::Live,
    probe::Probe,
    report::Row,
    requests::{Request, credentials},
};

/// The size limit of a body.
const LIMIT: usize = 256 * 1024;

/// An empty deflate block with fixed Huffman codes: not final, type 1, end of block. Lowest bit first.
const EMPTY_BLOCK: [bool; 10] = [false, true, false, false, false, false, false, false, false, false];

/// Gzip of 210,000 empty blocks, unauthenticated: at 0.6 MB/s, and at full rate.
pub fn empty_gzip_blocks(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let path = provider("booking_callback")?.default_path();
    let request = Request::post(&path, &[("content-encoding", "gzip")], &gzip_of_empty_blocks());
    let mut rows = Vec::new();
    for (name, connections, pause) in [
        ("1. gzip of 210,000 empty blocks, unauthenticated, 0.6 MB/s", 4, Duration::from_millis(1700)),
        ("1. the same from 32 connections at full rate", 32, Duration::ZERO),
    ] {
        let subject = bench.start(&[])?;
        let (loaded, (answers, slowest, cpu)) = bench.under_load(&subject, Live::Kept, || {
            let probe = Probe::start(subject.public, "/livez");
            let before = subject.service.cpu()?;
            let flood =
                Flood { pause, ..Flood::new(subject.public, connections, vec![request.clone()], bench.duration) };
            let answers = flood.run()?;
            let after = subject.service.cpu()?;
            let slowest = probe.finish()?.into_iter().map(|(_, took)| took).max().unwrap_or_default();
            Ok((answers, slowest, after.user + after.system - before.user - before.system))
        })?;
        let finding = format!(
            "slowest /livez {:.0} ms; {:.1} ms of CPU a body at most; {answers}",
            slowest.as_secs_f64() * 1000.0,
            cpu * 1000.0 / answers.all() as f64
        );
        rows.push(Row::loaded(name, loaded, finding));
    }
    Ok(rows)
}

/// 45,000 ticket numbers in each body of a test account.
pub fn many_tickets(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let provider = provider("ticket_status_update")?;
    let tickets = (1_000..46_000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let name = r#"{"NameElement":{"FirstName":"Jane","LastName":"Smith","DocumentNumber":"A1"}}"#;
    let body = format!(
        r#"{{"BookingTransactionRef":"TICKETS-1","PNR":"ABC123","TicketInfoes":[{{"PassengerInfo":{name},"TicketNumbers":[{tickets}]}}]}}"#
    );
    anyhow::ensure!(body.len() < LIMIT, "the body has {} bytes", body.len());
    let token = format!("Bearer {}", credentials(provider, TEST).concat());
    let request = Request::post(&provider.default_path(), &[("authorization", &token)], body.as_bytes());
    let subject = bench.start(&[])?;
    let (loaded, answers) = bench
        .under_load(&subject, Live::Kept, || Flood::new(subject.public, 120, vec![request], bench.duration).run())?;
    let finding = format!("{:.0} bodies/s; {answers}", answers.rate());
    Ok(vec![Row::loaded("2. 45,000 ticket numbers a body, test account, 120 connections", loaded, finding)])
}

/// One account repeats one body that is not JSON.
pub fn repeated_broken(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let provider = provider("booking_callback")?;
    let presented = credentials(provider, LIVE);
    let presented: Vec<_> = presented.iter().map(String::as_str).collect();
    let mut body = provider.sample(&presented, "BROKEN-1").body;
    body.pop();
    let request = Request::post(&provider.default_path(), &[], body.as_bytes());
    let size = "select pg_total_relation_size('unprocessed_deliveries')";
    let subject = bench.start(&[])?;
    let before = bench.number(size)?;
    let (loaded, answers) = bench.under_load(&subject, Live::Kept, || {
        Flood::new(subject.public, 32, vec![request], bench.duration.min(Duration::from_secs(5))).run()
    })?;
    let grown = (bench.number(size)? - before) as f64 / (1024.0 * 1024.0);
    let rows = bench.number("select count(*) from unprocessed_deliveries")?;
    let finding = format!("unprocessed_deliveries has grown by {grown:.1} MB and {rows} rows; {answers}");
    Ok(vec![Row::loaded("10. one broken body again and again, one account, 32 connections", loaded, finding)])
}

pub fn provider(name: &str) -> anyhow::Result<&'static dyn Provider> {
    by_name(name).with_context(|| format!("there is no provider {name}"))
}

/// Gzip of exactly the size limit.
fn gzip_of_empty_blocks() -> Vec<u8> {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // checksum and length of an empty output
    const TAIL: [u8; 8] = [0; 8];
    let blocks = (LIMIT - HEAD.len() - TAIL.len()) * 8 / EMPTY_BLOCK.len();
    let mut bits: Vec<bool> = EMPTY_BLOCK.repeat(blocks);
    // the final block has its bit set
    let last = bits.len() - EMPTY_BLOCK.len();
    bits[last] = true;
    let bytes = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    HEAD.into_iter().chain(bytes).chain(TAIL).collect()
}
