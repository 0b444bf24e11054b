//! Reading bodies: in a bounded time, of a bounded size each, and of a bounded size together.
//!
//! Only bytes that have arrived are counted, so that clients which announce much and send nothing take nothing away from
//! the others. The first [`FREE`] bytes of each body are not counted: they are bounded by the number of connections, and
//! as nearly all deliveries are smaller, nobody who sends many large bodies slowly keeps one of these out. What bodies
//! become when they are decompressed is counted apart from what arrives, for the same reason: a body must have arrived to
//! be decompressed, and is then dealt with at once.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{providers::Outcome, receive::is_compressed};

/// A client that sends more than this beyond what was read may miss its answer.
const DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// The bytes of each body that count for nothing.
const FREE: usize = 16 * 1024;

/// The unit in which memory is given out, in bytes.
const UNIT: usize = 1024;

/// What all listeners' bodies may take of the memory.
#[derive(Clone)]
pub struct Bodies {
    arriving: Arc<Semaphore>,
    decompressed: Arc<Semaphore>,
    /// Of each of the two.
    units: usize,
    /// The largest body, in bytes, compressed or not.
    limit: usize,
    /// The time in which one must arrive.
    patience: Duration,
}

/// A body, and the memory that it counts for.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) memory: Memory,
}

/// What a body has of the memory, until this is dropped.
#[derive(Default)]
pub(super) struct Memory {
    arriving: Option<OwnedSemaphorePermit>,
    decompressed: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Nothing of the memory is taken yet.
    pub fn new(memory_bytes: usize, limit: usize, patience: Duration) -> Self {
        let units = (memory_bytes / 2).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        let half = || Arc::new(Semaphore::new(units));
        Self { arriving: half(), decompressed: half(), units, limit, patience }
    }

    /// The bytes that count for bodies, and how many may.
    pub fn memory(&self) -> (usize, usize) {
        let free = self.arriving.available_permits() + self.decompressed.available_permits();
        ((2 * self.units - free) * UNIT, 2 * self.units * UNIT)
    }

    /// The body as it came over the wire.
    pub(super) async fn read(&self, body: &mut Body) -> Result<Whole, Outcome> {
        timeout(self.patience, self.collect(body)).await.unwrap_or(Err(Outcome::TimedOut))
    }

    async fn collect(&self, body: &mut Body) -> Result<Whole, Outcome> {
        // what is announced to be too large is not waited for
        if body.size_hint().lower() > self.limit as u64 {
            return Err(Outcome::TooLarge(self.limit));
        }
        let mut whole = Whole { bytes: Bytes::new(), memory: Memory::default() };
        let mut several = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let cut_off = |_| Outcome::Malformed("the body could not be read to its end".to_owned());
            let Ok(data) = frame.map_err(cut_off)?.into_data() else { continue };
            let length = whole.bytes.len() + several.len() + data.len();
            if length > self.limit {
                return Err(Outcome::TooLarge(self.limit));
            }
            take(&self.arriving, &mut whole.memory.arriving, length.saturating_sub(FREE))?;
            // as a rule there is only one frame, which needs no copy
            if several.is_empty() && whole.bytes.is_empty() {
                whole.bytes = data;
            } else {
                several.extend_from_slice(&std::mem::take(&mut whole.bytes));
                several.extend_from_slice(&data);
            }
        }
        if !several.is_empty() {
            whole.bytes = several.freeze();
        }
        if is_compressed(&whole.bytes) {
            take(&self.decompressed, &mut whole.memory.decompressed, self.limit)?;
        }
        Ok(whole)
    }

    /// Takes in what nobody needs, while the answer is on its way: a connection that is closed under a client that still
    /// sends is reset, and the answer is lost with it.
    pub(super) fn discard(&self, body: Body) {
        tokio::spawn(timeout(self.patience, async move {
            let mut rest = Limited::new(body, DISCARDED_BYTES);
            while let Some(Ok(_)) = rest.frame().await {}
        }));
    }
}

/// Makes `held` cover so many bytes. When there is no memory left, it is better to say so at once.
fn take(memory: &Arc<Semaphore>, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Outcome> {
    let covered = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = u32::try_from(bytes.div_ceil(UNIT).saturating_sub(covered)).map_err(|_| Outcome::Unavailable)?;
    if missing > 0 {
        let taken = Arc::clone(memory).try_acquire_many_owned(missing).map_err(|_| Outcome::Unavailable)?;
        match held {
            Some(held) => held.merge(taken),
            none => *none = Some(taken),
        }
    }
    Ok(())
}
