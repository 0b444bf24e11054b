//! Reading bodies: in a bounded time, at a least rate, of a bounded size each, and of a bounded size together.
//!
//! Only bytes that have arrived are counted, so that clients which announce much and send nothing take nothing away from
//! the others. The first [`FREE`] bytes of each body are not counted: they are bounded by the number of connections, and
//! as nearly all deliveries are smaller, nobody who sends many large bodies slowly keeps one of these out. What bodies
//! become when they are decompressed is counted apart from what arrives, for the same reason: a body must have arrived to
//! be decompressed, and is then dealt with at once.
//!
//! A body has a grace period, and beyond it the time that its bytes take at the least rate. A body that is there as a
//! whole is never too slow.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};

use super::{connection_limiter::ConnectionPermit, connection_state::ConnectionState};
use crate::{config::ServerSettings, providers::Reply, receive::is_compressed};

/// How long the rest of a body that nobody needs may take while the connection has its permit: it is in one packet with
/// the head as a rule.
const SKIP_TIME: Duration = Duration::from_millis(20);

/// The most bytes of it.
const SKIP_BYTES: usize = 64 * 1024;

/// How long a connection without a permit may go on sending: a client that is answered before it has sent all would miss
/// its answer if the connection was closed at once.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// The most bytes that it may send.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// The bytes of each body that count for nothing.
const FREE: usize = 16 * 1024;

/// The unit in which memory is given out, in bytes.
const UNIT: usize = 1024;

/// Reads bodies, all of which together may take so much of the memory.
#[derive(Clone)]
pub struct BodyReader {
    arriving: Arc<Semaphore>,
    decompressed: Arc<Semaphore>,
    /// Of each of the two.
    units: usize,
    /// The largest body, in bytes, compressed or not.
    limit: usize,
    /// The time in which one must arrive.
    timeout: Duration,
    /// The time in which it may be as slow as it is.
    grace: Duration,
    /// Bytes a second, from then on.
    min_rate: u64,
}

/// A body, and what it has of the memory until it is dropped.
#[derive(Default)]
pub(super) struct CollectedBody {
    bytes: Bytes,
    arriving: Option<OwnedSemaphorePermit>,
    decompressed: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for CollectedBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyReader {
    /// Nothing of the memory is taken yet.
    pub fn new(settings: &ServerSettings) -> Self {
        let units = (settings.body_memory_bytes / 2).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        let half = || Arc::new(Semaphore::new(units));
        Self {
            arriving: half(),
            decompressed: half(),
            units,
            limit: settings.body_limit_bytes,
            timeout: settings.body_read_timeout,
            grace: settings.body_grace,
            min_rate: settings.body_min_rate.get(),
        }
    }

    /// The bytes that count for bodies, and how many may.
    pub fn memory(&self) -> (usize, usize) {
        let free = self.arriving.available_permits() + self.decompressed.available_permits();
        ((2 * self.units - free) * UNIT, 2 * self.units * UNIT)
    }

    /// The body as it came over the wire of this connection, which may have to make room meanwhile.
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
        // what is announced to be too large is not waited for
        if body.size_hint().lower() > self.limit as u64 {
            return Err(Reply::TooLarge(self.limit));
        }
        let mut collected = CollectedBody::default();
        let mut several = BytesMut::new();
        let mut length = 0;
        // looked at again when it has passed: what arrives costs no timer
        let mut deadline = pin!(sleep_until(self.deadline(start, 0)));
        loop {
            let frame = std::future::poll_fn(|context| {
                if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) {
                    return Poll::Ready(Ok(frame));
                }
                while deadline.as_mut().poll(context).is_ready() {
                    let later = self.deadline(start, length);
                    if later <= Instant::now() {
                        return Poll::Ready(Err(Reply::TimedOut));
                    }
                    deadline.as_mut().reset(later);
                }
                if connection.is_evicted() { Poll::Ready(Err(Reply::TimedOut)) } else { Poll::Pending }
            });
            let Some(frame) = frame.await? else { break };
            let cut_off = |_| Reply::Malformed("the body could not be read to its end".to_owned());
            let Ok(data) = frame.map_err(cut_off)?.into_data() else { continue };
            length += data.len();
            if length > self.limit {
                return Err(Reply::TooLarge(self.limit));
            }
            take(&self.arriving, &mut collected.arriving, length.saturating_sub(FREE))?;
            // as a rule there is only one frame, which needs no copy
            if several.is_empty() && collected.bytes.is_empty() {
                collected.bytes = data;
            } else {
                several.extend_from_slice(&std::mem::take(&mut collected.bytes));
                several.extend_from_slice(&data);
            }
        }
        if !several.is_empty() {
            collected.bytes = several.freeze();
        }
        if is_compressed(&collected.bytes) {
            take(&self.decompressed, &mut collected.decompressed, self.limit)?;
        }
        Ok(collected)
    }

    /// When a body of which so many bytes have arrived must be there.
    fn deadline(&self, start: Instant, received: usize) -> Instant {
        let at_min_rate = Duration::from_secs(received as u64) / u32::try_from(self.min_rate).unwrap_or(u32::MAX);
        start + self.timeout.min(self.grace + at_min_rate)
    }
}

/// Takes in what nobody needs; `false` when the connection has to end with the answer. A connection that is closed under
/// a client that still sends is reset, and the answer is lost with it: so the rest is discarded while the answer is on
/// its way, without a permit.
pub(super) async fn discard(mut body: Body, connection: &Arc<ConnectionPermit>) -> bool {
    if connection.state().is_evicted() {
        return false;
    }
    let skipped = timeout(SKIP_TIME, drain(&mut body, SKIP_BYTES)).await;
    if skipped == Ok(true) {
        return true;
    }
    if connection.release_early() {
        tokio::spawn(timeout(LINGER_TIME, async move { drain(&mut body, LINGER_BYTES).await }));
    }
    false
}

/// Whether it came to its end within so many bytes.
async fn drain(body: &mut Body, bytes: usize) -> bool {
    let mut rest = Limited::new(body, bytes);
    while let Some(frame) = rest.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

/// Makes `held` cover so many bytes. When there is no memory left, it is better to say so at once.
fn take(memory: &Arc<Semaphore>, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Reply> {
    let covered = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = u32::try_from(bytes.div_ceil(UNIT).saturating_sub(covered)).map_err(|_| Reply::Unavailable)?;
    if missing > 0 {
        let taken = Arc::clone(memory).try_acquire_many_owned(missing).map_err(|_| Reply::Unavailable)?;
        match held {
            Some(held) => held.merge(taken),
            none => *none = Some(taken),
        }
    }
    Ok(())
}
