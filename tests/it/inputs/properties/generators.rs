//! Deliveries that are nearly right, documents that are nothing in particular, and bytes.

use proptest::prelude::*;
use serde_json::Value;

use crate::support::{PROVIDERS, Provider, credentials};

/// A text as a provider might send it, as JSON: in quotes, with escapes that are not needed, with what is hard to store.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -~]{0,12}".prop_map(|text| escaped(&text)),
        2 => any::<String>().prop_map(|text| escaped(&text)),
        1 => prop::sample::select(vec![
            "\\u0000", "\\ud800", "\\udc00", "\\ud83d\\ude00", "\\n", "\\/", "\\u0041", " ", "\u{a0}", "-", "/", ",",
        ])
        .prop_map(str::to_owned),
        1 => number(),
        1 => secret(),
        1 => prop::sample::select(vec!["Success", "Failed", "In Process", "order.ticketed", "20160230", "20240229"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// One of the secrets, in one of the ways to write it in JSON.
fn secret() -> impl Strategy<Value = String> {
    let secrets: Vec<_> = PROVIDERS.iter().flat_map(|provider| credentials(provider.name, "main")).collect();
    (prop::sample::select(secrets), 0..4).prop_map(|((_, secret), way)| match way {
        0 => secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
        1 => escaped(&escaped(secret)),
        _ => escaped(secret),
    })
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        (-3_i64..4).prop_map(|number| number.to_string()),
    ]
}

/// Any JSON.
pub fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => text(),
        2 => number(),
        1 => prop::sample::select(vec!["null", "true", "false", "{}", "[]", "\"\""]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let member = (key(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|elements| format!("[{}]", elements.join(" , "))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{ {} }}", members.join(","))),
        ]
    })
}

/// Any key, and those that mean something.
fn key() -> impl Strategy<Value = String> {
    let known = PROVIDERS.iter().flat_map(|provider| keys(&(provider.delivery)("main", "B1"))).collect::<Vec<_>>();
    prop_oneof![text(), prop::sample::select(known).prop_map(|key| format!("\"{key}\""))]
}

fn keys(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            members.iter().flat_map(|(key, value)| [vec![key.clone()], keys(value)].concat()).collect()
        }
        Value::Array(elements) => elements.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}

fn pointers(value: &Value, pointer: &str) -> Vec<String> {
    let inner: Vec<_> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let inner = inner.into_iter().map(|(key, value)| (format!("{pointer}/{key}"), value));
    inner.flat_map(|(pointer, value)| [vec![pointer.clone()], pointers(value, &pointer)].concat()).collect()
}

/// A valid delivery in which up to four values became something else, with a member or two that nobody knows.
pub fn delivery(provider: &Provider) -> impl Strategy<Value = String> + use<> {
    let delivery = (provider.delivery)("main", "B1");
    let pointers = pointers(&delivery, "");
    let change = (
        prop::sample::select(pointers),
        prop_oneof![3 => text().boxed(), 1 => number().boxed(), 2 => document().boxed()],
    );
    let member = (key(), document()).prop_map(|(key, value)| format!("{key}:{value},"));
    (prop::collection::vec(change, 0..5), prop::collection::vec(member, 0..3)).prop_map(move |(changes, members)| {
        let mut delivery = delivery.clone();
        for (n, (pointer, _)) in changes.iter().enumerate() {
            // an earlier change may have taken the place away
            if let Some(value) = delivery.pointer_mut(pointer) {
                *value = Value::String(format!("<change {n}>"));
            }
        }
        let mut text = delivery.to_string();
        for (n, (_, value)) in changes.iter().enumerate() {
            text = text.replacen(&format!("\"<change {n}>\""), value, 1);
        }
        text.replacen('{', &format!("{{{}", members.concat()), 1)
    })
}

/// A delivery of the booking `B1` with a change or two that a provider might make, its members in some order.
pub fn variant(provider: &Provider) -> impl Strategy<Value = String> + use<> {
    let delivery = (provider.delivery)("main", "B1");
    let is_fixed = |pointer: &str| {
        let key = pointer.rsplit('/').next().unwrap_or_default();
        ["ClientId", "UserName", "Password", "cid", "BookingTransactionRef", "BookingId", "orderNo", "type"]
            .contains(&key)
    };
    let pointers: Vec<_> = pointers(&delivery, "").into_iter().filter(|pointer| !is_fixed(pointer)).collect();
    let values = ["", "Pending", "Failed", "ABC123", "abc123 ", "157-1234567890", "1571234567890", "n/a", "F", "f"];
    let value = prop::sample::select(values.to_vec()).prop_map(Value::from);
    let change = (prop::sample::select(pointers), prop_oneof![6 => value, 1 => Just(Value::Null), 1 => Just(0.into())]);
    let member = prop_oneof![8 => Just(None), 1 => Just(Some("RefundAmount")), 1 => Just(Some("status "))];
    (prop::collection::vec(change, 0..2), member, any::<bool>()).prop_map(move |(changes, member, is_reversed)| {
        let mut delivery = delivery.clone();
        for (pointer, value) in changes {
            *delivery.pointer_mut(&pointer).unwrap() = value;
        }
        if let Some(member) = member {
            delivery[member] = Value::from(7);
        }
        let members = delivery.as_object().unwrap().iter().map(|(key, value)| format!("\"{key}\" : {value}"));
        let mut members: Vec<_> = members.collect();
        if is_reversed {
            members.reverse();
        }
        format!("{{{}}}", members.join(" , "))
    })
}

/// Bytes: any, and documents and deliveries that lost or got some.
pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let deliveries: Vec<_> = PROVIDERS.iter().map(|provider| delivery(provider).boxed()).collect();
    let documents = prop::strategy::Union::new(deliveries.into_iter().chain([document().boxed()]));
    let damaged = (documents, any::<prop::sample::Index>(), any::<Vec<u8>>(), any::<bool>());
    let damaged = damaged.prop_map(|(document, at, insert, cut)| {
        let mut bytes = document.into_bytes();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        }
        let at = at.min(bytes.len());
        bytes.splice(at..at, insert.into_iter().take(5)).for_each(drop);
        bytes
    });
    let gzipped = damaged.clone().prop_map(|bytes| [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &bytes].concat());
    prop_oneof![1 => any::<Vec<u8>>(), 5 => damaged, 1 => gzipped]
}
