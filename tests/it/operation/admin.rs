//! The operators' listener: health for all, everything else behind the token.

use crate::support::{Answer, Database, Service};

#[tokio::test]
async fn health_is_open_and_everything_else_needs_the_token() {
    let database = Database::new().await;
    let token = [("TICKET_WEBHOOKS__ADMIN__TOKEN", "admin-token-5c1")];
    for (variables, right_token) in [(&token[..], 404), (&[], 401)] {
        let service = Service::start(&database, variables).await;
        let get = async |path: &str, authorization: Option<&str>| {
            let request = reqwest::Client::new().get(format!("{}{path}", service.admin));
            let request =
                authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
            Answer::of(request).await
        };
        assert_eq!(get("/livez", None).await.status, 200);
        assert_eq!(get("/readyz", None).await.status, 200);
        for wrong in [None, Some("Bearer wrong"), Some("Bearer "), Some("admin-token-5c1")] {
            let answer = get("/v1/events", wrong).await;
            assert_eq!((answer.status, &answer.body["error"]["code"]), (401, &"unauthenticated".into()));
        }
        let answer = get("/v1/nothing", Some("Bearer admin-token-5c1")).await;
        assert_eq!(answer.status, right_token);
        assert_eq!(answer.headers["x-request-id"], answer.body["error"]["request_id"].as_str().unwrap());
        assert_eq!(Answer::of(service.request("GET", "/v1/events")).await.status, 404, "the public listener has none");
    }
}

#[tokio::test]
async fn guesses_at_the_token_are_counted_logged_and_throttled_and_the_right_one_is_not() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__ADMIN__TOKEN", "admin-token-5c1")]).await;
    let get = async |token: &str| {
        let request = reqwest::Client::new().get(format!("{}/v1/nothing", service.admin));
        Answer::of(request.bearer_auth(token)).await
    };
    let mut statuses = Vec::new();
    for n in 0..30 {
        let answer = get(&format!("guess-{n}")).await;
        let is_told =
            answer.headers.contains_key(if answer.status == 429 { "retry-after" } else { "www-authenticate" });
        assert!(is_told, "{answer:?}");
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert!(statuses[12..].contains(&429), "{statuses:?}");
    assert_eq!(get("admin-token-5c1").await.status, 404);
    let page = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
    assert!(page.contains("\nticket_webhooks_admin_authentication_failures_total 30\n"), "{page}");
    let log = service.stop().await;
    let lines = log.lines().filter(|line| line.contains("the admin token was missing or wrong")).count();
    assert!((10..20).contains(&lines), "{log}");
    assert!(!log.contains("guess-") && !log.contains("admin-token-5c1"), "{log}");
}
