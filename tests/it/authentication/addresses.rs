//! Where a delivery may come from.

use crate::support::{Answer, Database, PROVIDERS, Provider, Service};

/// The right credentials, with these `X-Forwarded-For` headers.
async fn status(service: &Service, provider: &Provider, forwarded: &[&str]) -> u16 {
    let mut request = service.request("POST", provider.path).body((provider.delivery)("main", "B1").to_string());
    if let Some(authorization) = (provider.authorization)("main") {
        request = request.header("authorization", authorization.as_bytes());
    }
    for value in forwarded {
        request = request.header("x-forwarded-for", *value);
    }
    Answer::of(request).await.status
}

async fn service(database: &Database, allowed: &str, trusted: &str) -> Service {
    let allowed = PROVIDERS.map(|provider| {
        (format!("TICKET_WEBHOOKS__PROVIDERS__{}__ALLOWED_NETWORKS", provider.name.to_uppercase()), allowed)
    });
    let mut variables: Vec<_> = allowed.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    variables.push(("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", trusted));
    Service::start(database, &variables).await
}

#[tokio::test]
async fn only_the_allowed_networks_may_deliver() {
    let database = Database::new().await;
    let here = service(&database, "203.0.113.0/24, 127.0.0.0/8", "").await;
    let elsewhere = service(&database, "203.0.113.0/24,2001:db8::/32", "").await;
    for provider in &PROVIDERS {
        assert_eq!(status(&here, provider, &[]).await, 200);
        // who is no trusted proxy cannot say where somebody else is
        assert_eq!(status(&here, provider, &["198.51.100.1"]).await, 200);
        assert_eq!(status(&elsewhere, provider, &[]).await, 401);
        assert_eq!(status(&elsewhere, provider, &["203.0.113.7"]).await, 401);
    }
    assert_eq!(database.events().await.len(), 3);
    assert!(database.unprocessed().await.is_empty());
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let database = Database::new().await;
    let service = service(&database, "203.0.113.0/24,2001:db8::/32", "127.0.0.1, 10.0.0.0/8").await;
    for provider in &PROVIDERS {
        for (forwarded, expected) in [
            (&["203.0.113.7"][..], 200),
            (&["203.0.113.7:4711"], 200),
            (&["2001:db8::7"], 200),
            (&["[2001:db8::7]:4711"], 200),
            (&["::ffff:203.0.113.7"], 200),
            (&["198.51.100.1, 203.0.113.7, 10.1.2.3"], 200),
            (&["198.51.100.1", "203.0.113.7", "10.1.2.3"], 200),
            // what stands left of the last address that is no proxy was written by the client itself
            (&["203.0.113.7, 198.51.100.1"], 401),
            (&["203.0.113.7", "198.51.100.1"], 401),
            (&["198.51.100.1"], 401),
            (&["203.0.113.7, nonsense"], 401),
            (&["nonsense"], 401),
            (&[""], 401),
            (&[], 401),
        ] {
            assert_eq!(status(&service, provider, forwarded).await, expected, "{} {forwarded:?}", provider.name);
        }
    }
}

#[tokio::test]
async fn the_wrong_address_is_answered_as_the_wrong_credentials_are() {
    let database = Database::new().await;
    let elsewhere = service(&database, "203.0.113.0/24", "").await;
    for provider in &PROVIDERS {
        let right = elsewhere.post(provider, (provider.delivery)("main", "B1").to_string()).await;
        let wrong = Answer::of(elsewhere.request("POST", provider.path).body("{}")).await;
        assert_eq!((right.status, &right.body), (401, &wrong.body));
        assert_eq!(right.headers.get("www-authenticate"), wrong.headers.get("www-authenticate"));
    }
    assert_eq!(database.dump().await, "");
}
