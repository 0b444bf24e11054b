//! Readers of every kind see the same items, each once, in the same order, whatever breaks.
//!
//! Three replicas are under load while writing transactions are held open, and replicas and Postgres are killed. A reader
//! of pages, one of the stream and one of the SQL function forget everything but their last cursor at random. In the end
//! each has read what the table has. `READERS_SECONDS` says how long, `READERS_SEED` repeats a run's choices.

mod replica;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sqlx::PgPool;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::replica::Replica;
use crate::support::{ADMIN_TOKEN, Chance, EventStream, PROVIDERS, Server};

const TIMEOUT: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 24;

/// More than these must come, or little was read.
const EVENTS: u64 = 1000;

/// How much longer a slow machine may take for them.
const SLOW_MACHINE: Duration = Duration::from_secs(60);

const START: &str = "0.0.0.00000000.0";

const INSERT: &str = "insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, \
                      airline_pnrs, passengers, ticket_numbers, warnings, payload, content_hash, received_at, \
                      last_received_at) \
                      values (gen_random_uuid(), 'order_ticketed', 'main', 'live', gen_random_uuid()::text, 1, 'ticketed', \
                      '{}', '[]', '{}', '{}', '{}', decode(repeat('00', 32), 'hex'), now(), now())";

type Replicas = Arc<[Replica; 3]>;

/// What a reader has got, and where it goes on.
struct Log {
    ids: Vec<String>,
    cursor: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_every_kind_see_every_event_once_in_one_order_whatever_breaks() {
    let number = |variable: &str| std::env::var(variable).ok().map(|value| value.parse::<u64>().unwrap());
    let seconds = number("READERS_SECONDS").unwrap_or(8);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("READERS_SEED").unwrap_or(now.as_millis() as u64);
    println!("READERS_SEED={seed} READERS_SECONDS={seconds}");
    let mut chance = Chance::of(seed);

    let mut server = Server::start(true).await;
    let pool = server.pool();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Replica::start(server.url()).await);
    }
    let replicas: Replicas = Arc::new(replicas.try_into().ok().unwrap());
    let (loading, reading) = (CancellationToken::new(), CancellationToken::new());
    let mut load = JoinSet::new();
    let acknowledged = Arc::<AtomicU64>::default();
    for client in 0..CLIENTS {
        let (replicas, acknowledged) = (Arc::clone(&replicas), Arc::clone(&acknowledged));
        load.spawn(deliver(client, replicas, acknowledged, chance.split(), loading.clone()));
    }
    load.spawn(hold_transactions_open(pool.clone(), chance.split(), loading.clone()));
    let mut readers = JoinSet::new();
    readers.spawn(read_pages(Arc::clone(&replicas), chance.split(), reading.clone()));
    readers.spawn(read_stream(Arc::clone(&replicas), chance.split(), reading.clone()));
    readers.spawn(read_in_sql(pool.clone(), chance.split(), reading.clone()));

    let end = Instant::now() + Duration::from_secs(seconds);
    let latest = end + SLOW_MACHINE;
    let mut broken = 0;
    while Instant::now() < end || acknowledged.load(Ordering::Relaxed) <= EVENTS && Instant::now() < latest {
        sleep(Duration::from_millis(chance.between(100, 900))).await;
        if chance.one_in(3) {
            server.signal(chance.one_of(&["QUIT", "KILL"]));
            server.gone().await;
            server.start_again().await;
        } else {
            replicas[chance.between(0, 3) as usize].kill_and_start(server.url()).await;
        }
        broken += 1;
    }
    loading.cancel();
    load.join_all().await;
    for replica in replicas.iter() {
        replica.drained().await;
    }
    let stored = stored(&pool).await;
    println!("{} events, {broken} times broken", stored.len());
    assert!(stored.len() as u64 > EVENTS, "{}", stored.len());
    reading.cancel();
    for read in readers.join_all().await {
        assert_eq!(read.len(), stored.len());
        assert_eq!(read, stored);
    }
}

