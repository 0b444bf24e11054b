//! A record as it lies in the file: recognisable and checked by itself, wherever in the file it is found.
//!
//! ```text
//! magic 8 | key 8 | previous 8 | length 4 | mask 1 | CRC-32 of the header 4 | CRC-32 of all 4 | payload
//! ```
//!
//! Numbers are little-endian. `previous` is the key of the record before it, so that a gap is told from keys that were
//! never given out. The payload is masked (XOR) so that no magic stands in it: what a provider sends can never be taken
//! for a frame of its own, not even in a damaged file.

use memchr::memmem;

/// Begins every record. Not all of its bytes occur in UTF-8.
pub(super) const RECORD: [u8; 8] = *b"\xf5tw-rec\xfe";

/// Begins every mark.
pub(super) const MARK: [u8; 8] = *b"\xf5tw-mrk\xfe";

/// What both begin with.
pub(super) const COMMON: &[u8] = b"\xf5tw-";

/// Bytes before the payload.
pub(super) const HEADER: usize = 37;

/// A header whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) is_mark: bool,
    pub(super) key: u64,
    pub(super) previous: u64,
    /// Bytes of the whole frame.
    pub(super) bytes: usize,
    mask: u8,
    checksum: u32,
}

/// Where the records begin, and which keys were never given out: written whenever records are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// The lowest key that may still wait.
    pub(super) low: u64,
    /// The next key that is given out.
    pub(super) next: u64,
    /// The last one that was: those in between never were.
    pub(super) previous: u64,
}

/// The frame of a record.
pub(super) fn record(key: u64, previous: u64, payload: &[u8]) -> Vec<u8> {
    frame(RECORD, key, previous, payload)
}

pub(super) fn mark(mark: Mark) -> Vec<u8> {
    frame(MARK, mark.low, mark.previous, &mark.next.to_le_bytes())
}

fn frame(magic: [u8; 8], key: u64, previous: u64, payload: &[u8]) -> Vec<u8> {
    let mask = free_mask(payload);
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&magic);
    frame.extend_from_slice(&key.to_le_bytes());
    frame.extend_from_slice(&previous.to_le_bytes());
    frame.extend_from_slice(&u32::try_from(payload.len()).expect("a delivery is below 4 GiB").to_le_bytes());
    frame.push(mask);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&frame);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    apply(mask, &mut frame[HEADER..]);
    checksum.update(&frame[HEADER..]);
    frame[HEADER - 4..HEADER].copy_from_slice(&checksum.finalize().to_le_bytes());
    frame
}

/// One under which no magic stands in the payload.
fn free_mask(payload: &[u8]) -> u8 {
    let is_free = |mask: &u8| {
        let magic: Vec<u8> = COMMON.iter().map(|byte| byte ^ mask).collect();
        memmem::find(payload, &magic).is_none()
    };
    // as a rule the first one
    (0..=u8::MAX).find(is_free).unwrap_or_default()
}

fn apply(mask: u8, payload: &mut [u8]) {
    if mask != 0 {
        payload.iter_mut().for_each(|byte| *byte ^= mask);
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}

fn short_number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

impl Header {
    /// `None` when the bytes do not begin with a header, or with a damaged one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let is_mark = header.starts_with(&MARK);
        if !is_mark && !header.starts_with(&RECORD) || crc32fast::hash(&header[..29]) != short_number(header, 29) {
            return None;
        }
        Some(Self {
            is_mark,
            key: number(header, 8),
            previous: number(header, 16),
            bytes: HEADER + short_number(header, 24) as usize,
            mask: header[28],
            checksum: short_number(header, 33),
        })
    }

    /// The payload of a frame with this header, if every byte is right.
    pub(super) fn payload(&self, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.len() != self.bytes {
            return None;
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&frame[..HEADER - 4]);
        checksum.update(&frame[HEADER..]);
        if checksum.finalize() != self.checksum {
            return None;
        }
        let mut payload = frame[HEADER..].to_vec();
        apply(self.mask, &mut payload);
        Some(payload)
    }

    /// What a mark says, if every byte is right.
    pub(super) fn mark(&self, frame: &[u8]) -> Option<Mark> {
        let payload = self.payload(frame).filter(|payload| self.is_mark && payload.len() == 8)?;
        Some(Mark { low: self.key, previous: self.previous, next: number(&payload, 0) })
    }
}

/// Key, previous key and payload of a record, if every byte is right.
pub(super) fn open(frame: &[u8]) -> Option<(u64, u64, Vec<u8>)> {
    let header = Header::read(frame).filter(|header| !header.is_mark)?;
    Some((header.key, header.previous, header.payload(frame)?))
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
        assert_eq!(memmem::find_iter(&frame, COMMON).count(), 1);
        assert_eq!(open(&frame), Some((7, 6, inner)));
    }
}
