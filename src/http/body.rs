//! Receiving bodies within bounded time. Their bounded memory is [`receive::BodyMemory`](crate::receive::BodyMemory).
//!
//! Invariants:
//! - a body is complete by `min(body_read_timeout, body_grace + bytes so far / body_min_bytes_per_second)`;
//! - a body of which every byte has arrived is never too slow.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use tokio::time::{Instant, sleep_until, timeout};

use super::{connection_limiter::ConnectionPermit, connection_state::ConnectionState};
use crate::{
    config::ServerSettings,
    providers::Reply,
    receive::{BodyMemory, CollectedBody, are_too_many},
};

/// For discarding an unneeded body while the connection holds its permit: as a rule it is in one packet with the head.
const DISCARD_TIME: Duration = Duration::from_millis(20);

const DISCARD_BYTES: usize = 64 * 1024;

/// For discarding the rest without a permit (lingering close): closing a connection while the client still sends resets it,
/// and the client loses the reply.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(2);

pub(super) const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Receives bodies.
#[derive(Clone)]
pub struct BodyReader {
    memory: BodyMemory,
    timeout: Duration,
    /// The time without a minimum rate.
    grace: Duration,
    /// Bytes per second, beyond the grace period.
    min_rate: u64,
}

impl BodyReader {
    pub fn new(settings: &ServerSettings) -> Self {
        Self {
            memory: BodyMemory::new(settings.body_memory_bytes, settings.body_limit_bytes),
            timeout: settings.body_read_timeout,
            grace: settings.body_grace,
            min_rate: settings.body_min_rate.get(),
        }
    }

    /// Used and total bytes of the body memory.
    pub fn memory(&self) -> (usize, usize) {
        self.memory.usage()
    }

    /// Ends early when the connection is evicted.
    pub(super) async fn read(&self, body: &mut Body, connection: &ConnectionState) -> Result<CollectedBody, Reply> {
        let start = Instant::now();
        connection.begin_body(start.into_std());
        let collected = self.collect(body, connection, start).await;
        if collected.is_ok() {
            connection.begin_recording();
        } else {
            connection.begin_answering(false);
        }
        collected
    }

    async fn collect(
        &self,
        body: &mut Body,
        connection: &ConnectionState,
        start: Instant,
    ) -> Result<CollectedBody, Reply> {
        let mut arriving = self.memory.begin(body.size_hint().lower())?;
        // reset only when it has passed: arriving bytes cost no timer
        let mut deadline = pin!(sleep_until(self.deadline(start, 0)));
        loop {
            let frame = std::future::poll_fn(|context| {
                if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) {
                    return Poll::Ready(Ok(frame));
                }
                while deadline.as_mut().poll(context).is_ready() {
                    let later = self.deadline(start, arriving.length());
                    if later <= Instant::now() {
                        return Poll::Ready(Err(Reply::TimedOut));
                    }
                    deadline.as_mut().reset(later);
                }
                if connection.is_evicted() { Poll::Ready(Err(Reply::TimedOut)) } else { Poll::Pending }
            });
            let Some(frame) = frame.await? else { break };
            let truncated = |_| Reply::Malformed("the body could not be read to its end".to_owned());
            if let Ok(data) = frame.map_err(truncated)?.into_data() {
                arriving.push(data)?;
            }
        }
        arriving.complete()
    }

    fn deadline(&self, start: Instant, received: usize) -> Instant {
        let at_min_rate = Duration::from_secs(received as u64) / u32::try_from(self.min_rate).unwrap_or(u32::MAX);
        start + self.timeout.min(self.grace + at_min_rate)
    }
}

/// Discards an unneeded body. `false`: the connection must close after the reply, and the rest is discarded meanwhile,
/// without a permit.
pub(super) async fn discard(mut body: Body, connection: &Arc<ConnectionPermit>) -> bool {
    if connection.state().is_evicted() {
        return false;
    }
    let is_at_end = timeout(DISCARD_TIME, read_to_end(&mut body, DISCARD_BYTES)).await;
    if is_at_end == Ok(true) {
        return true;
    }
    if connection.release_early() {
        tokio::spawn(timeout(LINGER_TIME, async move { read_to_end(&mut body, LINGER_BYTES).await }));
    }
    false
}

/// `false` when the body is longer than `bytes`, comes in too small chunks, or is broken.
async fn read_to_end(body: &mut Body, bytes: usize) -> bool {
    let mut rest = Limited::new(body, bytes);
    let (mut frames, mut length) = (0, 0);
    while let Some(frame) = rest.frame().await {
        let Ok(frame) = frame else { return false };
        frames += 1;
        length += frame.data_ref().map_or(0, Bytes::len);
        if are_too_many(frames, length) {
            return false;
        }
    }
    true
}
