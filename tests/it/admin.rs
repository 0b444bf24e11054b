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
