//! No credential is stored, logged or echoed, in whatever shape and place it arrives.

mod business_data;
mod secrets;

use serde_json::json;

use self::secrets::{ADMIN_TOKEN, assert_no_secret, escaped, in_code_units, in_some_code_units, secrets};
use crate::support::{Answer, Database, PROVIDERS, Provider, Service, credentials, provider};

/// A service that logs all it can, and everything that it has answered.
struct Watched {
    database: Database,
    service: Service,
    answers: String,
}

impl Watched {
    async fn new() -> Self {
        let database = Database::new().await;
        let variables = [("RUST_LOG", "trace"), ("TICKET_WEBHOOKS__ADMIN__TOKEN", ADMIN_TOKEN)];
        let service = Service::start(&database, &variables).await;
        Self { database, service, answers: String::new() }
    }

    /// Delivers, and returns the status.
    async fn post(&mut self, provider: &Provider, authorization: &str, body: impl Into<Vec<u8>>) -> u16 {
        let mut request = self.service.request("POST", provider.path).body(body.into());
        if !authorization.is_empty() {
            request = request.header("authorization", authorization.as_bytes());
        }
        let answer = Answer::of(request).await;
        self.answers += &format!("{:?} {}\n", answer.headers, answer.body);
        answer.status
    }

    /// As the account `main`.
    async fn deliver(&mut self, provider: &Provider, body: impl Into<Vec<u8>>) -> u16 {
        let authorization = (provider.authorization)("main").unwrap_or_default();
        self.post(provider, &authorization, body).await
    }

