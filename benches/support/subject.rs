//! A provider with an account and one delivery, for what is measured without a server.

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use ticket_webhooks::{
    credentials::{Account, Accounts},
    providers::Provider,
    redaction::Redactor,
    ticket_event::Environment,
};

pub struct Subject {
    pub provider: &'static dyn Provider,
    pub accounts: Accounts,
    pub redactor: Redactor,
    pub headers: HeaderMap,
    pub body: String,
}

impl Subject {
    /// With the provider's sample.
    pub fn new(provider: &'static dyn Provider) -> Self {
        let credentials: Vec<String> =
            provider.credentials().iter().map(|credential| format!("bench-{}", credential.key)).collect();
        let texts: Vec<_> = credentials.iter().map(String::as_str).collect();
        let sample = provider.sample(&texts, "BENCH-1");
        let secrets: Vec<SecretString> = texts.iter().map(|text| SecretString::from(*text)).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in sample.headers {
            let name = HeaderName::try_from(name).expect("a sample's header names are valid");
            headers.insert(name, HeaderValue::try_from(value).expect("a sample's header values are valid"));
        }
        Self {
            provider,
            accounts: Accounts::new(vec![Account::new("bench", Environment::Live, &secrets)]),
            redactor: Redactor::new(secrets),
            headers,
            body: sample.body,
        }
    }
}
