//! Request bodies and the memory that they hold.
//!
//! Invariants:
//! - the bytes of all bodies, arriving and decompressed, stay within `server.body_memory_bytes`; a body holds its permits
//!   until it is dropped;
//! - only bytes that have arrived count: announcing a large body takes nothing from others;
//! - the first [`UNMETERED_BYTES`] of a body never count. The number of connections bounds them, and as nearly all deliveries
//!   are smaller, large bodies cannot keep those out;
//! - decompressed bytes have a budget of their own: a body is decompressed only when it has arrived, and then at once, so
//!   slow senders cannot use it up.
//!
//! Receiving the bytes, and its time limits, is `http::body`.

use bytes::{Bytes, BytesMut};

use super::{
    gzip::ContentCoding,
    memory::{MemoryBudget, MemoryPermit, OutOfMemory},
};
use crate::providers::Reply;

/// Bytes of each body that need no permit.
const UNMETERED_BYTES: usize = 16 * 1024;

/// A frame (a chunk, or what one read brings) costs about 0.4 µs however small it is: so many of them, and one more for each
/// [`BYTES_PER_FRAME`], stay below 5 ms for a body of 256 KiB.
const MAX_FRAMES: usize = 8192;

const BYTES_PER_FRAME: usize = 128;

/// Whether bytes came in so many frames that they cost more than any honest sender's.
pub fn are_too_many(frames: usize, bytes: usize) -> bool {
    frames > MAX_FRAMES + bytes / BYTES_PER_FRAME
}

/// The memory of all bodies.
#[derive(Clone)]
pub struct BodyMemory {
    arriving: MemoryBudget,
    decompressed: MemoryBudget,
    /// Bytes of one body, compressed or not.
    body_limit: usize,
}

/// A body of which a part has arrived.
pub struct ArrivingBody<'a> {
    memory: &'a BodyMemory,
    /// A body in one frame is not copied.
    first_frame: Bytes,
    /// All frames, once there are several.
    frames: BytesMut,
    length: usize,
    frame_count: usize,
    permit: MemoryPermit,
}

/// A whole body as it came over the wire, with the memory that it holds.
pub struct CollectedBody {
    bytes: Bytes,
    coding: ContentCoding,
    _permit: MemoryPermit,
}

impl BodyMemory {
    /// Half of the memory is for arriving bodies, half for decompressed ones.
    pub fn new(memory_bytes: usize, body_limit: usize) -> Self {
        let half = || MemoryBudget::new(memory_bytes / 2);
        Self { arriving: half(), decompressed: half(), body_limit }
    }

    /// Used and total bytes.
    pub fn usage(&self) -> (usize, usize) {
        let budgets = [&self.arriving, &self.decompressed];
        (budgets.map(MemoryBudget::used_bytes).iter().sum(), budgets.map(MemoryBudget::total_bytes).iter().sum())
    }

    /// `announced` is the least size, as far as it is known.
    ///
    /// # Errors
    ///
    /// The body is larger than the limit.
    pub fn begin(&self, announced: u64) -> Result<ArrivingBody<'_>, Reply> {
        if announced > self.body_limit as u64 {
            return Err(Reply::TooLarge(self.body_limit));
        }
        let (first_frame, frames, permit) = (Bytes::new(), BytesMut::new(), MemoryPermit::default());
        Ok(ArrivingBody { memory: self, first_frame, frames, length: 0, frame_count: 0, permit })
    }
}

impl ArrivingBody<'_> {
    /// Bytes that have arrived.
    pub fn length(&self) -> usize {
        self.length
    }

    /// # Errors
    ///
    /// The body is larger than the limit, comes in too small chunks, or there is no memory for it.
    pub fn push(&mut self, frame: Bytes) -> Result<(), Reply> {
        self.length += frame.len();
        self.frame_count += 1;
        if are_too_many(self.frame_count, self.length) {
            return Err(Reply::Malformed("the body comes in too many small chunks".to_owned()));
        }
        if self.length > self.memory.body_limit {
            return Err(Reply::TooLarge(self.memory.body_limit));
        }
        self.memory.arriving.extend(&mut self.permit, self.length.saturating_sub(UNMETERED_BYTES))?;
        if self.frames.is_empty() && self.first_frame.is_empty() {
            self.first_frame = frame;
        } else {
            self.frames.extend_from_slice(&std::mem::take(&mut self.first_frame));
            self.frames.extend_from_slice(&frame);
        }
        Ok(())
    }

    /// # Errors
    ///
    /// There is no memory for decompressing it.
    pub fn complete(self) -> Result<CollectedBody, Reply> {
        let Self { memory, first_frame, frames, permit, .. } = self;
        let bytes = if frames.is_empty() { first_frame } else { frames.freeze() };
        let coding = ContentCoding::recognize(&bytes, &memory.decompressed, memory.body_limit)?;
        Ok(CollectedBody { bytes, coding, _permit: permit })
    }
}

impl CollectedBody {
    /// A body that counts for no budget, for callers that hold its bytes anyway.
    pub fn unmetered(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { coding: ContentCoding::recognize_unmetered(&bytes), bytes, _permit: MemoryPermit::default() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn coding(&self) -> &ContentCoding {
        &self.coding
    }
}

impl From<OutOfMemory> for Reply {
    fn from(_: OutOfMemory) -> Self {
        Self::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn collect(memory: &BodyMemory, frames: &[&[u8]]) -> Result<CollectedBody, Reply> {
        let mut arriving = memory.begin(0)?;
        for frame in frames {
            arriving.push(Bytes::copy_from_slice(frame))?;
        }
        arriving.complete()
    }

    #[test]
    fn a_body_holds_its_memory_until_it_is_dropped() {
        let memory = BodyMemory::new(128 * KIB, 40 * KIB);
        assert_eq!(memory.usage(), (0, 128 * KIB));
        let small = collect(&memory, &[&[b' '; UNMETERED_BYTES]]).ok().unwrap();
        assert_eq!(memory.usage().0, 0);
        let large = collect(&memory, &[&[b' '; 30 * KIB], &[b'x'; 6 * KIB]]).ok().unwrap();
        assert_eq!((large.as_bytes().len(), large.as_bytes().last()), (36 * KIB, Some(&b'x')));
        assert_eq!(memory.usage().0, 20 * KIB);
        // gzip reserves the limit from the other half
        let gzip = collect(&memory, &[&[0x1f], &[0x8b]]).ok().unwrap();
        assert!(gzip.coding().is_gzip() && !small.coding().is_gzip());
        assert_eq!(memory.usage().0, 60 * KIB);
        assert_eq!(collect(&memory, &[&[0x1f, 0x8b]]).err(), Some(Reply::Unavailable));
        drop((large, gzip));
        assert_eq!(memory.usage().0, 0);
    }

    #[test]
    fn a_body_beyond_the_limit_or_the_memory_is_rejected() {
        let memory = BodyMemory::new(32 * KIB, 40 * KIB);
        assert_eq!(memory.begin(40 * KIB as u64 + 1).err(), Some(Reply::TooLarge(40 * KIB)));
        assert_eq!(collect(&memory, &[&[b' '; 40 * KIB], b" "]).err(), Some(Reply::Unavailable));
        assert_eq!(collect(&memory, &[&[b' '; 41 * KIB]]).err(), Some(Reply::TooLarge(40 * KIB)));
        assert_eq!(memory.usage().0, 0);
    }
}
