use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::console;
use crate::support::{ADMIN_TOKEN, ApiClient, Browser, Database, Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_comes_to_the_page_that_was_asked_for_and_signs_out() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    let browser = Browser::start(&service.admin).await;
    browser.go("/bookings?show=overdue").await;
    browser.until("location.pathname === '/sign-in'").await;
    browser.fill("[name=name]", "Ada Lovelace").await;
    browser.fill("[name=token]", "wrong").await;
    browser.press("Sign in").await;
    browser.until_text("This is not the admin token").await;
    assert_eq!(browser.ask("document.querySelector('[name=name]').value").await, "Ada Lovelace");
    assert_eq!(browser.complaints().await.len(), 1, "the status is 401");
    browser.fill("[name=token]", ADMIN_TOKEN).await;
    browser.press("Sign in").await;
    browser.until_text("Ada Lovelace").await;
    assert_eq!(browser.path().await, "/bookings?show=overdue");
    let cookie = browser.client.get_named_cookie("ticket-webhooks-session").await.unwrap();
    assert_eq!((cookie.http_only(), cookie.same_site().unwrap().to_string()), (Some(true), "Strict".to_owned()));
    browser.press("Sign out").await;
    browser.until("location.pathname === '/sign-in'").await;
    browser.go("/events").await;
    browser.until("location.pathname === '/sign-in'").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    let log = service.stop().await;
    assert!(log.contains("signed in to the console") && log.contains("Ada Lovelace"), "{log}");
    assert!(!log.contains(ADMIN_TOKEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_with_the_token_signs_in() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    let browser = Browser::start(&service.admin).await;
    browser.go(&format!("/sign-in#{ADMIN_TOKEN}")).await;
    browser.until_text("developer").await;
    assert!(!browser.client.current_url().await.unwrap().as_str().contains(ADMIN_TOKEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_a_mail_leads_who_is_signed_in_to_the_page() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    // another site than 127.0.0.1
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mail = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    let link = format!("<a href=\"{}/events?q=CB-1\">Look</a>", service.admin);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{link}", link.len());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    browser.client.goto(&mail).await.unwrap();
    browser.press("Look").await;
    browser.until("location.pathname === '/events'").await;
    assert_eq!(browser.path().await, "/events?q=CB-1");
}

/// The cookie that the service would give for a token.
fn cookie(token: &str, expires: i64) -> String {
    let sign = |key: &[u8], text: &str| {
        Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes()
    };
    let content = format!("{expires}.{}", URL_SAFE_NO_PAD.encode("Ada"));
    let key = sign(token.as_bytes(), "session of the console");
    format!("{content}.{}", URL_SAFE_NO_PAD.encode(sign(&key, &content)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_sign_in_and_one_of_another_token_are_none() {
    let database = Database::new().await;
    let (_service, _api, browser) = console(&database).await;
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let set = async |value: String| {
        browser.client.delete_all_cookies().await.unwrap();
        browser.ask(&format!("document.cookie = 'ticket-webhooks-session={value}; path=/'")).await;
        browser.go("/events").await;
        browser.path().await
    };
    assert_eq!(set(cookie(ADMIN_TOKEN, now + 60)).await, "/events", "the test makes cookies as the service does");
    let sign_in = "/sign-in?next=%2Fevents";
    assert_eq!(set(cookie(ADMIN_TOKEN, now - 1)).await, sign_in);
    assert_eq!(set(cookie("the-token-before-it-was-replaced", now + 60)).await, sign_in);
    assert_eq!(
        set(cookie(ADMIN_TOKEN, now - 60).replace(&(now - 60).to_string(), &(now + 60).to_string())).await,
        sign_in
    );
}

#[tokio::test]
async fn guesses_are_throttled_together_with_those_at_the_api() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let sign_in = async |token: &str| {
        let request = client.post(format!("{}/sign-in", service.admin)).body(format!("name=Ada&token={token}"));
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    };
    for _ in 0..5 {
        assert_eq!(client.get(format!("{}/v1/events", service.admin)).send().await.unwrap().status(), 401);
        assert_eq!(sign_in("wrong").await.status(), 401);
    }
    let throttled = sign_in("wrong").await;
    assert_eq!(throttled.status(), 429);
    assert!(throttled.headers().contains_key("retry-after"));
    // the right token always passes
    let answer = sign_in(ADMIN_TOKEN).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, "/"));
}

#[tokio::test]
async fn no_page_is_given_to_strangers_and_nothing_is_changed_from_another_site() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let expires = time::OffsetDateTime::now_utc().unix_timestamp() + 600;
    let session = format!("ticket-webhooks-session={}", cookie(ADMIN_TOKEN, expires));
    let pages = [
        "/",
        "/connect/order_ticketed",
        "/events",
        "/bookings",
        "/reconciliation",
        "/reconciliation.csv",
        "/unprocessed",
    ];
    for path in pages {
        let url = format!("{}{path}", service.admin);
        let stranger = client.get(&url).send().await.unwrap();
        assert_eq!(stranger.status(), 303, "{path}");
        assert!(stranger.headers()["location"].to_str().unwrap().starts_with("/sign-in?next="));
        let page = client.get(&url).header("cookie", &session).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.headers()["cache-control"], "no-store");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
    }
    for (path, body) in
        [("/bookings", "provider=order_ticketed&environment=live&booking_ref=B1"), ("/unprocessed/reprocess", "")]
    {
        let post = |site: &str| {
            let request = client.post(format!("{}{path}", service.admin)).header("cookie", &session).body(body);
            request
                .header("content-type", "application/x-www-form-urlencoded")
                .header("sec-fetch-site", site.to_owned())
        };
        for site in ["cross-site", "same-site"] {
            assert_eq!(post(site).send().await.unwrap().status(), 403, "{path} from {site}");
        }
        assert!(post("same-origin").send().await.unwrap().status().as_u16() < 400, "{path}");
    }
    // assets may be kept: another content has another name
    let html = client.get(format!("{}/sign-in", service.admin)).send().await.unwrap().text().await.unwrap();
    let asset = html.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".css")).unwrap();
    let asset = client.get(format!("{}{asset}", service.admin)).send().await.unwrap();
    assert_eq!(
        (asset.status().as_u16(), asset.headers()["content-type"].to_str().unwrap()),
        (200, "text/css; charset=utf-8")
    );
    assert!(asset.headers()["cache-control"].to_str().unwrap().contains("immutable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_is_no_guess_and_the_token_stays_in_no_address() {
    let database = Database::new().await;
    let (_service, _api, browser) = console(&database).await;
    for _ in 0..12 {
        browser.go("/nothing/here").await;
        browser.until_text("There is nothing here").await;
    }
    browser.go(&format!("/sign-in#{ADMIN_TOKEN}")).await;
    browser.until("location.pathname === '/' && location.hash === ''").await;
    browser.go("/events#100%").await;
    browser.until("location.hash === ''").await;
    browser.press("Sign out").await;
    browser.until("location.pathname === '/sign-in'").await;
    browser.go("/nothing/here").await;
    browser.until("location.pathname === '/sign-in'").await;
    browser.fill("[name=name]", "Ada").await;
    browser.fill("[name=token]", "wrong").await;
    browser.press("Sign in").await;
    browser.until_text("This is not the admin token").await;
}

#[tokio::test]
async fn without_a_token_in_the_configuration_nobody_signs_in() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let page = reqwest::get(format!("{}/sign-in", service.admin)).await.unwrap().text().await.unwrap();
    assert!(page.contains("has no <code>admin.token</code>"), "{page}");
    for token in ["", "anything"] {
        let request = reqwest::Client::new().post(format!("{}/sign-in", service.admin));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(format!("name=Ada&token={token}")).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
}

#[tokio::test]
async fn the_cookie_is_secure_behind_tls_that_a_trusted_proxy_reports() {
    let database = Database::new().await;
    let proxies = ("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8");
    let (trusting, _api) = ApiClient::start(&database, &[proxies]).await;
    let (other, _api) = ApiClient::start(&database, &[]).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (admin, header, value, is_secure) in [
        (&trusting.admin, "x-forwarded-proto", "https", true),
        (&trusting.admin, "forwarded", "for=192.0.2.1;proto=https", true),
        (&trusting.admin, "x-forwarded-proto", "http", false),
        (&other.admin, "x-forwarded-proto", "https", false),
    ] {
        let request = client.post(format!("{admin}/sign-in")).body(format!("name=Ada&token={ADMIN_TOKEN}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").header(header, value);
        let answer = request.send().await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert_eq!(cookie.ends_with("; Secure"), is_secure, "{header}: {value}: {cookie}");
    }
}
