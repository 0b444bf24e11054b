//! Any method but POST.

use super::words::{assert_kept, assert_refused};
use crate::support::{Answer, Database, PROVIDERS, Service};

#[tokio::test]
async fn any_other_method_is_answered_405_with_the_allowed_one() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            // the credentials do not matter, nor does the body
            let mut request = service.request(method, provider.path).header("accept-encoding", "gzip");
            if method != "GET" {
                request = request.body((provider.delivery)("main", "B1").to_string());
            }
            let answer = Answer::of(request).await;
            assert_refused(provider, &answer, 405, &[("allow", "POST")]);
        }
    }
    assert_kept(&database, &[]).await;
    assert!(database.events().await.is_empty());
}

#[tokio::test]
async fn head_is_answered_the_same_without_a_body() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let response = service.request("HEAD", provider.path).send().await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(response.text().await.unwrap(), "");
    }
}
