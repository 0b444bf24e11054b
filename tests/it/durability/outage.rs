//! Postgres away, in every way in which it can be: deliveries are acknowledged, spooled, and recorded once it is back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::{Command, Server, Service, provider, settings};

/// A service over a server, with a spool.
async fn start(server: &Server, spool: &Path, variables: &[(&str, &str)]) -> Service {
    let mut settings = settings(server.url());
    settings.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool.display().to_string()));
    settings.push(("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS".to_owned(), "500".to_owned()));
    settings.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    spawn_blocking(move || Service::over(Command::new(&["serve", "--no-migrate"]).envs(&settings).start()))
        .await
        .unwrap()
}

/// What the provider says of a booking.
fn says(status: &str, booking: &str) -> String {
    let mut delivery = (provider("booking_callback").delivery)("main", booking);
    delivery["Status"] = json!(status);
    delivery.to_string()
}

async fn post(service: &Service, body: String) -> u16 {
    service.post(provider("booking_callback"), body).await.status
}

async fn wait_for(service: Service, line: &'static str) -> Service {
    spawn_blocking(move || {
        service.process.line(line);
        service
    })
    .await
    .unwrap()
}

async fn revisions(pool: &PgPool) -> Vec<Value> {
    let query = "select to_jsonb(q) from (select booking_ref as booking, revision, status, previous_status as before, \
                 late, delivery_count as deliveries from ticket_events order by booking_ref, revision) as q";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

/// Breaks the server, delivers, mends it, and looks at what was recorded.
async fn survives(mut server: Server, break_it: impl AsyncFnOnce(&mut Server), mend_it: impl AsyncFnOnce(&mut Server)) {
    let spool = TempDir::new().unwrap();
    let service = start(&server, spool.path(), &[]).await;
    assert_eq!(post(&service, says("Pending", "B1")).await, 200);
    break_it(&mut server).await;
    for body in [says("Pending", "B1"), says("Success", "B1"), says("Failed", "B1"), says("Failed", "B2")] {
        assert_eq!(post(&service, body).await, 200);
    }
    assert_eq!(service.request("GET", "/readyz").send().await.unwrap().status(), 200);
    mend_it(&mut server).await;
    let service = wait_for(service, "the spool is empty again").await;
    assert_eq!(post(&service, says("Failed", "B2")).await, 200);
    let row = |booking: &str, revision: i32, status: &str, before: Option<&str>, deliveries: i32| {
        json!({"booking": booking, "revision": revision, "status": status, "before": before, "late": false,
               "deliveries": deliveries})
    };
    let pool = server.pool();
    assert_eq!(
        revisions(&pool).await,
        [
            row("B1", 1, "pending", None, 2),
            row("B1", 2, "ticketed", Some("pending"), 1),
            row("B1", 3, "failed", Some("ticketed"), 1),
            row("B2", 1, "failed", None, 2),
        ]
    );
    service.stop().await;
}

#[tokio::test]
async fn a_server_that_is_stopped_at_once() {
    let server = Server::start(true).await;
    let stop = async |server: &mut Server| {
        server.signal("QUIT");
        server.gone().await;
    };
    survives(server, stop, async |server| server.start_again().await).await;
}

#[tokio::test]
async fn a_server_that_is_killed() {
    let server = Server::start(true).await;
    let kill = async |server: &mut Server| {
        server.signal_all("KILL");
        server.gone().await;
    };
    survives(server, kill, async |server| server.start_again().await).await;
}

#[tokio::test]
async fn a_server_that_is_frozen() {
    let server = Server::start(true).await;
    let freeze = async |server: &mut Server| server.signal_all("STOP");
    survives(server, freeze, async |server| server.signal_all("CONT")).await;
}

#[tokio::test]
async fn a_server_that_has_become_read_only() {
    let server = Server::start(true).await;
    let set = async |server: &mut Server, value: &str| {
        let statement = format!("alter database deliveries set default_transaction_read_only = {value}");
        let pool = server.pool();
        let writable = "set default_transaction_read_only = off";
        let mut connection = pool.acquire().await.unwrap();
        connection.execute(writable).await.unwrap();
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                      where datname = 'deliveries' and pid <> pg_backend_pid()";
        connection.execute(others).await.unwrap();
    };
    survives(server, async |server| set(server, "on").await, async |server| set(server, "off").await).await;
}

#[tokio::test]
async fn a_table_that_is_locked() {
    let server = Server::start(true).await;
    let mut holder = None;
    let lock = async |server: &mut Server| {
        let mut connection = server.pool().acquire().await.unwrap().detach();
        connection.execute("begin; lock table ticket_events").await.unwrap();
        holder = Some(connection);
    };
    let release = async |server: &mut Server| {
        let end = "select pg_terminate_backend(pid) from pg_locks where mode = 'AccessExclusiveLock' and granted \
                   and relation = 'ticket_events'::regclass";
        server.pool().execute(end).await.unwrap();
    };
    survives(server, lock, release).await;
    drop(holder);
}

#[tokio::test]
async fn a_server_that_takes_no_more_connections() {
    let server = Server::start(true).await;
    let limit = async |server: &mut Server, limit: i32| {
        let statement = format!("alter role service connection limit {limit}");
        server.pool().execute(AssertSqlSafe(statement)).await.unwrap();
        end_others(server).await;
    };
    as_a_role(server, async |server| limit(server, 0).await, async |server| limit(server, -1).await).await;
}

#[tokio::test]
async fn a_password_that_is_not_taken_any_more() {
    let server = Server::start(true).await;
    let login = async |server: &mut Server, word: &str| {
        server.pool().execute(AssertSqlSafe(format!("alter role service {word}"))).await.unwrap();
        end_others(server).await;
    };
    as_a_role(server, async |server| login(server, "nologin").await, async |server| login(server, "login").await).await;
}

async fn end_others(server: &Server) {
    let others = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'service'";
    server.pool().execute(others).await.unwrap();
}

/// The same with a service that is no superuser.
async fn as_a_role(
    mut server: Server,
    break_it: impl AsyncFnOnce(&mut Server),
    mend_it: impl AsyncFnOnce(&mut Server),
) {
    let role = "create role service login; grant usage on all sequences in schema public to service; \
                grant select, insert, update, delete on all tables in schema public to service";
    server.pool().execute(role).await.unwrap();
    server.use_role("service");
    survives(server, break_it, mend_it).await;
}

#[tokio::test]
async fn a_row_that_postgres_refuses_is_no_outage() {
    let server = Server::start(true).await;
    let spool = TempDir::new().unwrap();
    let service = start(&server, spool.path(), &[]).await;
    let check = "alter table ticket_events add constraint no_failures check (status <> 'failed')";
    server.pool().execute(check).await.unwrap();
    let bodies = [says("Success", "B1"), says("Failed", "B2"), says("Success", "B3")];
    for body in bodies {
        assert_eq!(post(&service, body).await, 200);
    }
    let bookings: Vec<String> =
        sqlx::query_scalar("select booking_ref from ticket_events order by 1").fetch_all(&server.pool()).await.unwrap();
    assert_eq!(bookings, ["B1", "B3"]);
    let kept: Vec<String> =
        sqlx::query_scalar("select reason from unprocessed_deliveries").fetch_all(&server.pool()).await.unwrap();
    assert_eq!(kept, ["refused"]);
    assert!(!service.stop().await.contains("the spool is in use"));
}

#[tokio::test]
async fn a_statement_that_was_given_up_records_nothing_after_later_ones() {
    let server = Server::start(true).await;
    let (spool, pool) = (TempDir::new().unwrap(), server.pool());
    // without a look at first revisions alone, which would be the only statement under way
    let reject = ("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__UNKNOWN_BOOKING", "reject");
    let service = start(&server, spool.path(), &[reject]).await;
    assert_eq!(post(&service, says("Pending", "B1")).await, 200);
    let writer = "select pid from pg_stat_activity where application_name = 'ticket-webhooks' \
                  and query like '-- Records a batch of events%'";
    let writer: i32 = sqlx::query_scalar(writer).fetch_one(&pool).await.unwrap();
    let signal = |signal: &str| {
        assert!(std::process::Command::new("kill").args([signal, &writer.to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    // the repetition times out and is spooled, and its statement waits to be read
    assert_eq!(post(&service, says("Pending", "B1")).await, 200);
    assert_eq!(post(&service, says("Success", "B1")).await, 200);
    let service = spawn_blocking(move || {
        service.process.printed().line_with_any(&["the spool cannot be drained yet", "the spool is empty again"]);
        service
    })
    .await
    .unwrap();
    signal("-CONT");
    let service = wait_for(service, "the spool is empty again").await;
    let is_gone = "select not exists (select from pg_stat_activity where pid = $1)";
    let since = Instant::now();
    while !sqlx::query_scalar::<_, bool>(is_gone).bind(writer).fetch_one(&pool).await.unwrap() {
        assert!(since.elapsed() < Duration::from_secs(20), "its backend does not end");
    }
    let of_b1: Vec<_> = revisions(&pool).await.into_iter().filter(|row| row["booking"] == "B1").collect();
    let statuses: Vec<_> = of_b1.iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["pending", "ticketed"], "{of_b1:?}");
    service.stop().await;
}
