//! Attacks on the spool while Postgres is away: full, damaged, deleted, readable by others.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use memchr::memmem;

use crate::{
    bench::{Bench, LIVE, Subject, files},
    bodies::provider,
    client::{Answers, Flood},
    probe::ask,
    report::Row,
    requests::{NUMBER, Request},
    wire,
};

/// Limit for recording what was acknowledged.
const TIMEOUT: Duration = Duration::from_secs(8);

/// At its size limit: does readiness report it?
pub fn full(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let subject = bench.start_with_spool(&[("TICKET_WEBHOOKS__SPOOL__MAX_BYTES", "1048576")])?;
    bench.server.go_away()?;
    let filled = deliver(&subject, "FULL", 16, 20_000, bench.duration)?;
    let after = deliver(&subject, "FULL", 1, 20, Duration::from_secs(5))?;
    let answer = ask(subject.public, "/readyz", &[])?;
    let status = wire::status(&answer);
    let finding = format!(
        "/readyz says {status} while {} of {} deliveries are refused ({} were spooled)",
        after.all() - after.of(200),
        after.all(),
        filled.of(200)
    );
    Ok(vec![Row::words("6. the spool at its limit, Postgres away", finding)])
}

/// One bit of its file flipped, and the file deleted.
pub fn damaged(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let subject = bench.start_with_spool(&[])?;
    bench.server.go_away()?;
    let acknowledged = deliver(&subject, "FLIP", 8, 300, Duration::from_secs(20))?.of(200);
    drop(subject);
    let place = flip_one_bit(&bench.spool())?;
    let finding = match restarted(bench, "FLIP", acknowledged)? {
        Ok(recorded) => format!("{recorded} of {acknowledged} acknowledged are recorded ({place})"),
        Err(error) => format!("none of {acknowledged} acknowledged: it does not start: {error}"),
    };
    let mut rows = vec![Row::words("8. one bit of the spool flipped, then a restart", finding)];

    bench.clean()?;
    let subject = bench.start_with_spool(&[])?;
    bench.server.go_away()?;
    deliver(&subject, "BEFORE", 1, 1, Duration::from_secs(10))?;
    for file in files(&bench.spool())? {
        fs::remove_file(file)?;
    }
    let answers = deliver(&subject, "DELETED", 1, 10, Duration::from_secs(20))?;
    drop(subject);
    let acknowledged = answers.of(200);
    let recorded = restarted(bench, "DELETED", acknowledged)?.unwrap_or(0);
    let finding = format!("{} of {acknowledged} acknowledged after it are lost ({answers})", acknowledged - recorded);
    rows.push(Row::words("8. the spool's file deleted under the process, then a restart", finding));
    Ok(rows)
}

/// File modes of a new spool, and of one that everybody could read before.
pub fn modes(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let spool = bench.spool();
    drop(bench.start_with_spool(&[])?);
    let new = modes_of(&spool)?;
    fs::set_permissions(&spool, Permissions::from_mode(0o755))?;
    for file in files(&spool)? {
        fs::set_permissions(file, Permissions::from_mode(0o644))?;
    }
    drop(bench.start_with_spool(&[])?);
    let finding = format!("new: {new}; before 0755 and 0644: {}", modes_of(&spool)?);
    Ok(vec![Row::words("9. modes of the spool", finding)])
}

fn modes_of(directory: &Path) -> anyhow::Result<String> {
    let mode = |path: &Path| Ok::<_, std::io::Error>(fs::metadata(path)?.permissions().mode() & 0o7777);
    let mut of_files = files(directory)?.iter().map(|file| mode(file)).collect::<Result<Vec<_>, _>>()?;
    of_files.sort_unstable();
    of_files.dedup();
    let of_files = of_files.iter().map(|mode| format!("{mode:04o}")).collect::<Vec<_>>().join(", ");
    Ok(format!("directory {:04o}, files {of_files}", mode(directory)?))
}

/// At most `at_most` deliveries, each of a new booking.
fn deliver(
    subject: &Subject,
    prefix: &str,
    connections: usize,
    at_most: u64,
    duration: Duration,
) -> anyhow::Result<Answers> {
    let request = Request::sample(provider("booking_callback")?, LIVE, &format!("{prefix}-{NUMBER}"), 0);
    Flood { at_most, ..Flood::new(subject.public, connections, vec![request], duration) }.run()
}

/// Starts Postgres and the service on the existing spool: the number of recorded events, or why the start fails.
fn restarted(bench: &mut Bench, prefix: &str, expected: u64) -> anyhow::Result<Result<u64, String>> {
    bench.server.come_back()?;
    Ok(match bench.start_with_spool(&[]) {
        Ok(_subject) => Ok(bench.wait_for_events(prefix, expected, TIMEOUT)?),
        Err(error) => Err(format!("{error:#}")),
    })
}

/// Flips it in the booking reference of a record if the largest file holds one, else in the middle of the file.
/// Returns the position in words.
fn flip_one_bit(spool: &Path) -> anyhow::Result<&'static str> {
    let path = files(spool)?.into_iter().next().context("the spool has no file")?;
    let mut content = fs::read(&path)?;
    ensure!(!content.is_empty(), "the spool's file is empty");
    let records: Vec<_> = memmem::find_iter(&content, "FLIP-").collect();
    let (at, place) = match records.get(records.len() / 2) {
        Some(at) => (at + "FLIP-".len(), "in a record"),
        None => (content.len() / 2, "in the middle of the file"),
    };
    content[at] ^= 1;
    fs::write(path, content)?;
    Ok(place)
}
