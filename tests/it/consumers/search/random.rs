//! Any questions over any events, against the same in plain SQL.

use sqlx::AssertSqlSafe;

use super::{IndexerHeldBack, all, given_out, indexed};
use crate::support::{ApiClient, Chance, Database, Service};

const EVENTS: usize = 2_000;

/// Events of few values each, so that questions meet in many ways. Their order in the feed is not that of receipt.
pub(super) fn insert(round: usize) -> String {
    format!(
        "insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, airline_pnrs, pnr, \
             gds_pnr, booking_number, passengers, ticket_numbers, warnings, payload, content_hash, received_at, \
             last_received_at) \
         select gen_random_uuid(), (array['booking_callback', 'order_ticketed', 'ticket_status_update'])[1 + n % 3], \
             'main', (array['live', 'test'])[1 + n / 3 % 2], 'B-' || n % 97, {EVENTS} * {round} + n, \
             (array['ticketed', 'pending', 'failed', 'confirmed'])[1 + n * 7 % 4], array['A' || n % 11], \
             case when n % 4 > 0 then 'P' || n % 13 end, case when n % 5 = 0 then 'P' || n % 7 end, 'n-' || n % 3, \
             jsonb_build_array(jsonb_build_object('first_name', 'Jos\u{e9}' || n % 5, 'last_name', 'Smith X' || n % 17), \
                 jsonb_build_object('last_name', 'Other Y' || n % 19)), \
             array['98' || n % 23], '{{}}', '{{}}', sha256(n::text::bytea), \
             timestamptz '2026-01-01' + (n * 7919 % 1000) * interval '1 hour', now() \
         from generate_series(1, {EVENTS}) as n"
    )
}

/// A question, as parameters and as a condition in SQL.
fn question(chance: &mut Chance) -> (String, String) {
    let (mut query, mut condition) = (String::new(), "true".to_owned());
    let mut add = |parameter: String, sql: String| {
        query += &format!("&{parameter}");
        condition += &format!(" and {sql}");
    };
    if chance.one_in(3) {
        let provider = chance.one_of(&["booking_callback", "order_ticketed", "unknown"]);
        add(format!("provider={provider}"), format!("provider = '{provider}'"));
    }
    if chance.one_in(3) {
        let environment = chance.one_of(&["live", "test"]);
        add(format!("environment={environment}"), format!("environment = '{environment}'"));
    }
    if chance.one_in(3) {
        let status = chance.one_of(&["ticketed", "pending", "failed", "aborted"]);
        add(format!("status={status}"), format!("status = '{status}'"));
    }
    if chance.one_in(8) {
        let booking = chance.between(0, 100);
        add(format!("booking_ref=B-{booking}"), format!("booking_ref = 'B-{booking}'"));
    }
    if chance.one_in(3) {
        let locator = format!("{}{}", chance.one_of(&["A", "P", "N-"]), chance.between(0, 13));
        let any = "airline_pnrs || array[pnr, gds_pnr, upper(booking_number)]";
        add(format!("pnr={}", locator.to_lowercase()), format!("'{locator}' = any({any})"));
    }
    if chance.one_in(6) {
        let ticket = chance.between(0, 25);
        add(format!("ticket=9-8{ticket}"), format!("'98{ticket}' = any(ticket_numbers)"));
    }
    if chance.one_in(3) {
        let (first, last) = (chance.between(0, 6), chance.between(0, 20));
        let is_in = |path: &str, word: &str| format!("passengers #>> '{path}' ilike '%{word}'");
        match chance.between(0, 3) {
            0 => add(format!("name=JOSE{first}"), is_in("{0,first_name}", &first.to_string())),
            1 => add(format!("name=smith/x{last}"), is_in("{0,last_name}", &format!(" X{last}"))),
            _ => add(
                format!("name=y{last}%20jose{first}%20other"),
                format!(
                    "{} and {}",
                    is_in("{1,last_name}", &format!(" Y{last}")),
                    is_in("{0,first_name}", &first.to_string())
                ),
            ),
        }
    }
    if chance.one_in(3) {
        let (from, hours) = (chance.between(0, 40), chance.between(0, 20));
        let (from, to) = (
            format!("2026-01-{:02}T05:00:00Z", 1 + from % 28),
            format!("2026-02-{:02}T{hours:02}:00:00Z", 1 + from % 28),
        );
        add(
            format!("received_from={from}&received_to={to}"),
            format!("received_at >= '{from}' and received_at < '{to}'"),
        );
    }
    (query, condition)
}

async fn compare(database: &Database, api: &ApiClient, chance: &mut Chance, questions: usize) {
    for _ in 0..questions {
        let (query, condition) = question(chance);
        let sql =
            format!("select id::text from ticket_events where {condition} order by generation, recorded_xid, sequence");
        let expected: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&database.pool).await.unwrap();
        let limit = chance.one_of(&[7, 50, 1000]);
        let found = all(api, query.trim_start_matches('&'), limit.max(expected.len() / 10)).await;
        assert_eq!(found, expected, "{query} ({condition})");
    }
}

#[tokio::test]
async fn any_questions_over_many_pages_find_exactly_what_plain_sql_finds() {
    let mut chance = Chance::of(12);
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    database.execute(&insert(0)).await;
    indexed(&database).await;
    // half of the events have keys
    let held_back = IndexerHeldBack::new(&database).await;
    database.execute(&insert(1)).await;
    given_out(&database).await;
    compare(&database, &api, &mut chance, 60).await;
    held_back.end().await;
    let _second = Service::start(&database, &[]).await;
    // while the keys are filled
    compare(&database, &api, &mut chance, 20).await;
    indexed(&database).await;
    compare(&database, &api, &mut chance, 60).await;
}
