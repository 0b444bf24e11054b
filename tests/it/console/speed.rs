//! How long each page takes at the size of years.

use std::time::{Duration, Instant};

use crate::support::{ADMIN_TOKEN, ApiClient, Database};

const PAGES: [&str; 16] = [
    "/",
    "/events",
    "/events?q=B-1000",
    "/events?q=p1000",
    "/events?q=24-0000-3000",
    "/events?q=first7%20last30007",
    "/events?q=nobody",
    "/events?provider=booking_callback",
    "/events?status=aborted",
    "/events?environment=live&status=failed",
    "/events?from=2020-01-02T00:00&to=2020-01-03T00:00",
    "/bookings",
    "/bookings?show=overdue",
    "/bookings?show=stuck",
    "/unprocessed",
    "/connect/booking_callback",
];

/// Takes some minutes and 7 GB of disk: `make search-test`.
#[tokio::test]
#[ignore = "takes minutes: make search-test"]
async fn every_page_takes_less_than_100_ms_at_5_million_events() {
    let database = Database::new().await;
    let events = include_str!("../consumers/search/events.sql").replace("{events}", "5000000");
    for statement in events.split_inclusive(";\n") {
        database.execute(statement).await;
    }
    // as in a service that has followed them as they came
    let followed = "insert into consumers (name, position) select 'bookings', position from consumers where name = 'search' \
                    on conflict (name) do update set position = excluded.position";
    database.execute(followed).await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let sign_in = client.post(format!("{}/sign-in", service.admin)).body(format!("name=Ada&token={ADMIN_TOKEN}"));
    let sign_in = sign_in.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    let cookie = sign_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let event = api.get("/v1/events?booking_ref=B-1000").await.body["events"][0].clone();
    let booking = ["provider", "environment", "booking_ref"].map(|name| event[name].as_str().unwrap());
    let mut too_slow = Vec::new();
    for page in PAGES.map(str::to_owned).into_iter().chain([format!("/bookings/{}", booking.join("/"))]) {
        let mut times = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            let request = client.get(format!("{}{page}", service.admin)).header("cookie", &cookie);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{page}");
            answer.text().await.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        println!("{page}: {:.1?} (least {:.1?}, most {:.1?})", times[2], times[0], times[4]);
        if times[2] > Duration::from_millis(100) {
            too_slow.push(page);
        }
    }
    assert!(too_slow.is_empty(), "{too_slow:?}");
}
