//! The rights in the database that `serve --no-migrate` needs are those that docs/database.md names, and no others.

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use tokio::task::spawn_blocking;

use crate::support::{
    ADMIN_TOKEN, ApiClient, Command, PROVIDERS, Reaction, Receiver, Scrape, Series, Server, Service, provider, settings,
};

/// The statements of docs/database.md with which deliveries are received.
fn statements() -> Vec<String> {
    statements_with("create role ticket_service")
}

/// The statements of the block there that contains a text.
fn statements_with(text: &str) -> Vec<String> {
    let page = include_str!("../../../docs/database.md");
    let blocks = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains(text)).unwrap();
    let statements = block.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join(" ");
    let statements = statements.replace("database tickets", "database deliveries");
    let statements = statements.split(';').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| !statement.is_empty()).collect()
}

/// Each right alone, and on what: `select (a, b), insert on t` is three.
fn rights(grant: &str) -> Vec<(String, String)> {
    let (rights, on) = grant.strip_prefix("grant ").unwrap().split_once(" on ").unwrap();
    let mut each = Vec::new();
    let mut columns_of = "";
    for part in rights.split(',').map(str::trim) {
        let (right, column) = match part.split_once(" (") {
            Some((right, column)) => (right, Some(column)),
            None if columns_of.is_empty() => (part, None),
            None => (columns_of, Some(part)),
        };
        each.push(match column {
            Some(column) => format!("{right} ({})", column.trim_end_matches(')')),
            None => right.to_owned(),
        });
        columns_of = if column.is_some() && !part.ends_with(')') { right } else { "" };
    }
    each.into_iter().map(|right| (right, on.to_owned())).collect()
}

struct World {
    server: Server,
    /// The URL of the role that serves.
    url: String,
}

impl World {
    /// The tables belong to the role that applied the migrations.
    async fn new() -> Self {
        let mut server = Server::start(false).await;
        let as_superuser = server.url().to_owned();
        let (before, after): (Vec<_>, Vec<_>) =
            statements().into_iter().partition(|statement| !statement.contains("to ticket_service"));
        // what everybody may by default must not hide what is missing
        server.pool().execute("revoke all on database deliveries, postgres from public").await.unwrap();
        server.pool().execute("revoke all on schema public from public").await.unwrap();
        let world = |server, role: &str| {
            let url = as_superuser.replace("user=ticket_webhooks", &format!("user={role}"));
            Self { server, url }
        };
        for statement in before {
            server.pool().execute(AssertSqlSafe(statement)).await.unwrap();
        }
        server.use_role("ticket_owner");
        let migrate = Command::new(&["migrate"]).env("DATABASE_URL", server.url());
        let (code, _, errors) = spawn_blocking(move || migrate.run()).await.unwrap();
        assert_eq!(code, 0, "{errors}");
        for statement in after {
            server.pool().execute(AssertSqlSafe(statement)).await.unwrap();
        }
        world(server, "ticket_service")
    }

    async fn execute(&self, statement: &str) {
        self.server.pool().execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }

    fn command(&self, spool: Option<&std::path::Path>) -> Command {
        let mut settings = settings(&self.url);
        settings.push(("TICKET_WEBHOOKS__ADMIN__TOKEN".to_owned(), ADMIN_TOKEN.to_owned()));
        let reject = "TICKET_WEBHOOKS__PROVIDERS__BOOKING_CALLBACK__UNKNOWN_BOOKING";
        settings.push((reject.to_owned(), "reject".to_owned()));
        if let Some(spool) = spool {
            settings.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool.display().to_string()));
        }
        Command::new(&["serve", "--no-migrate"]).envs(&settings)
    }

    async fn serve(&self, spool: Option<&std::path::Path>) -> Service {
        let command = self.command(spool);
        spawn_blocking(move || Service::over(command.start())).await.unwrap()
    }
}

/// One of everything: first revisions, duplicates, further revisions, unknown bookings, unprocessed deliveries. The
/// statuses differ from these only when a right is missing.
async fn deliver_all(service: &Service, booking: &str) -> Result<(), String> {
    for provider in &PROVIDERS {
        let first = (provider.delivery)("main", booking);
        let mut second = first.clone();
        for pointer in ["/PNR", "/data/paxTicketInfos/0/nationality"] {
            if let Some(value) = second.pointer_mut(pointer) {
                *value = json!("ZZ");
            }
        }
        let invalid = first.to_string().replace(&format!("\"{booking}\""), "[]");
        let known = if provider.name == "booking_callback" { 404 } else { 200 };
        for (body, status) in [(&first, known), (&first, known), (&second, known)] {
            expect(service.post(provider, body.to_string()).await.status, status)?;
        }
        expect(service.post(provider, invalid).await.status, 422)?;
    }
    // an answer that says 422 for both: whether it was kept shows in readiness alone
    expect(service.request("GET", "/readyz").send().await.unwrap().status().as_u16(), 200)
}

