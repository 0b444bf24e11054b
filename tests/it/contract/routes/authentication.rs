//! Who may deliver: the credentials, how they are compared, when, and where from.

mod addresses;

use serde_json::{Value, json};

use crate::support::{Answer, Command, Database, PROVIDERS, Provider, Service, Wire, credentials, provider, settings};

/// Posts with these `Authorization` headers.
async fn post(service: &Service, provider: &Provider, authorizations: &[&[u8]], body: &str) -> Answer {
    let mut request = service.request("POST", provider.path).body(body.to_owned());
    for authorization in authorizations {
        request = request.header("authorization", *authorization);
    }
    Answer::of(request).await
}

/// The status for a delivery in which a member is replaced, or left out.
async fn status_with(service: &Service, provider: &Provider, key: &str, value: Option<Value>) -> u16 {
    let mut delivery = (provider.delivery)("main", "B1");
    let members = delivery.as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(key.to_owned(), value)),
        None => drop(members.shift_remove(key)),
    }
    post(service, provider, &[], &delivery.to_string()).await.status
}

#[tokio::test]
async fn the_bearer_token_is_taken_with_its_scheme_in_any_case() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("ticket_status_update");
    let body = (provider.delivery)("main", "B1").to_string();
    for account in ["main", "other"] {
        let key = credentials(provider.name, account)[0].1;
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            let authorization = format!("{scheme} {key}");
            let answer = post(&service, provider, &[authorization.as_bytes()], &body).await;
            assert_eq!(answer.status, 200, "{authorization}");
        }
    }
    let environments = database.rows("select environment, delivery_count as n from ticket_events order by 1").await;
    assert_eq!(environments, [json!({"environment": "live", "n": 4}), json!({"environment": "test", "n": 4})]);
}

