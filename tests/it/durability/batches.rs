//! Batches in flight: a few as a rule, more while Postgres is slow.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sqlx::Executor;
use tokio::task::JoinSet;

use crate::support::{Database, Service, provider};

/// Few, so that a batch without the wait is fast whatever else the machine does.
const CLIENTS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Each statement that records events waits, as for a standby far away.
const SLOW: &str = "
    create function wait_a_while() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return null; end $$;
    create trigger wait_a_while before insert on ticket_events for each statement execute function wait_a_while()";

const FAST: &str = "drop trigger wait_a_while on ticket_events";

/// Clients that deliver one after the other until the end; returns how many deliveries were acknowledged.
fn load(service: &Arc<Service>, is_over: &Arc<AtomicBool>) -> JoinSet<usize> {
    let client = |number: usize| {
        let (service, is_over) = (Arc::clone(service), Arc::clone(is_over));
        async move {
            let mut acknowledged = 0;
            while !is_over.load(Relaxed) {
                let provider = provider("order_ticketed");
                let body = (provider.delivery)("main", &format!("B{number}-{acknowledged}")).to_string();
                assert_eq!(service.post(provider, body).await.status, 200);
                acknowledged += 1;
            }
            acknowledged
        }
    };
    (0..CLIENTS).map(client).collect()
}

async fn process_ids(database: &Database, condition: &str) -> HashSet<i32> {
    let query = format!("select pid from pg_stat_activity where datname = current_database() and {condition}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&database.pool).await.unwrap().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_are_in_flight_while_postgres_is_slow_and_no_longer() {
    let database = Database::new().await;
    let service = Arc::new(Service::start(&database, &[]).await);
    let is_over = Arc::default();
    let clients = load(&service, &is_over);
    database.pool.execute(SLOW).await.unwrap();
    let since = Instant::now();
    let writers = loop {
        let waiting = process_ids(&database, "wait_event = 'PgSleep'").await;
        assert!(waiting.len() <= 4, "{waiting:?}");
        if waiting.len() == 4 {
            break waiting;
        }
        assert!(since.elapsed() < TIMEOUT, "no more than {} are in flight", waiting.len());
    };
    database.pool.execute(FAST).await.unwrap();
    let since = Instant::now();
    let busy = "state_change > clock_timestamp() - interval '300 ms'";
    while process_ids(&database, busy).await.intersection(&writers).count() != 2 {
        assert!(since.elapsed() < TIMEOUT, "more than two are still in use");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    is_over.store(true, Relaxed);
    let acknowledged: usize = clients.join_all().await.into_iter().sum();
    assert_eq!(database.events().await.len(), acknowledged);
}