/// One event after the other, about few bookings and many, whatever the answer.
async fn deliver(
    client: u64,
    replicas: Replicas,
    acknowledged: Arc<AtomicU64>,
    mut chance: Chance,
    stop: CancellationToken,
) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let provider = &PROVIDERS[chance.between(0, 3) as usize];
        let booking =
            if chance.one_in(4) { format!("hot-{}", chance.between(0, 5)) } else { format!("{client}-{number}") };
        let mut body = (provider.delivery)("main", &booking);
        body["Number"] = format!("{client}-{number}").into();
        let url = replicas[chance.between(0, 3) as usize].public().await;
        let request = http.post(format!("{url}{}", provider.path)).body(body.to_string());
        let authorization = (provider.authorization)("main");
        let request =
            authorization.into_iter().fold(request, |request, value| request.header("authorization", value.as_bytes()));
        if request.send().await.is_ok_and(|answer| answer.status() == 200) {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Transactions that record an event and commit late, or never.
async fn hold_transactions_open(pool: PgPool, mut chance: Chance, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let held = async {
            let mut transaction = pool.begin().await?;
            sqlx::query(INSERT).execute(&mut *transaction).await?;
            sleep(Duration::from_millis(chance.between(1, 400))).await;
            if chance.one_in(3) { transaction.rollback().await } else { transaction.commit().await }
        };
        if held.await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Reads until everything is read after `stop`.
async fn read_pages(replicas: Replicas, mut chance: Chance, stop: CancellationToken) -> Vec<String> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let mut log = Log { ids: Vec::new(), cursor: START.to_owned() };
    let mut deadline = None;
    loop {
        let is_last = stop.is_cancelled();
        check_deadline(&mut deadline, is_last);
        let url = replicas[chance.between(0, 3) as usize].admin().await;
        let limit = chance.one_of(&[1, 7, 100, 1000]);
        let url = format!("{url}/v1/events?after={}&limit={limit}&wait={}", log.cursor, chance.between(0, 2));
        let Ok(answer) = http.get(url).bearer_auth(ADMIN_TOKEN).send().await else { continue };
        let is_ok = answer.status() == 200;
        let Ok(page) = answer.json::<serde_json::Value>().await else { continue };
        if !is_ok {
            assert!(["database_unavailable", "busy"].contains(&page["error"]["code"].as_str().unwrap()), "{page}");
            continue;
        }
        // killed before it has kept what it read
        if chance.one_in(10) && !is_last {
            continue;
        }
        log.ids.extend(page["events"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        log.cursor = page["next"].as_str().unwrap().to_owned();
        if is_last && page["more"] == false {
            return log.ids;
        }
    }
}

async fn read_stream(replicas: Replicas, mut chance: Chance, stop: CancellationToken) -> Vec<String> {
    let mut log = Log { ids: Vec::new(), cursor: START.to_owned() };
    let mut deadline = None;
    loop {
        check_deadline(&mut deadline, stop.is_cancelled());
        let admin = replicas[chance.between(0, 3) as usize].admin().await;
        let request = EventStream::request(&admin, "", Some(&log.cursor));
        let Ok(Ok(response)) = timeout(Duration::from_secs(10), request.send()).await else { continue };
        if response.status() != 200 {
            assert_eq!(response.status(), 503);
            continue;
        }
        let mut stream = EventStream::over(response);
        let mut events = chance.between(1, 3000);
        while events > 0 {
            // nothing more comes once the load has ended
            let patience = Duration::from_millis(if stop.is_cancelled() { 2000 } else { 10_000 });
            match timeout(patience, stream.read()).await {
                Ok(Some(event)) => {
                    log.ids.extend(event.item.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
                    log.cursor = event.id;
                }
                Ok(None) => break,
                Err(_) if stop.is_cancelled() => return log.ids,
                Err(_) => break,
            }
            events -= 1;
        }
    }
}

async fn read_in_sql(pool: PgPool, mut chance: Chance, stop: CancellationToken) -> Vec<String> {
    let mut log = Log { ids: Vec::new(), cursor: START.to_owned() };
    let mut deadline = None;
    loop {
        let is_last = stop.is_cancelled();
        check_deadline(&mut deadline, is_last);
        let limit = chance.one_of(&[1, 50, 2000]);
        let query = sqlx::query_as("select id::text, cursor from ticket_feed($1, $2)").bind(&log.cursor).bind(limit);
        let Ok(rows) = query.fetch_all(&pool).await else { continue };
        let rows: Vec<(String, String)> = rows;
        if rows.is_empty() {
            if is_last {
                return log.ids;
            }
            sleep(Duration::from_millis(5)).await;
        }
        for (id, cursor) in rows {
            log.ids.push(id);
            log.cursor = cursor;
        }
    }
}

fn check_deadline(deadline: &mut Option<Instant>, is_last: bool) {
    if is_last {
        let deadline = deadline.get_or_insert(Instant::now() + TIMEOUT);
        assert!(Instant::now() < *deadline, "the reader does not reach the end");
    }
}

async fn stored(pool: &PgPool) -> Vec<String> {
    let query = "select id::text from ticket_events order by generation, recorded_xid, sequence";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}