#[tokio::test]
async fn any_other_authorization_gets_one_and_the_same_answer() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("ticket_status_update");
    let body = (provider.delivery)("main", "B1").to_string();
    let key = credentials(provider.name, "main")[0].1;
    let (right, other) = (format!("Bearer {key}"), credentials(provider.name, "other")[0].1);
    let wrong: Vec<Vec<u8>> = [
        "",
        "Bearer",
        "Bearer ",
        key,
        &format!("Basic {key}"),
        &format!("Bearer{key}"),
        &format!("Bearer {key}x"),
        &format!("Bearer {}", &key[1..]),
        &format!("Bearer {}", key.to_uppercase()),
        &format!("Bearer {}", key.to_lowercase()),
        &format!("Bearer {key},Bearer {key}"),
        &format!("Bearer {key} {other}"),
        &format!("Bearer Bearer {key}"),
        &format!("Token {right}"),
        &format!("Bearer {}", credentials("order_ticketed", "main")[0].1),
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([[b"Bearer ", &key.as_bytes()[..3], b"\xff"].concat()])
    .collect();
    let mut headers: Vec<Vec<&[u8]>> = wrong.iter().map(|value| vec![&value[..]]).collect();
    // exactly one header: a right one does not make up for another
    headers.extend([
        vec![],
        vec![right.as_bytes(), right.as_bytes()],
        vec![right.as_bytes(), b"Bearer wrong"],
        vec![b"Bearer wrong", right.as_bytes()],
        vec![right.as_bytes(), b""],
    ]);
    for headers in headers {
        for body in [&*body, "{", ""] {
            let answer = post(&service, provider, &headers, body).await;
            assert_eq!(answer.status, 401, "{headers:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            assert_eq!(answer.body, json!({"code": 401, "message": ["Unauthenticated."]}));
        }
    }
    assert_eq!(database.dump().await, "");
}

#[tokio::test]
async fn the_bearer_token_is_checked_before_the_body_is_read() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let path = provider("ticket_status_update").path;
    for length in ["content-length: 1000", "content-length: 999999999", "transfer-encoding: chunked"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer wrong\r\n{length}\r\n");
        for expect in ["", "expect: 100-continue\r\n"] {
            let mut wire = Wire::to(&service);
            wire.send(format!("{head}{expect}\r\n").as_bytes());
            // nothing of the body is ever sent
            let (head, body) = wire.answer();
            assert!(head.starts_with("http/1.1 401 "), "{head}");
            assert_eq!(body, r#"{"code":401,"message":["Unauthenticated."]}"#);
        }
    }
}

#[tokio::test]
async fn an_authenticated_sender_is_asked_for_the_body() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("ticket_status_update");
    let body = (provider.delivery)("main", "B1").to_string();
    let authorization = (provider.authorization)("main").unwrap();
    let mut wire = Wire::to(&service);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: test\r\nauthorization: {authorization}\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        provider.path,
        body.len()
    );
    wire.send(head.as_bytes());
    assert_eq!(wire.head(), "http/1.1 100 continue\r\n\r\n");
    wire.send(body.as_bytes());
    assert!(wire.answer().0.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn all_three_credentials_of_a_callback_are_needed_to_the_letter() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("booking_callback");
    let expected = json!({"Error": {"ErrorCode": 401, "ErrorMessage": "the credentials are missing or wrong"}});
    for (n, (_, right)) in credentials(provider.name, "main").into_iter().enumerate() {
        let key = ["ClientId", "UserName", "Password"][n];
        let other = credentials(provider.name, "other")[n].1;
        let wrong = [
            None,
            Some(json!(null)),
            Some(json!("")),
            Some(json!(format!("{right} "))),
            Some(json!(format!(" {right}"))),
            Some(json!(format!("{right}\0"))),
            Some(json!(format!("{right}{right}"))),
            Some(json!(right[1..])),
            Some(json!([right])),
            Some(json!({"$ne": ""})),
            Some(json!(true)),
            Some(json!(0)),
            // a mixture of two accounts is neither
            Some(json!(other)),
        ];
        let in_other_case = [right.to_uppercase(), right.to_lowercase()].into_iter().filter(|case| case != right);
        for value in wrong.into_iter().chain(in_other_case.map(|case| Some(json!(case)))) {
            let mut delivery = (provider.delivery)("main", "B1");
            match value {
                Some(value) => delivery[key] = value,
                None => drop(delivery.as_object_mut().unwrap().shift_remove(key)),
            }
            let answer = post(&service, provider, &[], &delivery.to_string()).await;
            assert_eq!((answer.status, &answer.body), (401, &expected), "{key} {delivery}");
        }
    }
    // in a key of another case, or in another place
    for body in [
        (provider.delivery)("main", "B1").to_string().replace("\"Password\"", "\"password\""),
        json!({"Credentials": (provider.delivery)("main", "B1")}).to_string(),
    ] {
        let answer = post(&service, provider, &[], &body).await;
        assert_eq!((answer.status, &answer.body), (401, &expected), "{body}");
    }
    assert_eq!(database.dump().await, "");
}

#[tokio::test]
async fn a_client_id_is_a_number_or_a_string() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("booking_callback");
    for (value, status) in [
        (json!("10001"), 200),
        (json!(10001), 200),
        (json!(10001.0), 401),
        (json!(10002), 401),
        (json!(-10001), 401),
        (json!("010001"), 401),
        (json!(100010), 401),
    ] {
        assert_eq!(status_with(&service, provider, "ClientId", Some(value.clone())).await, status, "{value}");
    }
}

#[tokio::test]
async fn the_cid_of_an_order_is_needed_to_the_letter() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("order_ticketed");
    let right = credentials(provider.name, "main")[0].1;
    let mut wrong: Vec<_> = [right.to_lowercase(), right.to_uppercase(), format!("{right} "), right[1..].to_owned()]
        .into_iter()
        .map(|text| Some(json!(text)))
        .collect();
    wrong.extend([None, Some(json!(null)), Some(json!("")), Some(json!([right])), Some(json!(7)), Some(json!(false))]);
    for value in wrong {
        let mut delivery = (provider.delivery)("main", "B1");
        match value.clone() {
            Some(value) => delivery["cid"] = value,
            None => drop(delivery.as_object_mut().unwrap().shift_remove("cid")),
        }
        let answer = post(&service, provider, &[], &delivery.to_string()).await;
        let expected = json!({"status": 401, "msg": "the credentials are missing or wrong"});
        assert_eq!((answer.status, &answer.body), (401, &expected), "{value:?}");
    }
    assert_eq!(status_with(&service, provider, "cid", Some(json!(right))).await, 200);
}