fn expect(status: u16, expected: u16) -> Result<(), String> {
    if status == expected { Ok(()) } else { Err(format!("{status} instead of {expected}")) }
}

#[tokio::test]
async fn a_role_with_the_rights_of_the_readme_can_serve_and_no_more() {
    let world = World::new().await;
    let spool = tempfile::TempDir::new().unwrap();
    let service = world.serve(Some(spool.path())).await;
    world.execute("insert into bookings values ('booking_callback', 'live', 'KNOWN')").await;
    deliver_all(&service, "B1").await.unwrap();
    let callback = provider("booking_callback");
    let body = (callback.delivery)("main", "KNOWN").to_string();
    assert_eq!(service.post(callback, body).await.status, 200);

    // away and back: what was spooled is drained
    world.execute("alter role ticket_service nologin").await;
    world.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ticket_service'").await;
    for provider in &PROVIDERS {
        let body = (provider.delivery)("main", "SPOOLED").to_string();
        assert_eq!(service.post(provider, body).await.status, 200);
    }
    world.execute("alter role ticket_service login").await;
    let printed = service.process.printed();
    spawn_blocking(move || printed.line("the spool is empty again")).await.unwrap();
    let counts: (i64, i64) = sqlx::query_as(
        "select (select count(*) from ticket_events), (select sum(delivery_count) from unprocessed_deliveries)",
    )
    .fetch_one(&world.server.pool())
    .await
    .unwrap();
    assert_eq!(counts, (7, 7));
    // the tasks for consumers need more
    let is_of_background =
        |line: &str| ["task in the background", "search keys"].iter().any(|text| line.contains(text));
    let log = service.stop().await;
    let denied = log.lines().find(|line| line.contains("permission denied") && !is_of_background(line));
    assert_eq!(denied, None);

    let connect = world.url.parse().unwrap();
    let pool = sqlx::PgPool::connect_with(connect).await.unwrap();
    for forbidden in [
        "delete from ticket_events",
        "truncate ticket_events",
        "drop table ticket_events",
        "alter table ticket_events add x integer",
        "update ticket_events set status = 'failed'",
        "select passengers from ticket_events",
        "select payload from ticket_events",
        "select body from unprocessed_deliveries",
        "update unprocessed_deliveries set reason = 'invalid'",
        "delete from unprocessed_deliveries",
        "insert into bookings (provider, environment, booking_ref) values ('booking_callback', 'live', 'X')",
        "delete from bookings",
        "delete from _sqlx_migrations",
        "create table x ()",
        "create schema x",
        "create temporary table x ()",
    ] {
        let error = pool.execute(forbidden).await.unwrap_err().to_string();
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{forbidden}: {error}");
    }
}

#[tokio::test]
async fn each_right_of_the_readme_is_needed() {
    let world = World::new().await;
    let service = world.serve(None).await;
    deliver_all(&service, "B0").await.unwrap();
    let grants: Vec<_> =
        statements().into_iter().filter(|statement| statement.ends_with("to ticket_service")).collect();
    let mut tried = 0;
    for (right, on) in grants.iter().flat_map(|grant| rights(grant)) {
        let from = on.replace(" to ticket_service", " from ticket_service");
        world.execute(&format!("revoke {right} on {from}")).await;
        let is_of_start = ["database", "schema", "_sqlx", "feed_"].iter().any(|start| on.starts_with(start))
            || ["select (generation)", "select (recorded_xid)"].contains(&&*right);
        let works = if is_of_start {
            let command = world.command(None).env("RUST_LOG", "error");
            spawn_blocking(move || starts(command)).await.unwrap()
        } else {
            deliver_all(&service, &format!("B{tried}")).await
        };
        assert!(works.is_err(), "it works without: grant {right} on {on}");
        world.execute(&format!("grant {right} on {on}")).await;
        tried += 1;
        deliver_all(&service, &format!("AGAIN{tried}")).await.unwrap();
    }
    assert!(tried >= 15, "{tried}");
}

