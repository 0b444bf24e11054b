//! Sends an item as Standard Webhooks 1.0.0 asks: <https://github.com/standard-webhooks/standard-webhooks>.

use std::{error::Error as _, sync::Arc, time::Duration};

use anyhow::Context;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    answer::{Answer, Outcome},
    signature::{SigningKey, signatures},
};
use crate::clock;

/// From the look-up of the name to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(15);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Servers close idle connections, some after 5 s. A request on one that is just being closed fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Of the head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A body is read so that its connection can be used again. A longer or slower one costs the connection.
const MAX_BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// The keys that sign, replaced as a whole by a reload.
pub type SigningKeys = ArcSwap<Vec<SigningKey>>;

/// What a request is made of.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) id: Uuid,
    pub(super) kind: &'a str,
    pub(super) recorded_at: OffsetDateTime,
    /// The item as the feed gives it.
    pub(super) data: &'a str,
}

/// Sends to one receiver.
pub struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    keys: Arc<SigningKeys>,
}

impl Sender {
    /// # Errors
    ///
    /// The machine has no certificates of authorities.
    pub fn new(url: Uri, keys: Arc<SigningKeys>) -> anyhow::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("there are no certificates of authorities (the package ca-certificates, or SSL_CERT_FILE)")?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(connector);
        Ok(Self { client, url, keys })
    }

    /// One attempt, which takes at most 15 seconds.
    pub(super) async fn send(&self, message: &Message<'_>) -> Answer {
        match timeout(TIMEOUT, self.client.request(self.request(message))).await {
            Err(_) => Answer::none(Outcome::TimedOut, format!("no answer within {} seconds", TIMEOUT.as_secs())),
            Ok(Err(error)) => {
                let outcome = if error.is_connect() { Outcome::Unreachable } else { Outcome::Broken };
                Answer::none(outcome, causes(&error))
            }
            Ok(Ok(response)) => {
                let (head, body) = response.into_parts();
                let _ = timeout(BODY_TIMEOUT, discard(body)).await;
                Answer::of(head.status, &head.headers, clock::system_time())
            }
        }
    }

    fn request(&self, message: &Message<'_>) -> Request<Full<Bytes>> {
        let Message { id, kind, recorded_at, data } = message;
        let (id, timestamp) = (id.to_string(), clock::now().unix_timestamp());
        let recorded_at = recorded_at.format(&Rfc3339).expect("Postgres gave a time that RFC 3339 can say");
        let body = format!(r#"{{"type":"{kind}","timestamp":"{recorded_at}","data":{data}}}"#);
        let signatures = signatures(&self.keys.load(), &id, timestamp, body.as_bytes());
        Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("ticket-webhooks/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures)
            .body(Full::new(body.into()))
            .expect("the URL was checked, and each value is visible ASCII")
    }
}

/// Reads a body to its end, if that is near.
async fn discard(mut body: Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > MAX_BODY_BYTES {
            break;
        }
    }
}

/// The causes of an error in a line, without those that repeat the one before.
fn causes(error: &Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !causes.last().is_some_and(|before| before.contains(&text)) {
            causes.push(text);
        }
        cause = error.source();
    }
    causes.join(": ")
}
