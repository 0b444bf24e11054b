//! What a consumer meets when the database was restored elsewhere, or recovered to an earlier point in time, and when an open
//! transaction holds the feed back.

use std::{collections::HashSet, io::Write, process::Stdio};

use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tempfile::TempDir;
use ticket_webhooks::{
    embedded_postgres::{EmbeddedPostgres, Options},
    store,
};
use tokio::task::spawn_blocking;

use crate::{
    consumers::pages::{all_given_out, send},
    support::{ADMIN_TOKEN, ApiClient, Command, Database, EventStream, Scrape, Server, Service, settings},
};

pub(super) async fn serve(url: &str) -> (Service, ApiClient) {
    let mut variables = settings(url);
    variables.push(("TICKET_WEBHOOKS__ADMIN__TOKEN".to_owned(), ADMIN_TOKEN.to_owned()));
    let command = Command::new(&["serve"]).envs(&variables);
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let api = ApiClient::of(&service.admin).await;
    (service, api)
}

/// All items after a cursor, and the cursor behind them.
async fn read_on(api: &ApiClient, pool: &PgPool, after: &str) -> (Vec<String>, String) {
    all_given_out(pool).await;
    let (mut ids, mut after) = (Vec::new(), after.to_owned());
    loop {
        let page = api.get(&format!("/v1/events?limit=4&after={after}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        ids.extend(page.body["events"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        after = page.body["next"].as_str().unwrap().to_owned();
        if page.body["more"] == false {
            return (ids, after);
        }
    }
}

async fn stored(pool: &PgPool) -> Vec<String> {
    let query = "select id::text from ticket_events order by generation, recorded_xid, sequence";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

const START: &str = "0.0.0.00000000.0";

#[tokio::test]
async fn after_a_recovery_to_an_earlier_point_a_consumer_is_told_and_misses_nothing() {
    let mut server = Server::start(true).await;
    let (service, api) = serve(server.url()).await;
    send(&service, 0..5).await;
    let (mut seen, after_first) = read_on(&api, &server.pool(), START).await;
    service.stop().await;
    let copy = server.stop_and_copy().await;
    server.start_again().await;

    let (service, api) = serve(server.url()).await;
    send(&service, 100..110).await;
    let (lost, cursor) = read_on(&api, &server.pool(), &after_first).await;
    assert_eq!(lost.len(), 30);
    service.stop().await;
    server.go_back_to(&copy).await;

    // the same numbers again, for other events; more of them than were lost
    let (service, api) = serve(server.url()).await;
    send(&service, 200..220).await;
    assert_eq!(
        read_on(&api, &server.pool(), &after_first).await.0.len(),
        60,
        "a cursor of the common history is as good as before"
    );
    let gone = api.get(&format!("/v1/events?after={cursor}")).await;
    assert_eq!((gone.status, &gone.body["error"]["code"]), (410, &Value::from("history_changed")), "{gone:?}");
    let restart = gone.body["error"]["cursor"].as_str().unwrap().to_owned();
    let (again, _) = read_on(&api, &server.pool(), &restart).await;
    seen.extend(again);
    let (seen, stored) = (seen.into_iter().collect::<HashSet<_>>(), stored(&server.pool()).await);
    assert!(stored.iter().all(|id| seen.contains(id)), "nothing is missed");
    let error = sqlx::query("select * from ticket_feed($1)").bind(&cursor).fetch_all(&server.pool()).await.unwrap_err();
    let error = error.into_database_error().unwrap();
    assert_eq!(error.code().unwrap(), "TWF01");
    let answer = EventStream::request(&service.admin, "", Some(&cursor)).send().await.unwrap();
    assert_eq!(answer.status(), 410);
}

#[tokio::test]
async fn a_stream_that_is_open_during_a_recovery_skips_nothing() {
    let mut server = Server::start(true).await;
    let (service, _api) = serve(server.url()).await;
    send(&service, 0..2).await;
    service.stop().await;
    let copy = server.stop_and_copy().await;
    server.start_again().await;
    let (service, _api) = serve(server.url()).await;
    let mut stream = EventStream::open(&service.admin, "", None).await;
    send(&service, 100..110).await;
    let last = stream.items(36).await.pop().unwrap();
    server.go_back_to(&copy).await;
    assert!(stream.next().await.is_none(), "it ends, so that the client asks again");
    send(&service, 200..220).await;
    let answer = EventStream::request(&service.admin, "", last["cursor"].as_str()).send().await.unwrap();
    assert_eq!(answer.status(), 410);
}

#[tokio::test]
async fn a_dump_restored_into_another_cluster_keeps_its_order_and_what_comes_there_is_behind_it() {
    let server = Server::start(true).await;
    let (service, api) = serve(server.url()).await;
    // the cluster is older than the one into which it is restored
    let pool = server.pool();
    for _ in 0..20 {
        sqlx::query("select pg_current_xact_id()").execute(&pool).await.unwrap();
    }
    send(&service, 0..5).await;
    let (mut seen, cursor) = read_on(&api, &server.pool(), START).await;
    service.stop().await;
    let dump = server.dump();

    let directory = TempDir::new().unwrap();
    let options = Options::ephemeral(directory.path().join("restored"));
    let restored = spawn_blocking(move || EmbeddedPostgres::start(&options).unwrap()).await.unwrap();
    let psql = restored.psql_command("postgres");
    let mut child = std::process::Command::new("sh");
    child.args(["-c", &format!("{psql} -qv ON_ERROR_STOP=1")]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());

    // a replica that may not change tables does not start, and the feed refuses rather than hiding what it has
    let url = restored.url("postgres");
    let mut variables = settings(&url);
    variables.push(("TICKET_WEBHOOKS__ADMIN__TOKEN".to_owned(), ADMIN_TOKEN.to_owned()));
    let command = Command::new(&["serve", "--no-migrate"]).envs(&variables);
    let (code, _, log) = spawn_blocking(move || command.run()).await.unwrap();
    assert!(code == 1 && log.contains("run `ticket-webhooks migrate`"), "{code} {log}");
    let pool = PgPool::connect_with(restored.connect_options("postgres")).await.unwrap();
    let refused = sqlx::query("select * from ticket_feed($1)").bind(START).fetch_all(&pool).await.unwrap_err();
    assert_eq!(refused.into_database_error().unwrap().code().unwrap(), "TWF02");

    // one that ran on while its database was replaced has recorded something meanwhile
    let copy = "insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, airline_pnrs, \
                passengers, ticket_numbers, warnings, payload, content_hash, received_at, last_received_at) \
                select gen_random_uuid(), provider, account, environment, booking_ref || '-more', revision, status, \
                airline_pnrs, passengers, ticket_numbers, warnings, payload, content_hash, received_at, last_received_at \
                from ticket_events";
    sqlx::query(copy).execute(&pool).await.unwrap();
    sqlx::query("update ticket_events set delivery_count = 2 where booking_ref like 'B-3%'")
        .execute(&pool)
        .await
        .unwrap();
    store::migrate(&pool).await.unwrap();
    store::migrate(&pool).await.unwrap();
    let (service, api) = serve(&url).await;
    send(&service, 200..203).await;
    let (ids, _) = read_on(&api, &pool, START).await;
    assert_eq!((ids.len(), &ids), (15 + 15 + 9, &stored(&pool).await));
    let query = "select generation from ticket_events group by 1 having count(*) in (15, 24) order by 1";
    let generations: Vec<i32> = sqlx::query_scalar(query).fetch_all(&pool).await.unwrap();
    assert_eq!(generations, [1, 2]);
    let (more, _) = read_on(&api, &pool, &cursor).await;
    seen.extend(more);
    assert_eq!(seen, ids, "each once, in the same order");
}

#[tokio::test]
async fn an_open_transaction_in_another_database_holds_the_feed_back_and_is_named() {
    let (database, other) = (Database::new().await, Database::empty().await);
    let (service, api) = ApiClient::start(&database, &[]).await;
    let mut holder = PgConnection::connect_with(&other.pool.connect_options()).await.unwrap();
    holder.execute("begin; select pg_current_xact_id()").await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
    let mut stream = EventStream::open(&service.admin, "", None).await;
    send(&service, 0..1).await;
    let page = api.get("/v1/events").await.body;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["more"]), (0, &Value::Bool(false)));
    let held_back = |scrape: &Scrape| {
        scrape.get("ticket_webhooks_feed_held_back_seconds", &[]) > 0.0
            && scrape.get("ticket_webhooks_feed_held_back_by_pid", &[]) == f64::from(pid)
    };
    Scrape::until(&service, held_back).await;
    holder.execute("commit").await.unwrap();
    assert_eq!(stream.items(3).await.len(), 3);
    Scrape::until(&service, |scrape| scrape.get("ticket_webhooks_feed_held_back_seconds", &[]) == 0.0).await;
}
