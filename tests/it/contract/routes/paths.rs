//! The paths of the public listener: what leads to a provider, and what leads nowhere.

use crate::contract::answers::words::{assert_success, post};
use crate::support::{Answer, Database, PROVIDERS, Provider, Service, provider};

/// A delivery to this path, and its status.
async fn post_to(service: &Service, provider: &Provider, path: &str, booking: &str) -> u16 {
    let mut request = service.request("POST", path).body((provider.delivery)("main", booking).to_string());
    if let Some(authorization) = (provider.authorization)("main") {
        request = request.header("authorization", authorization.as_bytes());
    }
    Answer::of(request).await.status
}

#[tokio::test]
async fn a_slash_at_the_end_and_doubled_ones_make_no_difference() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let path = provider.path;
        for (n, path) in [
            format!("{path}/"),
            format!("{path}//"),
            format!("/{path}"),
            format!("//{path}///"),
            path.replace('/', "//"),
            format!("{path}/?source=1"),
            format!("{}//?a=b//c/", path.replacen("/webhooks/", "/webhooks///", 1)),
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(post_to(&service, provider, path, &format!("B{n}")).await, 200, "{path}");
        }
        let answer = Answer::of(service.request("GET", &format!("{path}/"))).await;
        assert_eq!((answer.status, answer.headers["allow"].to_str().unwrap()), (405, "POST"));
    }
    assert_eq!(database.events().await.len(), 21);
}

#[tokio::test]
async fn a_configured_path_may_have_a_trailing_slash_and_doubled_ones() {
    let database = Database::new().await;
    let key = "TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__PATH";
    let service = Service::start(&database, &[(key, "/hooks//a1B2/")]).await;
    for path in ["/hooks/a1B2", "/hooks/a1B2/", "//hooks//a1B2"] {
        assert_eq!(post_to(&service, provider("order_ticketed"), path, "B1").await, 200, "{path}");
    }
    assert_eq!(post_to(&service, provider("order_ticketed"), "/hooks/A1B2", "B1").await, 404);
}

#[tokio::test]
async fn any_other_path_is_answered_404() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for path in
        ["/", "//", "/webhooks", "/webhooks/", "/webhooks/ORDER-TICKETED", "/webhooks/order-ticketed/x", "/metrics"]
    {
        let answer = Answer::of(service.request("POST", path).body("{}")).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (404, &"not_found".into()), "{path}");
    }
    let first = &PROVIDERS[0];
    assert_success(first, &post(&service, first, (first.delivery)("main", "B1").to_string()).await);
}
