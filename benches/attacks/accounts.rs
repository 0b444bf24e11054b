//! Attacks by accounts: how one sender's load delays the others.

use std::time::{Duration, Instant};

use anyhow::ensure;
use ticket_webhooks::providers::PROVIDERS;

use crate::{
    bench::{Bench, LIVE, Loaded, Subject, TEST},
    bodies::provider,
    client::{Answers, Flood},
    live::Live,
    report::Row,
    requests::{NUMBER, Request, credentials},
};

/// Limit for draining the spool.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Revisions of one booking compared with the same load on many bookings: sent directly, and drained from the spool.
pub fn hot_booking(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let subject = bench.start(&[])?;
    let (different, many) = flooded(bench, &subject, bookings("MANY")?)?;
    let (hot, one) = flooded(bench, &subject, revisions("HOT")?)?;
    let finding = format!(
        "the others' p50 {:.1} times that with different bookings ({:.1} ms), acknowledged {} instead of {}; one \
         booking {:.0}/s, different ones {:.0}/s",
        hot.p50 / different.p50,
        different.p50,
        hot.sent - hot.refused,
        different.sent - different.refused,
        one.rate(),
        many.rate(),
    );
    let mut rows = vec![Row::loaded("3. revisions of one booking, 256 connections", hot, finding)];
    drop(subject);

    let different = drained(bench, bookings("MANY")?, "MANY")?;
    let hot = drained(bench, revisions("HOT")?, "HOT")?;
    let finding = format!("{hot}; different bookings {different}");
    rows.push(Row::words(format!("3. {} revisions of one booking drained from the spool", bench.spooled), finding));
    Ok(rows)
}

fn flooded(bench: &Bench, subject: &Subject, request: Request) -> anyhow::Result<(Loaded, Answers)> {
    bench.under_load(subject, Live::Kept, || Flood::new(subject.public, 256, vec![request], bench.duration / 2).run())
}

/// Fills the spool while Postgres is away, and measures how fast it is drained.
fn drained(bench: &mut Bench, request: Request, prefix: &str) -> anyhow::Result<String> {
    bench.clean()?;
    let subject = bench.start_with_spool(&[])?;
    bench.server.go_away()?;
    let at_most = bench.spooled;
    let flood = Flood { at_most, ..Flood::new(subject.public, 128, vec![request], Duration::from_secs(20)) };
    let spooled = flood.run()?;
    bench.server.come_back()?;
    ensure!(spooled.of(200) > 0, "nothing was spooled: {spooled}");
    // the drainer probes Postgres every few seconds: measure from its first record on
    bench.wait_for_events(prefix, 1, TIMEOUT)?;
    let start = Instant::now();
    let recorded = bench.wait_for_events(prefix, spooled.of(200), TIMEOUT)?;
    let seconds = start.elapsed().as_secs_f64();
    let refused = spooled.all() - spooled.of(200);
    let refused = if refused == 0 { String::new() } else { format!(" ({refused} not spooled)") };
    Ok(if recorded >= spooled.of(200) {
        format!("{recorded} in {seconds:.1} s{refused}")
    } else {
        format!("{recorded} of {} after {seconds:.0} s{refused}", spooled.of(200))
    })
}

/// A test account at full rate.
pub fn test_account(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let booking_ref = format!("TEST-{NUMBER}");
    let requests = PROVIDERS.iter().map(|provider| Request::sample(*provider, TEST, &booking_ref, 0)).collect();
    let subject = bench.start(&[])?;
    let (loaded, answers) =
        bench.under_load(&subject, Live::Kept, || Flood::new(subject.public, 200, requests, bench.duration).run())?;
    let ratio = loaded.p50 / loaded.unloaded_p50;
    let unloaded = loaded.unloaded_p50;
    let finding = format!(
        "live p50 {ratio:.1} times the unloaded one ({unloaded:.1} ms); test {:.0}/s; {answers}",
        answers.rate()
    );
    Ok(vec![Row::loaded("5. a test account at full rate, 200 connections", loaded, finding)])
}

/// A delivery of a new booking each time.
fn bookings(prefix: &str) -> anyhow::Result<Request> {
    Ok(Request::sample(provider("booking_callback")?, LIVE, &format!("{prefix}-{NUMBER}"), 0))
}

/// A new revision of one booking each time.
fn revisions(prefix: &str) -> anyhow::Result<Request> {
    let provider = provider("booking_callback")?;
    let presented = credentials(provider, LIVE);
    let presented: Vec<_> = presented.iter().map(String::as_str).collect();
    let body = provider.sample(&presented, &format!("{prefix}-1")).body;
    let differing = body.replace(r#""Remark":"Ticketed""#, &format!(r#""Remark":"Ticketed {NUMBER}""#));
    ensure!(differing != body, "the sample has another remark");
    Ok(Request::post(&provider.default_path(), &[], differing.as_bytes()))
}
