//! SIGHUP: secrets change without a restart, and without a delivery refused.

mod configured;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::task::JoinSet;

use self::configured::Configured;
use crate::support::{Answer, Database, PROVIDERS, Provider, Service, credentials, provider};

/// A delivery as an account.
async fn deliver(service: &Service, provider: &Provider, account: &str, booking: &str) -> u16 {
    let body = (provider.delivery)(account, booking).to_string();
    let mut request = service.request("POST", provider.path).body(body);
    if let Some(authorization) = (provider.authorization)(account) {
        request = request.header("authorization", authorization.as_bytes());
    }
    Answer::of(request).await.status
}

/// Providers that deliver all the time, one request after the other.
struct Load {
    senders: JoinSet<()>,
    /// The accepted deliveries of each sender, by account: `main`, `other`.
    accepted: Arc<Vec<[AtomicUsize; 2]>>,
    use_other: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn on(service: &Arc<Service>) -> Self {
        let names: Vec<_> = PROVIDERS.iter().flat_map(|provider| [provider.name; 2]).collect();
        let accepted: Arc<Vec<_>> = Arc::new(names.iter().map(|_| <[AtomicUsize; 2]>::default()).collect());
        let (use_other, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut senders = JoinSet::new();
        for (n, name) in names.into_iter().enumerate() {
            let (service, accepted) = (Arc::clone(service), Arc::clone(&accepted));
            let (use_other, stop) = (Arc::clone(&use_other), Arc::clone(&stop));
            senders.spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::SeqCst) {
                    let other = usize::from(use_other.load(Ordering::SeqCst));
                    let account = ["main", "other"][other];
                    let status = deliver(&service, provider(name), account, &format!("B{n}-{sent}")).await;
                    assert_eq!(status, 200, "{name} as {account}");
                    accepted[n][other].fetch_add(1, Ordering::SeqCst);
                    sent += 1;
                }
            });
        }
        Self { senders, accepted, use_other, stop }
    }

    /// Waits until each sender has had some more deliveries accepted as this account.
    async fn goes_on(&mut self, account: usize) {
        let before: Vec<_> = self.accepted.iter().map(|counts| counts[account].load(Ordering::SeqCst)).collect();
        while self.accepted.iter().zip(&before).any(|(now, before)| now[account].load(Ordering::SeqCst) < before + 5) {
            if let Some(ended) = self.senders.try_join_next() {
                ended.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        self.accepted.iter().flatten().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

#[tokio::test]
async fn secrets_are_rotated_under_load_without_a_delivery_refused() {
    let database = Database::new().await;
    let configured = Configured::new();
    configured.write(&["main"], "");
    let service = Arc::new(configured.start(&database).await);
    let mut load = Load::on(&service);
    load.goes_on(0).await;

    configured.write(&["main", "other"], "");
    let added = "\"accounts.added\":\"ticket_status_update.other, booking_callback.other, order_ticketed.other\"";
    configured::reload(&service, added).await;
    load.goes_on(0).await;
    load.use_other.store(true, Ordering::SeqCst);
    load.goes_on(1).await;

    configured.write(&["other"], "");
    let removed = "\"accounts.removed\":\"ticket_status_update.main, booking_callback.main, order_ticketed.main\"";
    configured::reload(&service, removed).await;
    load.goes_on(1).await;
    let accepted = load.end().await;
    assert_eq!(database.events().await.len(), accepted);

    for provider in &PROVIDERS {
        assert_eq!(deliver(&service, provider, "main", "B1").await, 401, "the old secret is gone");
        // who held it may still send it
        let mut delivery = (provider.delivery)("other", "B1");
        let old: Vec<_> = credentials(provider.name, "main").into_iter().map(|(_, value)| value).collect();
        delivery["note"] = json!(old);
        let mut request = service.request("POST", provider.path).body(delivery.to_string());
        if let Some(authorization) = (provider.authorization)("other") {
            request = request.header("authorization", authorization.as_bytes());
        }
        assert_eq!(Answer::of(request).await.status, 200);
    }
    let dump = database.dump().await;
    for provider in &PROVIDERS {
        for (_, secret) in
            credentials(provider.name, "main").into_iter().filter(|(key, _)| !["client_id", "user_name"].contains(key))
        {
            let escaped = serde_json::to_string(secret).unwrap();
            assert!(!dump.contains(secret) && !dump.contains(escaped.trim_matches('"')), "{secret} in {dump}");
        }
    }
}

#[tokio::test]
async fn a_secret_changes_in_its_file_alone() {
    let database = Database::new().await;
    let configured = Configured::new();
    configured.write(&["main"], "");
    let service = configured.start(&database).await;
    let order_ticketed = provider("order_ticketed");
    fs::write(configured.secret("order_ticketed", "main"), credentials("order_ticketed", "other")[0].1).unwrap();
    assert_eq!(deliver(&service, order_ticketed, "main", "B1").await, 200, "nothing changes by itself");
    configured::reload(&service, "\"accounts.changed\":\"order_ticketed.main\"").await;
    assert_eq!(deliver(&service, order_ticketed, "main", "B2").await, 401);
    assert_eq!(deliver(&service, order_ticketed, "other", "B2").await, 200);
}

#[tokio::test]
async fn a_configuration_that_is_wrong_changes_nothing() {
    let database = Database::new().await;
    let configured = Configured::new();
    configured.write(&["main"], "");
    let service = configured.start(&database).await;
    let missing = configured.secret("booking_callback", "missing").display().to_string();
    let account = "[providers.booking_callback.accounts.third]\nenvironment = 'live'\nclient_id = 1\nuser_name = 'u'\n";
    for (wrong, named) in [
        ("[admin".to_owned(), "service.toml"),
        ("[server]\nportt = 1".to_owned(), "server.portt"),
        (account.to_owned(), "providers.booking_callback.accounts.third.password"),
        (format!("{account}password_file = '{missing}'"), missing.as_str()),
    ] {
        configured.write(&["other"], &wrong);
        let line = configured::reload(&service, named).await;
        let is_whole = line.contains("\"ERROR\"") && line.contains("service.toml") && line.contains("stays");
        assert!(is_whole, "{line}");
        for provider in &PROVIDERS {
            assert_eq!(deliver(&service, provider, "main", named).await, 200, "{named}");
            assert_eq!(deliver(&service, provider, "other", named).await, 401, "{named}");
        }
    }
    // a secret that is being written
    configured.write(&["main"], "");
    fs::write(configured.secret("order_ticketed", "main"), "").unwrap();
    configured::reload(&service, "providers.order_ticketed.accounts.main.cid").await;
    assert_eq!(deliver(&service, provider("order_ticketed"), "main", "B9").await, 200);
}

#[tokio::test]
async fn what_needs_a_restart_waits_for_it_and_is_named() {
    let database = Database::new().await;
    let configured = Configured::new();
    configured.write(&["main"], "");
    let service = configured.start(&database).await;
    let other = "[server]\nbody_limit_bytes = 10\n[spool]\ndirectory = '/tmp/elsewhere'\n\
                 [providers.order_ticketed]\nunknown_booking = 'reject'\n[database]\nmax_connections = 11";
    configured.write(&["main", "other"], other);
    let line = configured::reload(&service, "waiting for a restart").await;
    for key in ["server.body_limit_bytes", "spool.directory", "providers.order_ticketed.unknown_booking"] {
        assert!(line.contains(key), "{key} is not named: {line}");
    }
    assert!(line.contains("database.max_connections") && !line.contains("database.url"), "{line}");
    for provider in &PROVIDERS {
        assert_eq!(deliver(&service, provider, "other", "B1").await, 200, "accounts do not wait");
    }
}

#[tokio::test]
async fn a_provider_gets_its_first_account_and_loses_its_last() {
    let database = Database::new().await;
    let configured = Configured::new();
    configured.write(&[], "");
    let service = configured.start(&database).await;
    let statuses = async || {
        let mut statuses = Vec::new();
        for provider in &PROVIDERS {
            statuses.push(deliver(&service, provider, "main", "B1").await);
        }
        statuses.push(Answer::of(service.request("GET", PROVIDERS[0].path)).await.status);
        statuses
    };
    let silence = async || {
        let metrics = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
        let named = "ticket_webhooks_last_delivery_age_seconds{provider=\"order_ticketed\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(named)).map(|seconds| seconds.parse::<f64>().unwrap())
    };
    assert_eq!(silence().await, None, "it cannot be silent");
    assert_eq!(statuses().await, [404; 4]);
    configured.write(&["main"], "");
    configured::reload(&service, "\"accounts.added\":\"ticket").await;
    assert_eq!(statuses().await, [200, 200, 200, 405]);
    assert!(silence().await.is_some_and(|seconds| seconds > 0.0));
    configured.write(&[], "");
    configured::reload(&service, "\"accounts.removed\":\"ticket").await;
    assert_eq!(statuses().await, [404; 4]);
    assert_eq!(silence().await, Some(0.0), "it no longer is");
}

#[tokio::test]
async fn the_admin_token_is_rotated_and_the_old_one_wiped_from_memory() {
    let database = Database::new().await;
    let configured = Configured::new();
    let token = configured.secret("admin", "token");
    // never sent before it is looked for, so that they only are where the configuration puts them
    let [first, second] = ["first", "second"].map(|name| format!("{name}-{}", uuid::Uuid::now_v7().simple()));
    fs::write(&token, &first).unwrap();
    configured.write(&["main"], &format!("[admin]\ntoken_file = '{}'", token.display()));
    let service = configured.start(&database).await;
    let get = async |token: &str| {
        let request = reqwest::Client::new().get(format!("{}/v1/nothing", service.admin));
        Answer::of(request.bearer_auth(token)).await.status
    };
    // memory that is free again has the allocator's notes in its first bytes
    let in_memory = |token: &str| configured::occurrences(service.process.id(), &token[token.len() - 16..]);
    let before = [&first, &second].map(|token| in_memory(token));
    fs::write(&token, &second).unwrap();
    configured::reload(&service, "\"reloaded\"").await;
    let after = [&first, &second].map(|token| in_memory(token));
    if before[0].is_some() {
        // once to be compared with, once to be redacted
        assert_eq!((before, after), ([Some(2), Some(0)], [Some(0), Some(2)]));
    }
    assert_eq!(get(&first).await, 401);
    assert_eq!(get(&second).await, 404);
}

#[tokio::test]
async fn the_secret_of_a_forward_is_rotated_and_the_old_one_wiped_from_memory() {
    let database = Database::new().await;
    let configured = Configured::new();
    let file = configured.secret("forward", "secret");
    let keys = ["first", "second"].map(|_| uuid::Uuid::now_v7().simple().to_string());
    let secrets = keys.each_ref().map(|key| format!("whsec_{}", STANDARD.encode(key)));
    fs::write(&file, &secrets[0]).unwrap();
    let forward = format!("[forward.back]\nurl = 'http://127.0.0.1:1/'\nsecrets_file = ['{}']", file.display());
    configured.write(&["main"], &forward);
    let service = configured.start(&database).await;
    let in_memory = |text: &str| configured::occurrences(service.process.id(), &text[text.len() - 16..]);
    let before = keys.each_ref().map(|key| in_memory(key));
    fs::write(&file, &secrets[1]).unwrap();
    configured::reload(&service, "\"reloaded\"").await;
    if before[0].is_some() {
        let after = keys.each_ref().map(|key| in_memory(key));
        assert_eq!((before, after), ([Some(1), Some(0)], [Some(0), Some(1)]));
        assert_eq!(secrets.each_ref().map(|secret| in_memory(secret)), [Some(0), Some(0)], "only the bytes are kept");
    }
}

#[tokio::test]
async fn its_memory_is_kept_out_of_core_dumps() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let process = format!("/proc/{}", service.process.id());
    let Ok(limits) = fs::read_to_string(format!("{process}/limits")) else { return };
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // what must not be dumped belongs to root
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("{process}/environ")).unwrap());
    assert_eq!(owner, 0);
}
