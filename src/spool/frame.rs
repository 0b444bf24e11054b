//! The frame of a record: recognised and verified by itself, wherever in the file it is found.
//!
//! ```text
//! magic 8 | key 8 | previous key 8 | length 4 | mask 1 | CRC-32 of the header 4 | CRC-32 of all 4 | payload
//! ```
//!
//! Numbers are little-endian, lengths in bytes. A watermark has the same frame.
//!
//! Invariants:
//!
//! - The previous key is that of the record before, so that lost records are told from keys that were never used.
//! - The payload is masked (XOR) so that it has no magic: what a provider sends is never taken for a frame, not even in a
//!   damaged file.

use memchr::memmem;

/// Begins every record. Its first and last byte do not occur in UTF-8.
pub(super) const RECORD: [u8; 8] = *b"\xf5tw-rec\xfe";

/// Begins every watermark.
pub(super) const WATERMARK: [u8; 8] = *b"\xf5tw-mrk\xfe";

/// The common beginning of both.
pub(super) const MAGIC_PREFIX: &[u8] = b"\xf5tw-";

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 37;

/// A header whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) is_watermark: bool,
    pub(super) key: u64,
    pub(super) previous_key: u64,
    /// Of the whole frame.
    pub(super) bytes: usize,
    mask: u8,
    checksum: u32,
}

/// The range of keys in use; written whenever records are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Watermark {
    /// Records below it were drained.
    pub(super) first_pending: u64,
    /// The key of the next record.
    pub(super) next_key: u64,
    /// The key of the last record: keys between it and `next_key` were never used.
    pub(super) last_key: u64,
}

pub(super) fn record(key: u64, previous_key: u64, payload: &[u8]) -> Vec<u8> {
    frame(RECORD, key, previous_key, payload)
}

pub(super) fn watermark(watermark: Watermark) -> Vec<u8> {
    let Watermark { first_pending, next_key, last_key } = watermark;
    frame(WATERMARK, first_pending, last_key, &next_key.to_le_bytes())
}

fn frame(magic: [u8; 8], key: u64, previous_key: u64, payload: &[u8]) -> Vec<u8> {
    let mask = find_mask(payload);
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.extend_from_slice(&magic);
    frame.extend_from_slice(&key.to_le_bytes());
    frame.extend_from_slice(&previous_key.to_le_bytes());
    frame.extend_from_slice(&u32::try_from(payload.len()).expect("a delivery is below 4 GiB").to_le_bytes());
    frame.push(mask);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&frame);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    apply_mask(mask, &mut frame[HEADER_BYTES..]);
    checksum.update(&frame[HEADER_BYTES..]);
    frame[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum.finalize().to_le_bytes());
    frame
}

/// A mask under which the payload has no magic.
fn find_mask(payload: &[u8]) -> u8 {
    let is_free = |mask: &u8| {
        let magic: Vec<u8> = MAGIC_PREFIX.iter().map(|byte| byte ^ mask).collect();
        memmem::find(payload, &magic).is_none()
    };
    // nearly always 0
    (0..=u8::MAX).find(is_free).unwrap_or_default()
}

fn apply_mask(mask: u8, payload: &mut [u8]) {
    if mask != 0 {
        payload.iter_mut().for_each(|byte| *byte ^= mask);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

impl Header {
    /// `None`: the bytes do not begin with an intact header.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let is_watermark = header.starts_with(&WATERMARK);
        if !is_watermark && !header.starts_with(&RECORD) || crc32fast::hash(&header[..29]) != u32_at(header, 29) {
            return None;
        }
        Some(Self {
            is_watermark,
            key: u64_at(header, 8),
            previous_key: u64_at(header, 16),
            bytes: HEADER_BYTES + u32_at(header, 24) as usize,
            mask: header[28],
            checksum: u32_at(header, 33),
        })
    }

    /// The payload of a frame with this header, if every byte is right.
    pub(super) fn payload(&self, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.len() != self.bytes {
            return None;
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&frame[..HEADER_BYTES - 4]);
        checksum.update(&frame[HEADER_BYTES..]);
        if checksum.finalize() != self.checksum {
            return None;
        }
        let mut payload = frame[HEADER_BYTES..].to_vec();
        apply_mask(self.mask, &mut payload);
        Some(payload)
    }

    /// The watermark of a frame with this header, if every byte is right.
    pub(super) fn watermark(&self, frame: &[u8]) -> Option<Watermark> {
        let payload = self.payload(frame).filter(|payload| self.is_watermark && payload.len() == 8)?;
        Some(Watermark { first_pending: self.key, next_key: u64_at(&payload, 0), last_key: self.previous_key })
    }
}

/// Key, previous key and payload of a record, if every byte is right.
pub(super) fn open(frame: &[u8]) -> Option<(u64, u64, Vec<u8>)> {
    let header = Header::read(frame).filter(|header| !header.is_watermark)?;
    Some((header.key, header.previous_key, header.payload(frame)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_any_flipped_bit_is_noticed() {
        let frame = record(7, 5, b"{}\n{\"a\":1}");
        assert_eq!(open(&frame), Some((7, 5, b"{}\n{\"a\":1}".to_vec())));
        for bit in 0..frame.len() * 8 {
            let mut frame = frame.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&frame), None, "bit {bit}");
        }
        assert_eq!(open(&frame[..frame.len() - 1]), None);
    }

    #[test]
    fn no_frame_stands_in_a_payload() {
        let inner = record(9, 8, b"forged");
        let frame = record(7, 6, &inner);
        assert_eq!(memmem::find_iter(&frame, MAGIC_PREFIX).count(), 1);
        assert_eq!(open(&frame), Some((7, 6, inner)));
    }
}
