//! The answers in each provider's own words.

use serde_json::{Value, json};

use crate::support::{Answer, Database, Provider, Service};

/// The answer to what is durable.
pub fn success(provider: &Provider) -> Value {
    let message = "Ticket Status Updated Successfully";
    match provider.name {
        "ticket_status_update" => json!({"code": 200, "msg": message, "message": message}),
        "booking_callback" => json!({"Error": {"ErrorCode": 0, "ErrorMessage": ""}}),
        "order_ticketed" => json!({"status": 0, "msg": "success"}),
        other => panic!("what does {other} want to hear?"),
    }
}

/// The status and the answer to what is refused, in these words.
fn refusal(provider: &Provider, code: u16, messages: &[String]) -> Value {
    match provider.name {
        "ticket_status_update" => json!({"code": code, "message": messages}),
        "booking_callback" => json!({"Error": {"ErrorCode": code, "ErrorMessage": messages.join("|")}}),
        "order_ticketed" => json!({"status": code, "msg": messages.join("|")}),
        other => panic!("what does {other} want to hear?"),
    }
}

/// The words of a refusal; the one provider has a list of them, the others have one text.
fn messages(provider: &Provider, answer: &Answer) -> Vec<String> {
    let words = match provider.name {
        "ticket_status_update" => answer.body["message"].as_array().cloned(),
        "booking_callback" => Some(vec![answer.body["Error"]["ErrorMessage"].clone()]),
        _ => Some(vec![answer.body["msg"].clone()]),
    };
    let words: Option<Vec<_>> = words.into_iter().flatten().map(|word| word.as_str().map(str::to_owned)).collect();
    words.filter(|words| !words.is_empty()).unwrap_or_else(|| panic!("{} without words: {answer:?}", provider.name))
}

/// Posts as the account `main`, asking for a compressed answer, which nobody gets.
pub async fn post(service: &Service, provider: &Provider, body: impl Into<Vec<u8>>) -> Answer {
    let authorization = (provider.authorization)("main").unwrap_or_default();
    post_as(service, provider, &authorization, body).await
}

/// The same with another `Authorization`.
pub async fn post_as(service: &Service, provider: &Provider, authorization: &str, body: impl Into<Vec<u8>>) -> Answer {
    let mut request = service.request("POST", provider.path).header("accept-encoding", "gzip").body(body.into());
    if !authorization.is_empty() {
        request = request.header("authorization", authorization.as_bytes());
    }
    let answer = Answer::of(request).await;
    assert!(!answer.headers.contains_key("content-encoding"), "{answer:?}");
    answer
}

/// It is the success answer to the letter, and no header says anything else.
pub fn assert_success(provider: &Provider, answer: &Answer) {
    assert_eq!((answer.status, &answer.body), (200, &success(provider)), "{}", provider.name);
    assert_headers(answer, &[]);
}

/// It is refused with this status, in the provider's form and with some words for a person, which are returned.
pub fn assert_refused(provider: &Provider, answer: &Answer, status: u16, headers: &[(&str, &str)]) -> Vec<String> {
    let messages = messages(provider, answer);
    assert_eq!((answer.status, &answer.body), (status, &refusal(provider, status, &messages)), "{}", provider.name);
    assert_headers(answer, headers);
    for message in &messages {
        let words = message.to_lowercase();
        assert!(!words.is_empty());
        for internal in ["select", "insert", "relation", "sql", "postgres", "panic", ".rs", "ticket_events", "/"] {
            assert!(!words.contains(internal), "{message:?} says {internal:?}");
        }
    }
    messages
}

/// Of the headers that only some answers have, it has these and no others.
fn assert_headers(answer: &Answer, expected: &[(&str, &str)]) {
    for name in ["www-authenticate", "allow", "retry-after", "content-encoding"] {
        let value = answer.headers.get(name).map(|value| value.to_str().unwrap());
        let expected = expected.iter().find(|(header, _)| *header == name).map(|(_, value)| *value);
        assert_eq!(value, expected, "{name}");
    }
}

/// A delivery as it is kept: less the members that carry credentials.
pub fn less_credentials(mut delivery: Value) -> Value {
    for member in ["ClientId", "UserName", "Password", "cid"] {
        delivery.as_object_mut().unwrap().shift_remove(member);
    }
    delivery
}

/// These and no other deliveries are kept unprocessed, as (provider, reason, body), each with words about the reason.
pub async fn assert_kept(database: &Database, expected: &[(&str, &str, String)]) {
    let kept = database.unprocessed().await;
    let seen: Vec<_> = kept.iter().map(|row| json!([row["provider"], row["reason"], row["text"]])).collect();
    let expected: Vec<_> = expected.iter().map(|kept| json!([kept.0, kept.1, kept.2])).collect();
    assert_eq!(seen, expected);
    for row in kept {
        assert_eq!((&row["account"], &row["environment"]), (&json!("main"), &json!("live")));
        assert_eq!((&row["reprocessed_at"], &row["event_id"]), (&Value::Null, &Value::Null));
        assert_ne!(row["detail"], "");
    }
}
