//! Where a delivery may come from.

use crate::support::{Answer, Database, PROVIDERS, Provider, Service};

/// The right credentials, with these `X-Forwarded-For` headers.
async fn status(service: &Service, provider: &Provider, forwarded: &[&str]) -> u16 {
    let headers: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", value.as_bytes())).collect();
    status_with(service, provider, &headers).await
}

async fn status_with(service: &Service, provider: &Provider, headers: &[(&str, &[u8])]) -> u16 {
    let mut request = service.request("POST", provider.path).body((provider.delivery)("main", "B1").to_string());
    if let Some(authorization) = (provider.authorization)("main") {
        request = request.header("authorization", authorization.as_bytes());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await.status
}

async fn service(database: &Database, allowed: &str, trusted: &str) -> Service {
    service_with(database, allowed, trusted, &[]).await
}

async fn service_with(database: &Database, allowed: &str, trusted: &str, others: &[(&str, &str)]) -> Service {
    let allowed = PROVIDERS.map(|provider| {
        (format!("TICKET_WEBHOOKS__PROVIDERS__{}__ALLOWED_NETWORKS", provider.name.to_uppercase()), allowed)
    });
    let mut variables: Vec<_> = allowed.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    variables.push(("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", trusted));
    variables.extend(others);
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

#[tokio::test]
async fn the_standard_header_is_believed_as_well() {
    let database = Database::new().await;
    let service = service(&database, "203.0.113.0/24,2001:db8::/32", "127.0.0.1, 10.0.0.0/8").await;
    for provider in &PROVIDERS {
        for (forwarded, expected) in [
            (&["for=203.0.113.7"][..], 200),
            (&["For=\"203.0.113.7:4711\";proto=https;by=10.0.0.1"], 200),
            (&["for=\"[2001:db8::7]:_port\""], 200),
            (&["for=\"[::ffff:203.0.113.7]\""], 200),
            (&["for=198.51.100.1, for=203.0.113.7, for=10.1.2.3"], 200),
            (&["for=198.51.100.1", "for=203.0.113.7", "for=10.1.2.3"], 200),
            // a quote that the client left open does not hide what the proxy appended
            (&["for=\"198.51.100.1, for=203.0.113.7"], 200),
            (&["for=\"203.0.113.7, for=\"198.51.100.1\""], 401),
            (&["for=203.0.113.7, for=198.51.100.1"], 401),
            (&["for=203.0.113.7, for=unknown"], 401),
            (&["for=203.0.113.7, for=_hidden"], 401),
            (&["for=203.0.113.7, proto=https"], 401),
            (&["for=203.0.113.7;for=203.0.113.8"], 401),
        ] {
            let headers: Vec<_> = forwarded.iter().map(|value| ("forwarded", value.as_bytes())).collect();
            assert_eq!(status_with(&service, provider, &headers).await, expected, "{} {forwarded:?}", provider.name);
        }
        // bytes that are no text take nothing away from what stands right of them
        let odd: &[u8] = b"\xff\xfe, 203.0.113.7";
        assert_eq!(status_with(&service, provider, &[("x-forwarded-for", odd)]).await, 200);
    }
}

#[tokio::test]
async fn the_header_that_the_proxies_do_not_write_counts_for_nothing() {
    let database = Database::new().await;
    let provider = &PROVIDERS[2];
    let (standard, usual): (&[u8], &[u8]) = (b"for=203.0.113.7", b"203.0.113.7");
    let (other_standard, other_usual): (&[u8], &[u8]) = (b"for=198.51.100.1", b"198.51.100.1");
    for (key, headers, expected) in [
        ("either", [("forwarded", standard), ("x-forwarded-for", other_usual)], 401),
        ("either", [("forwarded", other_standard), ("x-forwarded-for", usual)], 200),
        ("x-forwarded-for", [("forwarded", other_standard), ("x-forwarded-for", usual)], 200),
        ("forwarded", [("forwarded", standard), ("x-forwarded-for", other_usual)], 200),
        ("forwarded", [("forwarded", other_standard), ("x-forwarded-for", usual)], 401),
    ] {
        let key = [("TICKET_WEBHOOKS__SERVER__FORWARDED_HEADER", key)];
        let service = service_with(&database, "203.0.113.0/24", "127.0.0.1", &key).await;
        assert_eq!(status_with(&service, provider, &headers).await, expected, "{key:?} {headers:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_mapped_into_ipv6_is_the_one_that_is_mapped() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        return;
    }
    let database = Database::new().await;
    let everywhere = ("TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS", "[::]:0");
    // over a socket of IPv6 a peer of IPv4 is ::ffff:127.0.0.1
    for (allowed, trusted, forwarded, expected) in [
        ("127.0.0.0/8", "", None, 200),
        ("::ffff:127.0.0.0/104", "", None, 200),
        ("::ffff:127.0.0.1", "", None, 200),
        ("::1", "", None, 401),
        ("::ffff:203.0.113.0/120", "::ffff:127.0.0.1", Some("203.0.113.7"), 200),
        ("203.0.113.0/24", "127.0.0.1", Some("::ffff:203.0.113.7"), 200),
    ] {
        let mut service = service_with(&database, allowed, trusted, &[everywhere]).await;
        service.public = service.public.replace("[::]", "127.0.0.1");
        let forwarded: Vec<_> = forwarded.into_iter().collect();
        assert_eq!(status(&service, &PROVIDERS[0], &forwarded).await, expected, "{allowed} {trusted}");
    }
}