#[tokio::test]
async fn accounts_are_valid_side_by_side_while_a_secret_is_rotated() {
    let database = Database::new().await;
    let variables: Vec<_> = PROVIDERS
        .iter()
        .flat_map(|provider| {
            let key = format!("TICKET_WEBHOOKS__PROVIDERS__{}__ACCOUNTS__NEXT", provider.name.to_uppercase());
            let values = credentials(provider.name, "main").into_iter();
            // the names stay, the secret is another
            let values = values.map(|(name, value)| match name {
                "client_id" | "user_name" => (name.to_uppercase(), value.to_owned()),
                _ => (name.to_uppercase(), format!("rotated-{}", provider.name)),
            });
            let values = values.chain([("ENVIRONMENT".to_owned(), "live".to_owned())]);
            values.map(|(name, value)| (format!("{key}__{name}"), value)).collect::<Vec<_>>()
        })
        .collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let service = Service::start(&database, &variables).await;
    for provider in &PROVIDERS {
        let old = (provider.delivery)("main", "B1");
        let mut new = old.clone();
        for member in ["Password", "cid"] {
            if new[member].is_string() {
                new[member] = json!(format!("rotated-{}", provider.name));
            }
        }
        let authorization = (provider.authorization)("main").unwrap_or_default();
        assert_eq!(post(&service, provider, &[authorization.as_bytes()], &old.to_string()).await.status, 200);
        let authorization = format!("Bearer rotated-{}", provider.name);
        assert_eq!(post(&service, provider, &[authorization.as_bytes()], &new.to_string()).await.status, 200);
    }
    let seen =
        database.rows("select provider, revision, delivery_count as n from ticket_events order by sequence").await;
    assert_eq!(seen, PROVIDERS.map(|provider| json!({"provider": provider.name, "revision": 1, "n": 2})));
}

#[tokio::test]
async fn a_provider_without_an_account_is_not_there_and_the_log_says_so() {
    let database = Database::new().await;
    for without in &PROVIDERS {
        let mut settings = settings(&database.url());
        settings.retain(|(name, _)| !name.contains(&without.name.to_uppercase()));
        let service =
            tokio::task::spawn_blocking(move || Service::over(Command::new(&["serve"]).envs(&settings).start()));
        let service = service.await.unwrap();
        for provider in &PROVIDERS {
            let answer = service.post(provider, (provider.delivery)("main", "B1").to_string()).await;
            assert_eq!(answer.status, if provider.name == without.name { 404 } else { 200 });
        }
        let said = service.process.line("not routed");
        assert!(said.contains("\"WARN\"") && said.contains(without.name) && said.contains("no account"), "{said}");
    }
}

#[tokio::test]
async fn an_unauthenticated_delivery_is_logged_without_its_body() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let body = r#"{"cid": "a stranger's", "Password": "a stranger's", "BookingId": "a stranger's booking"}"#;
        assert_eq!(post(&service, provider, &[b"Bearer stranger"], body).await.status, 401);
    }
    assert_eq!(database.dump().await, "");
    let output = service.stop().await;
    let lines: Vec<_> = output.lines().filter(|line| line.contains("not authenticated")).collect();
    assert_eq!(lines.len(), 3, "{output}");
    for (line, provider) in lines.iter().zip(&PROVIDERS) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["provider"], &line["level"]), (&json!(provider.name), &json!("WARN")));
        assert_eq!(line["client.address"], "127.0.0.1");
    }
    assert!(!output.contains("stranger"), "{output}");
}