    /// What is stored, logged and answered holds no secret; this many events are stored, and this many deliveries unprocessed.
    async fn end(self, events: usize, unprocessed: usize) -> String {
        assert_eq!(self.database.events().await.len(), events);
        let kept = self.database.unprocessed().await;
        let deliveries = kept.iter().map(|row| row["delivery_count"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(deliveries, unprocessed as u64);
        let dump = self.database.dump().await;
        assert_no_secret("the database", &dump);
        assert_no_secret("an answer", &self.answers);
        let output = self.service.stop().await;
        assert!(output.contains("sqlx::query"), "it does not log all it can: {output}");
        assert_no_secret("the log", &output);
        dump
    }
}

#[tokio::test]
async fn a_delivery_leaves_no_credential_behind() {
    let mut watched = Watched::new().await;
    for provider in &PROVIDERS {
        for account in ["main", "other"] {
            let body = (provider.delivery)(account, "B1").to_string();
            let authorization = (provider.authorization)(account).unwrap_or_default();
            assert_eq!(watched.post(provider, &authorization, body).await, 200);
        }
    }
    let dump = watched.end(6, 0).await;
    // nor do the client ids stand in what is left of a payload
    assert!(!dump.contains("ClientId") && !dump.contains("10001") && !dump.contains("10002"), "{dump}");
}

#[tokio::test]
async fn wrong_credentials_are_logged_and_echoed_no_more_than_right_ones() {
    let mut watched = Watched::new().await;
    for provider in &PROVIDERS {
        for wrong in ["Wrong-Credential-1", "wrong\"credential\\2"] {
            let mut delivery = (provider.delivery)("main", "B1");
            for member in ["Password", "cid"] {
                if delivery[member].is_string() {
                    delivery[member] = json!(wrong);
                }
            }
            assert_eq!(watched.post(provider, &format!("Bearer {wrong}"), delivery.to_string()).await, 401);
            assert_eq!(watched.post(provider, wrong, "{}").await, 401);
        }
    }
    // right ones in the wrong place
    let cid = credentials("order_ticketed", "main")[0].1;
    let key = credentials("ticket_status_update", "main")[0].1;
    assert_eq!(watched.post(provider("ticket_status_update"), &format!("Basic {key}"), "{}").await, 401);
    assert_eq!(watched.post(provider("order_ticketed"), &format!("Bearer {cid}"), "{}").await, 401);
    assert_eq!(watched.post(provider("order_ticketed"), "", json!({"CID": cid}).to_string()).await, 401);
    let broken = format!("{{\"cid\": \"{cid}x\",}}");
    assert_eq!(watched.post(provider("order_ticketed"), "", broken).await, 401);
    for text in ["Wrong-Credential-1", "wrong\"credential", "wrong\\\"credential"] {
        assert!(!watched.answers.contains(text) && !watched.service.process.output().contains(text));
    }
    watched.end(0, 0).await;
}

#[tokio::test]
async fn credentials_go_however_their_keys_are_written_and_however_often_they_come() {
    let mut watched = Watched::new().await;
    let shapes: [fn(&str, &str) -> String; 6] = [
        |key, value| format!(r#""{}":{value}"#, in_code_units(key)),
        |key, value| format!(r#""{key}":"another","{key}":{value}"#),
        |key, value| {
            format!(r#""{0}":"another","{1}":"another","{key}":{value}"#, key.to_lowercase(), key.to_uppercase())
        },
        |key, value| format!("\"{key}\" \n:\t{value} "),
        |key, value| {
            format!(r#""x":{{"{key}":[{value},"another"]}},"y":[{{"{key}":{{"v":{value}}}}}],"{key}":{value}"#)
        },
        |key, value| format!(r#""{key}":"{}""#, in_code_units(value.trim_matches('"'))),
    ];
    let mut delivered = 0;
    for (n, shape) in shapes.iter().enumerate() {
        for provider in &PROVIDERS[1..] {
            let delivery = (provider.delivery)("main", &format!("B{n}"));
            let members = delivery.as_object().unwrap().iter().map(|(key, value)| {
                // what has to be escaped in the first place cannot be escaped character by character
                let is_credential = ["UserName", "cid"].contains(&key.as_str()) || (key == "Password" && n != 5);
                if is_credential { shape(key, &value.to_string()) } else { format!("\"{key}\":{value}") }
            });
            let body = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
            assert_eq!(watched.deliver(provider, body.clone()).await, 200, "{body}");
            delivered += 1;
        }
    }
    let dump = watched.end(delivered, 0).await;
    assert!(!dump.contains("another"), "a credential that is not configured, or no more: {dump}");
}

/// Bodies in which every secret stands wherever a text can stand that is no business data, each in one way of writing it.
fn riddled(provider: &Provider, booking: &str, write: fn(&str) -> String) -> String {
    let mut delivery = (provider.delivery)("main", booking);
    for pointer in ["/Remark", "/TraceId", "/status", "/data/paxTicketInfos/0/ancillaries"] {
        if let Some(value) = delivery.pointer_mut(pointer) {
            *value = json!("SECRETS");
        }
    }
    delivery["nested"] = json!([[{"deep": {"er": "SECRETS"}}], "SECRETS"]);
    delivery["KEYS"] = json!(1);
    let all = secrets().into_iter().map(write).collect::<Vec<_>>().join(" , ");
    let keys = secrets().into_iter().map(|secret| format!("\"{}\":0", write(secret))).collect::<Vec<_>>().join(",");
    delivery.to_string().replace("SECRETS", &all).replace("\"KEYS\":1", &keys)
}

const WAYS: [fn(&str) -> String; 3] = [escaped, in_code_units, in_some_code_units];

#[tokio::test]
async fn secrets_go_from_every_other_field_in_any_escaping() {
    let mut watched = Watched::new().await;
    for provider in &PROVIDERS {
        for (n, write) in WAYS.into_iter().enumerate() {
            let body = riddled(provider, &format!("B{n}"), write);
            assert_eq!(watched.deliver(provider, body.clone()).await, 200, "{body}");
        }
    }
    watched.end(9, 0).await;
}

#[tokio::test]
async fn every_replacement_is_warned_of_by_the_name_of_its_member() {
    let watched = Watched::new().await;
    let cid = credentials("order_ticketed", "main")[0].1;
    let mut delivery = (provider("order_ticketed").delivery)("main", "B1");
    delivery["data"]["paxTicketInfos"][0]["ancillaries"] = json!([{"note": format!("by {cid}.")}]);
    delivery["status"] = json!(cid);
    delivery["two words"] = json!({ cid: [true, ADMIN_TOKEN] });
    let answer = watched.service.post(provider("order_ticketed"), delivery.to_string()).await;
    assert_eq!(answer.status, 200);
    let event = watched.database.events().await.pop().unwrap();
    assert_eq!(event["provider_status"], "[redacted]");
    assert_eq!(event["passengers"][0]["ancillaries"], json!([{"note": "by [redacted]."}]));
    assert_eq!(event["payload"]["two words"], json!({"[redacted]": [true, "[redacted]"]}));
    let replaced = |member: &str| format!("{member} held a secret, which was replaced");
    assert_eq!(
        event["warnings"],
        json!([
            replaced("data.paxTicketInfos[0].ancillaries[0].note"),
            replaced("status"),
            replaced("?"),
            replaced("?.?[1]"),
        ])
    );
    watched.end(1, 0).await;
}

#[tokio::test]
async fn secrets_go_from_what_is_kept_unprocessed() {
    let mut watched = Watched::new().await;
    let mut kept = 0;
    for write in WAYS {
        for provider in &PROVIDERS {
            for (field, spoiled) in [
                (r#""BookingTransactionRef":"B1""#, r#""BookingTransactionRef":[]"#),
                (r#""TicketInfoes":"#, r#""TicketInfoes":[],"Other":"#),
                (r#""BookingId":"B1""#, r#""BookingId":null"#),
                (r#""orderNo":"B1""#, r#""orderNo":"""#),
                (r#""type":"order.ticketed""#, r#""type":"order.void""#),
            ] {
                let body = riddled(provider, "B1", write);
                if body.contains(field) {
                    let status = if spoiled.contains("void") { 200 } else { 422 };
                    assert_eq!(watched.deliver(provider, body.replace(field, spoiled)).await, status);
                    kept += 1;
                }
            }
        }
    }
    assert_eq!(kept, 15);
    watched.end(0, kept).await;
}

#[tokio::test]
async fn secrets_go_from_what_is_no_json() {
    let mut watched = Watched::new().await;
    let provider = provider("ticket_status_update");
    let mut kept = 0;
    for write in WAYS.into_iter().chain([str::to_owned as fn(&str) -> String]) {
        for body in [
            riddled(provider, "B1", write) + ",",
            riddled(provider, "B1", write).replace("\",\"", "\",,\""),
            secrets().into_iter().map(write).collect::<Vec<_>>().join("\n"),
            secrets().into_iter().map(write).collect::<Vec<_>>().join("\u{fffd}\\\\u00\\"),
        ] {
            for body in [body.clone().into_bytes(), [body.as_bytes(), b"\xff\xfe"].concat()] {
                assert_eq!(watched.deliver(provider, body).await, 422);
                kept += 1;
            }
        }
    }
    watched.end(0, kept).await;
}

#[tokio::test]
async fn secrets_go_from_json_that_stands_in_a_text() {
    let mut watched = Watched::new().await;
    for provider in &PROVIDERS {
        let mut delivery = (provider.delivery)("main", "B1");
        // as most libraries write it, and as those do that write ASCII only
        let inner = json!(secrets()).to_string();
        let in_ascii = inner.replace('é', "\\u00e9").replace('ö', "\\u00f6");
        delivery["forwarded"] = json!([inner, in_ascii]);
        assert_eq!(watched.deliver(provider, delivery.to_string()).await, 200);
    }
    let first = &PROVIDERS[0];
    let inner = json!({"forwarded": json!(secrets()).to_string()}).to_string();
    assert_eq!(watched.deliver(first, inner + ",").await, 422);
    watched.end(3, 1).await;
}

#[tokio::test]
async fn credential_members_go_however_deep_they_stand_in_strings_of_json() {
    let database = Database::new().await;
    let account = "TICKET_WEBHOOKS__PROVIDERS__BOOKING_CALLBACK__ACCOUNTS__WEAK";
    let variables = [("ENVIRONMENT", "live"), ("CLIENT_ID", "77001"), ("USER_NAME", "weakly"), ("PASSWORD", "Zz1!")];
    let variables = variables.map(|(key, value)| (format!("{account}__{key}"), value));
    let service = Service::start(&database, &variables.each_ref().map(|(key, value)| (key.as_str(), *value))).await;
    let callback = provider("booking_callback");
    let credentials = json!({"ClientId": 77001, "UserName": "weakly", "Password": "Zz1!"});
    for (n, depth) in [1, 2, 3, 5].into_iter().enumerate() {
        let mut nested = credentials.to_string();
        for _ in 1..depth {
            nested = json!({ "q": nested }).to_string();
        }
        let mut delivery = (callback.delivery)("main", &format!("B{n}"));
        delivery["echo"] = json!(nested);
        for (member, value) in credentials.as_object().unwrap() {
            delivery[member] = value.clone();
        }
        assert_eq!(service.post(callback, delivery.to_string()).await.status, 200);
        delivery["BookingId"] = json!(null);
        assert_eq!(service.post(callback, delivery.to_string()).await.status, 422);
        // a body that is a string of what is no JSON, so many times
        let mut broken = delivery.to_string() + ",";
        for _ in 0..depth {
            broken = json!(broken).to_string();
        }
        assert_eq!(service.post(callback, broken).await.status, 422);
    }
    assert_eq!((database.events().await.len(), database.unprocessed().await.len()), (4, 8));
    let dump = database.dump().await;
    for text in ["77001", "weakly", "Zz1!"] {
        assert!(!dump.contains(text), "{text} in {dump}");
    }
}

#[tokio::test]
async fn secrets_in_what_is_logged_of_a_request_are_neither_logged_nor_echoed() {
    let trace = "5f5e9c1a77b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{}-00f067aa0ba902b7-01", trace.replace('5', "6"));
    let database = Database::new().await;
    let account = |name, key| format!("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__{name}__{key}");
    let accounts = [("TRACE", trace), ("PARENT", &traceparent)]
        .map(|(name, cid)| [(account(name, "ENVIRONMENT"), "test"), (account(name, "CID"), cid)]);
    let mut variables: Vec<_> = accounts.iter().flatten().map(|(name, value)| (name.as_str(), *value)).collect();
    variables.push(("RUST_LOG", "trace"));
    variables.push(("TICKET_WEBHOOKS__ADMIN__TOKEN", ADMIN_TOKEN));
    variables.push(("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8"));
    let service = Service::start(&database, &variables).await;
    let mut all = secrets();
    all.extend([trace, &traceparent]);
    let mut answers = String::new();
    for secret in &all {
        for (header, value) in [
            ("x-request-id", (*secret).to_owned()),
            ("x-request-id", format!("before-{secret}-after")),
            ("traceparent", (*secret).to_owned()),
            ("traceparent", format!("00-{secret}-00f067aa0ba902b7-01")),
            ("x-forwarded-for", (*secret).to_owned()),
            ("x-forwarded-for", format!("{secret}, 198.51.100.7")),
        ] {
            for path in [PROVIDERS[0].path, PROVIDERS[2].path, "/nowhere"] {
                let request = service.request("POST", path).header(header, value.as_bytes());
                let answer = Answer::of(request.body((PROVIDERS[2].delivery)("main", "B1").to_string())).await;
                assert!([200, 401, 404].contains(&answer.status));
                // the id of a trusted proxy comes back as it is; it is only logged without the secret
                if header == "x-request-id" {
                    continue;
                }
                answers += &format!("{:?} {}\n", answer.headers, answer.body);
            }
        }
        let path = format!("/webhooks/{}", secret.replace(['"', '\\', 'é', 'ö'], "-"));
        answers += &Answer::of(service.request("POST", &path)).await.body.to_string();
    }
    let output = service.stop().await;
    for (place, text) in [("an answer", answers), ("the log", output)] {
        assert_no_secret(place, &text);
        for secret in [trace, &traceparent, &traceparent[3..35]] {
            assert!(!text.contains(secret), "{place} shows {secret}");
        }
    }
}

#[tokio::test]
async fn no_answer_tells_how_the_service_works() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let mut answers = Vec::new();
    for provider in &PROVIDERS {
        for body in ["", "{", "[]", "\u{0}", r#"{"BookingId":{}}"#, r#"{"cid":[]}"#] {
            answers.push(service.post(provider, body).await);
        }
        answers.push(service.post(provider, (provider.delivery)("main", &"x".repeat(300)).to_string()).await);
        answers.push(service.post(provider, " ".repeat(300_000)).await);
        answers.push(Answer::of(service.request("GET", provider.path)).await);
    }
    database.execute("alter table ticket_events rename to elsewhere").await;
    for provider in &PROVIDERS {
        answers.push(service.post(provider, (provider.delivery)("main", "B1").to_string()).await);
    }
    answers.push(Answer::of(service.request("POST", "/select * from ticket_events")).await);
    for answer in answers {
        assert!((400..600).contains(&answer.status), "{answer:?}");
        let text = answer.body.to_string().to_lowercase();
        for internal in [
            "ticket_events",
            "relation",
            "sql",
            "postgres",
            "select",
            "insert",
            "unnest",
            "serde",
            "rust",
            "tokio",
            "axum",
            "hyper",
            "panic",
            "src/",
            ".rs",
            "/var/",
            "/tmp",
            "127.0.0.1",
            "stack",
            "42p01",
        ] {
            assert!(!text.contains(internal), "{text} says {internal}");
        }
        for header in ["server", "x-powered-by"] {
            assert!(!answer.headers.contains_key(header));
        }
    }
}

#[tokio::test]
async fn a_misspelled_password_of_the_database_is_not_logged() {
    let database = Database::new().await;
    let url = format!("{}&passwd=hunter2-misspelled", database.url());
    let service = Service::start(&database, &[("DATABASE_URL", &url), ("RUST_LOG", "trace")]).await;
    let output = service.stop().await;
    assert!(!output.contains("hunter2-misspelled"), "{output}");
}
