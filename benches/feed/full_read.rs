//! How fast one reader reads everything in pages.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{
    Bench, DATABASE,
    load::Load,
    readers::{ask, request},
};

/// Reads everything in pages of a thousand from one connection.
pub fn run(bench: &Bench, events: u64) -> anyhow::Result<()> {
    let service = bench.service(None)?;
    Load::new(64, Duration::from_millis(500)).run(service.address, &Arc::default())?;
    let columns = "provider, account, environment, status, previous_status, pnr, gds_pnr, airline_pnrs, booking_number, \
                   trace_id, provider_status, remark, passengers, ticket_numbers, warnings, payload, content_hash, \
                   received_at, last_received_at";
    let fill = format!(
        "insert into ticket_events (id, booking_ref, revision, {columns}) \
         select gen_random_uuid(), gen_random_uuid()::text, 1, {columns} \
         from generate_series(1, {events}), lateral (select * from ticket_events limit 1) as sample; analyze ticket_events",
    );
    bench.server.execute(DATABASE, &fill)?;
    let admin = bench.admin()?;
    let mut answer = ask(&admin, "/v1/events?limit=1000&from=start")?;
    let (mut read, mut times, mut body) = (0, Vec::new(), Vec::new());
    let began = Instant::now();
    loop {
        let page_began = Instant::now();
        let (status, length) = head(&mut answer)?;
        ensure!(status == 200, "a page is answered {status}");
        body.resize(length.context("a page has a length")?, 0);
        answer.read_exact(&mut body)?;
        // not parsed as a whole: the reader is not measured
        let tail = String::from_utf8_lossy(&body[body.len() - 200..]).into_owned();
        let tail: Value = serde_json::from_str(&format!("{{{}", tail.split_once("],").context("a page")?.1))?;
        read += body.windows(9).filter(|bytes| *bytes == b"\"cursor\":").count();
        times.push(page_began.elapsed().as_secs_f64() * 1000.0);
        if tail["more"] == false {
            break;
        }
        request(
            answer.get_mut(),
            &format!("/v1/events?limit=1000&after={}", tail["next"].as_str().context("a cursor")?),
        )?;
    }
    let rate = read as f64 / began.elapsed().as_secs_f64();
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let tenth = times.len() / 10;
    println!(
        "full read of {read} events: {rate:.0} events/s (at least 25000); a page of 1000: first tenth {:.1} ms, last tenth {:.1} ms",
        mean(&times[..tenth]),
        mean(&times[times.len() - tenth..])
    );
    Ok(())
}

/// The status, and the length of the body if it is given.
fn head(answer: &mut BufReader<TcpStream>) -> anyhow::Result<(u16, Option<usize>)> {
    let (mut status, mut length, mut line) = (0, None, String::new());
    while answer.read_line(&mut line)? > 2 {
        if status == 0 {
            status = line.split(' ').nth(1).context("a status line")?.parse()?;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
        line.clear();
    }
    Ok((status, length))
}
