//! A client of `GET /v1/events/stream`.

use std::time::Duration;

use serde_json::Value;

use super::ADMIN_TOKEN;

const TIMEOUT: Duration = Duration::from_secs(20);

/// What the stream has sent: the cursor, and the item; without one the cursor is a heartbeat.
#[derive(Clone, Debug)]
pub struct StreamEvent {
    pub id: String,
    pub item: Option<Value>,
}

pub struct EventStream {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl EventStream {
    /// Opens the stream with parameters such as `from=now`, or after the event with an id.
    pub async fn open(admin: &str, query: &str, last_event_id: Option<&str>) -> Self {
        let response = Self::request(admin, query, last_event_id).send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (200.try_into().unwrap(), &"text/event-stream".parse().unwrap())
        );
        Self { response, buffer: Vec::new() }
    }

    /// Over an answer to [`Self::request`].
    pub fn over(response: reqwest::Response) -> Self {
        Self { response, buffer: Vec::new() }
    }

    pub fn request(admin: &str, query: &str, last_event_id: Option<&str>) -> reqwest::RequestBuilder {
        let request = reqwest::Client::new().get(format!("{admin}/v1/events/stream?{query}")).bearer_auth(ADMIN_TOKEN);
        last_event_id.into_iter().fold(request, |request, id| request.header("last-event-id", id))
    }

    /// The next event; `None` once the stream has ended.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        tokio::time::timeout(TIMEOUT, self.read()).await.expect("an event within the timeout")
    }

    /// As [`Self::next`], without a timeout; may be cancelled.
    pub async fn read(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\n\n") {
                let frame: Vec<_> = self.buffer.drain(..end + 2).collect();
                return Some(StreamEvent::parse(std::str::from_utf8(&frame).unwrap()));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next events with an item.
    pub async fn items(&mut self, count: usize) -> Vec<Value> {
        let mut items = Vec::new();
        while items.len() < count {
            items.extend(self.next().await.expect("the stream goes on").item);
        }
        items
    }
}

impl StreamEvent {
    fn parse(frame: &str) -> Self {
        let field = |name: &str| {
            let lines: Vec<_> = frame.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
            (!lines.is_empty()).then(|| lines.join("\n"))
        };
        let item = field("data").map(|data| serde_json::from_str(&data).unwrap());
        Self { id: field("id").unwrap(), item }
    }
}
