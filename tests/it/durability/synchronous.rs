//! A primary whose synchronous standby is gone: it has each commit, but does not confirm it, and may be replaced.

use std::time::{Duration, Instant};

use sqlx::{Executor, PgPool};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::{Answer, Command, Server, Service, provider, settings};

async fn start(server: &Server, spool: Option<&TempDir>, write_timeout: Duration) -> Service {
    let mut settings = settings(server.url());
    let spool = spool.map(|spool| spool.path().display().to_string());
    settings.extend(spool.map(|directory| ("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), directory)));
    let write_timeout = write_timeout.as_millis().to_string();
    settings.push(("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS".to_owned(), write_timeout));
    spawn_blocking(move || Service::over(Command::new(&["serve", "--no-migrate"]).envs(&settings).start()))
        .await
        .unwrap()
}

async fn post(service: &Service, booking: &str) -> u16 {
    let body = (provider("booking_callback").delivery)("main", booking).to_string();
    service.post(provider("booking_callback"), body).await.status
}

async fn set_standby(pool: &PgPool, statement: &'static str) {
    // one connection: a setting cannot be changed in a transaction
    let mut connection = pool.acquire().await.unwrap();
    connection.execute(statement).await.unwrap();
    connection.execute("select pg_reload_conf()").await.unwrap();
}

/// Commits on a connection of its own, until a commit waits for the standby.
async fn until_commits_wait(pool: &PgPool) {
    let mut connection = pool.acquire().await.unwrap().detach();
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    let commits = tokio::spawn(async move {
        while connection.execute("select pg_logical_emit_message(true, 'test', '')").await.is_ok() {}
    });
    let waits = "select exists (select from pg_stat_activity where pid = $1 and wait_event = 'SyncRep')";
    let since = Instant::now();
    while !sqlx::query_scalar::<_, bool>(waits).bind(backend).fetch_one(pool).await.unwrap() {
        assert!(since.elapsed() < Duration::from_secs(20), "no commit waits for the standby");
    }
    sqlx::query("select pg_terminate_backend($1)").bind(backend).execute(pool).await.unwrap();
    commits.await.unwrap();
}

async fn count(pool: &PgPool, table: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// The drainer's second look at what it could not write: either it is fooled, or it goes on waiting.
async fn probed(service: Service) -> (Service, String) {
    spawn_blocking(move || {
        let texts = ["the spool cannot be drained yet", "the spool is empty again"];
        let line = service.process.printed().line_with_any(&texts);
        (service, line)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn an_event_that_only_the_primary_has_stays_in_the_spool() {
    stays_in_the_spool("ticket_events", async |service| {
        assert_eq!(post(service, "B2").await, 200);
    })
    .await;
}

#[tokio::test]
async fn an_unprocessed_delivery_that_only_the_primary_has_stays_in_the_spool() {
    stays_in_the_spool("unprocessed_deliveries", async |service| {
        let mut delivery = (provider("booking_callback").delivery)("main", "B2");
        delivery.as_object_mut().unwrap().remove("Status");
        assert_eq!(service.post(provider("booking_callback"), delivery.to_string()).await.status, 422);
    })
    .await;
}

#[tokio::test]
async fn without_a_spool_the_service_is_ready_only_while_commits_are_confirmed() {
    let server = Server::start(true).await;
    let pool = server.pool();
    let service = start(&server, None, Duration::from_secs(2)).await;
    assert_eq!(post(&service, "B1").await, 200);
    set_standby(&pool, "alter system set synchronous_standby_names = 'gone'").await;
    until_commits_wait(&pool).await;
    assert_eq!(post(&service, "B2").await, 503);
    let reason = until_ready(&service, 503).await;
    assert!(reason.contains("standby"), "{reason}");
    // each look waits for the write timeout, and leaves one commit that waits, until the next one
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(6) {
        let answer = Answer::of(service.request("GET", "/readyz")).await;
        assert_eq!((answer.status, answer.body.to_string()), (503, reason.clone()));
    }
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query like '%emit_message%'";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
    assert!(waiting <= 1, "{waiting} commits of readiness wait");
    set_standby(&pool, "alter system reset synchronous_standby_names").await;
    until_ready(&service, 200).await;
    assert_eq!(post(&service, "B2").await, 200);
    service.stop().await;
}

/// Asks for readiness until it has this status; returns the body.
async fn until_ready(service: &Service, status: u16) -> String {
    let since = Instant::now();
    loop {
        let answer = Answer::of(service.request("GET", "/readyz")).await;
        if answer.status == status {
            return answer.body.to_string();
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{} {}", answer.status, answer.body);
    }
}

/// A commit that was given up while it waited for the standby is visible on the primary, and nowhere else.
async fn stays_in_the_spool(table: &'static str, deliver: impl AsyncFn(&Service)) {
    let server = Server::start(true).await;
    let (spool, pool) = (TempDir::new().unwrap(), server.pool());
    let service = start(&server, Some(&spool), Duration::from_millis(300)).await;
    assert_eq!(post(&service, "B1").await, 200);
    let before = count(&pool, table).await;
    set_standby(&pool, "alter system set synchronous_standby_names = 'gone'").await;
    until_commits_wait(&pool).await;
    deliver(&service).await;
    let (service, line) = probed(service).await;
    assert_eq!(count(&pool, table).await, before + 1, "its backend was ended, so it is visible");
    assert!(line.contains("cannot be drained"), "the standby lacks it: {line}");
    set_standby(&pool, "alter system reset synchronous_standby_names").await;
    let service = spawn_blocking(move || {
        service.process.line("the spool is empty again");
        service
    })
    .await
    .unwrap();
    assert_eq!(count(&pool, table).await, before + 1);
    service.stop().await;
}