#[tokio::test]
async fn the_further_rights_are_enough_for_consumers() {
    let world = World::new().await;
    for statement in statements_with("-- what consumers need") {
        world.execute(&statement).await;
    }
    let service = world.serve(None).await;
    deliver_all(&service, "B1").await.unwrap();
    service.request("POST", "/webhooks/none").send().await.unwrap();
    let api = ApiClient::of(&service.admin).await;
    let page = api.get("/v1/events?include=payload").await;
    assert_eq!((page.status, page.body["events"].as_array().unwrap().len()), (200, 4), "{page:?}");
    let position = json!({"position": page.body["next"]});
    assert_eq!(api.put("/v1/consumers/one", position.clone()).await.status, 201);
    assert_eq!(api.put("/v1/consumers/one", position).await.status, 200);
    assert_eq!(api.delete("/v1/consumers/one").await.status, 204);
    for question in ["name=smith", "booking_ref=B1", "status=ticketed&received_from=2020-01-01T00:00:00Z"] {
        assert_eq!(api.get(&format!("/v1/events?{question}")).await.status, 200, "{question}");
    }
    let booking = "/v1/bookings/booking_callback/live/ASKED";
    assert_eq!(api.put(booking, json!({"expected_by": "2026-01-01T00:00:00Z"})).await.status, 201);
    for path in [booking, "/v1/bookings?overdue=true", "/v1/bookings?stuck=true", "/v1/reconciliation"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
    assert_eq!(api.delete(booking).await.status, 204);
    // until the tasks in the background have worked
    let worked = |scrape: &Scrape| {
        let of_bookings = |series: &&Series| series.labels.get("consumer").is_some_and(|name| name == "bookings");
        let lags = scrape.series.iter().filter(|series| series.name == "ticket_webhooks_consumer_lag_events");
        lags.filter(of_bookings).any(|lag| lag.value == 0.0)
    };
    Scrape::until(&service, worked).await;
    // one with another reason today, and one that is an event today
    world.execute("update unprocessed_deliveries set reason = 'refused' where reason = 'invalid'").await;
    world.execute("insert into bookings values ('booking_callback', 'live', 'B1')").await;
    let kept = api.get("/v1/unprocessed").await.body["unprocessed"].as_array().unwrap().clone();
    for row in &kept {
        let path = format!("/v1/unprocessed/{}", row["id"].as_str().unwrap());
        assert_eq!(api.get(&path).await.status, 200);
        for dry_run in [true, false] {
            let answer = api.ask("POST", &format!("{path}/reprocess?dry_run={dry_run}"), None).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    assert_eq!(
        (kept.len(), api.get("/v1/unprocessed?reprocessed=true&limit=1").await.body["more"].clone()),
        (5, true.into())
    );
    let log = service.stop().await;
    assert!(!log.contains("permission denied"), "{log}");
    let activity = "select count(*) from delivery_counts, refused_requests";
    let written: i64 = sqlx::query_scalar(activity).fetch_one(&world.server.pool()).await.unwrap();
    assert!(written > 0);
    forward(&world).await;

    for statement in statements_with("create role ticket_reader") {
        world.execute(&statement).await;
    }
    let url = world.url.replace("user=ticket_service", "user=ticket_reader");
    let pool = sqlx::PgPool::connect_with(url.parse().unwrap()).await.unwrap();
    let read = sqlx::query("select * from ticket_feed('0.0.0.00000000.0')").fetch_all(&pool).await.unwrap();
    assert_eq!(read.len(), 6);
}

/// Forwards what is there: one item is refused, and skipped. Then the forward is forgotten.
async fn forward(world: &World) {
    let refuses = |one: &serde_json::Value| one["provider"] == "order_ticketed" && one["revision"] == 1;
    let receiver = Receiver::start(move |one| Reaction::status(if refuses(one.data()) { 500 } else { 204 })).await;
    let command = world.command(None).envs(&receiver.settings());
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let api = ApiClient::of(&service.admin).await;
    receiver.until(|received| received.len() >= 4).await;
    let blocked = |scrape: &Scrape| scrape.get("ticket_webhooks_forward_blocked_bookings", &[]) == 1.0;
    Scrape::until(&service, blocked).await;
    for action in ["pause", "resume"] {
        assert_eq!(api.post(&format!("/v1/forwards/back/{action}"), json!({})).await.status, 200);
    }
    let refused = api.get("/v1/forwards").await.body["forwards"][0]["blocked"][0]["id"].clone();
    assert_eq!(api.post("/v1/forwards/back/skip", json!({"id": refused})).await.status, 200);
    let all_done = |scrape: &Scrape| scrape.get("ticket_webhooks_forward_lag_events", &[]) == 0.0;
    Scrape::until(&service, all_done).await;
    let log = service.stop().await;
    assert!(!log.contains("permission denied"), "{log}");
    let service = world.serve(None).await;
    assert_eq!(ApiClient::of(&service.admin).await.delete("/v1/consumers/forward-back").await.status, 204);
}

/// Whether it comes to serve with a database that is ready.
fn starts(command: Command) -> Result<(), String> {
    let (mut process, ready) = (command.start(), "\"serving\"");
    let printed = process.printed();
    let line = printed.line_with_any(&["\"ERROR\"", "error: ", ready]);
    process.signal("KILL");
    process.wait();
    if line.contains(ready) { Ok(()) } else { Err(line) }
}
