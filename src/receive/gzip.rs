//! Gzip bodies: recognized, given memory, and decompressed here.
//!
//! Gzip is recognized by its first bytes, which begin no JSON: a missing or wrong `Content-Encoding` must not cost a
//! delivery. Other codings cannot be recognized, so for those the header decides.
//!
//! Invariants:
//! - decompressing takes at most `limit + 1` bytes, and a permit for `limit` is held meanwhile;
//! - its time is bounded by counting blocks, not bytes: an empty block takes ten bits, and one with its own code tables about
//!   a microsecond. More blocks than any compressor makes are treated as damaged gzip.

use std::borrow::Cow;

use http::{HeaderMap, header::CONTENT_ENCODING};
use zlib_rs::{Inflate, InflateFlush, Status};

use super::memory::{MemoryBudget, MemoryPermit, OutOfMemory};

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// zlib's `windowBits` for gzip with a window of any size.
const WINDOW_BITS: u8 = 16 + 15;

/// Sizes the first output buffer: bytes per compressed byte.
const TYPICAL_RATIO: usize = 4;

/// Work units that every body has.
const BASE_WORK: usize = 2048;

/// Bytes of the limit per further work unit, which allows a block with its own tables in every 768 bytes. Compressors make
/// blocks of several KiB.
const BYTES_PER_WORK_UNIT: usize = 48;

/// Work units of a block with its own tables, or of the header of a gzip member; another block takes one.
const WORK_PER_TABLES: usize = 16;

/// A block of at most so many compressed bytes has no tables of its own.
const MAX_BYTES_WITHOUT_TABLES: usize = 9;

/// The decompressed body is larger than the limit. At most one byte beyond the limit was decompressed.
#[derive(Debug)]
pub struct TooLarge;

/// The content coding of a body.
pub(super) enum ContentCoding {
    Identity,
    /// With the memory for decompressing it.
    Gzip(MemoryPermit),
}

impl ContentCoding {
    /// Gzip reserves `limit` bytes of the budget.
    pub(super) fn recognize(body: &[u8], budget: &MemoryBudget, limit: usize) -> Result<Self, OutOfMemory> {
        let mut coding = Self::recognize_unmetered(body);
        if let Self::Gzip(permit) = &mut coding {
            budget.extend(permit, limit)?;
        }
        Ok(coding)
    }

    /// Gzip holds no memory of any budget.
    pub(super) fn recognize_unmetered(body: &[u8]) -> Self {
        if body.starts_with(MAGIC) { Self::Gzip(MemoryPermit::default()) } else { Self::Identity }
    }

    pub(super) fn is_gzip(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }
}

/// Whether every `Content-Encoding` of a request is gzip or identity.
pub(super) fn is_supported(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
    values.all(|value| {
        let mut encodings = value.split(',').map(str::trim);
        encodings.all(|encoding| {
            ["", "identity", "gzip", "x-gzip"].iter().any(|supported| supported.eq_ignore_ascii_case(encoding))
        })
    })
}

pub(super) struct Decompressed<'a> {
    /// Of damaged gzip, the bytes before the damage.
    pub(super) bytes: Cow<'a, [u8]>,
    /// It is gzip that cannot be decompressed to its end.
    pub(super) is_damaged: bool,
}

/// A body without its content coding, of at most `limit` bytes.
pub(super) fn decompress<'a>(
    body: &'a [u8],
    coding: &ContentCoding,
    limit: usize,
) -> Result<Decompressed<'a>, TooLarge> {
    if !coding.is_gzip() {
        let whole = Decompressed { bytes: Cow::Borrowed(body), is_damaged: false };
        return if body.len() > limit { Err(TooLarge) } else { Ok(whole) };
    }
    let work = BASE_WORK + limit / BYTES_PER_WORK_UNIT;
    let mut members = Members { rest: body, out: Vec::new(), length: 0, limit, work };
    let is_damaged = match members.read() {
        Ok(()) => false,
        Err(Stop::Damaged) => true,
        Err(Stop::TooLarge) => return Err(TooLarge),
    };
    let Members { mut out, length, .. } = members;
    out.truncate(length);
    Ok(Decompressed { bytes: Cow::Owned(out), is_damaged })
}

/// Why decompressing stops early.
enum Stop {
    Damaged,
    TooLarge,
}

/// Decompresses the members of a gzip file, which are concatenated.
struct Members<'a> {
    /// Compressed bytes that are left.
    rest: &'a [u8],
    /// Decompressed bytes, and space for more.
    out: Vec<u8>,
    /// Of the decompressed bytes in `out`.
    length: usize,
    limit: usize,
    /// Work units that are left.
    work: usize,
}

impl Members<'_> {
    /// Zeros behind the last member are padding.
    fn read(&mut self) -> Result<(), Stop> {
        while self.rest.iter().any(|byte| *byte != 0) {
            let mut inflate = Inflate::new(true, WINDOW_BITS);
            while self.step(&mut inflate)? != Status::StreamEnd {}
        }
        Ok(())
    }

    /// To the end of a block, of the input, or of the space for output.
    fn step(&mut self, inflate: &mut Inflate) -> Result<Status, Stop> {
        if self.length == self.out.len() {
            let space = (2 * self.length).max(TYPICAL_RATIO * self.rest.len());
            self.out.resize(space.min(self.limit + 1), 0);
        }
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(self.rest, &mut self.out[self.length..], InflateFlush::Block);
        let (read, written) = (inflate.total_in() - read, inflate.total_out() - written);
        // each is at most the length of a slice
        let (read, written) = (read as usize, written as usize);
        self.rest = &self.rest[read..];
        self.length += written;
        if self.length > self.limit {
            return Err(Stop::TooLarge);
        }
        let work = if read > MAX_BYTES_WITHOUT_TABLES { WORK_PER_TABLES } else { 1 };
        self.work = self.work.checked_sub(work).ok_or(Stop::Damaged)?;
        match status {
            Ok(status) if read > 0 || written > 0 || status == Status::StreamEnd => Ok(status),
            _ => Err(Stop::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};

    use super::*;

    fn decompressed(body: &[u8], limit: usize) -> Result<Decompressed<'_>, TooLarge> {
        decompress(body, &ContentCoding::recognize_unmetered(body), limit)
    }

    fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn incompressible(length: usize) -> Vec<u8> {
        let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn assert_whole(compressed: &[u8], bytes: &[u8], what: &str) {
        let out = decompressed(compressed, 1 << 18).unwrap();
        assert!(!out.is_damaged && out.bytes == bytes, "{what}: {} of {}", out.bytes.len(), bytes.len());
    }

    #[test]
    fn the_output_of_any_compressor_is_decompressed_whole() {
        let line = |n: usize| format!("{{\"number\": {n}, \"name\": \"passenger {}\"}}\n", n * 7919 % 1000);
        let text: String = (0..5600).map(line).collect();
        for (what, bytes) in [
            ("text", text.as_bytes()),
            ("noise", &incompressible(1 << 18)),
            ("blanks", &vec![b' '; 1 << 18]),
            ("little", b"{}"),
            ("nothing", b""),
        ] {
            for level in 0..=9 {
                assert_whole(&gzip(bytes, level), bytes, what);
            }
            let halves = bytes.split_at(bytes.len() / 2);
            let members = [gzip(halves.0, 6), gzip(halves.1, 9), gzip(b"", 1)].concat();
            assert_whole(&members, bytes, what);
            assert_whole(&[&members[..], &[0; 500]].concat(), bytes, what);
        }
        // one line after the other sent on its way
        let mut flushed = GzEncoder::new(Vec::new(), Compression::default());
        let lines: String = (0..400).map(line).collect();
        for line in lines.lines() {
            writeln!(flushed, "{line}").unwrap();
            flushed.flush().unwrap();
        }
        assert_whole(&flushed.finish().unwrap(), lines.as_bytes(), "flushed");
        // a block of its own for every KiB
        let mut raw = Compress::new(Compression::best(), false);
        let digits: Vec<u8> = incompressible(1 << 18).iter().map(|byte| b'0' + byte % 8).collect();
        let mut blocks = vec![0; 1 << 19];
        for chunk in digits.chunks(1024) {
            let (read, written) = (raw.total_in() as usize, raw.total_out() as usize);
            raw.compress(chunk, &mut blocks[written..], FlushCompress::Partial).unwrap();
            assert_eq!(raw.total_in() as usize, read + chunk.len());
        }
        let written = raw.total_out() as usize;
        raw.compress(b"", &mut blocks[written..], FlushCompress::Finish).unwrap();
        blocks.truncate(raw.total_out() as usize);
        let mut crc = flate2::Crc::new();
        crc.update(&digits);
        let tail = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
        let member = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &blocks, &tail].concat();
        assert_whole(&member, &digits, "blocks of a KiB");
    }

    #[test]
    fn broken_or_truncated_gzip_is_damaged_and_gzip_beyond_the_limit_is_too_large() {
        let text = b"some words and more words and more";
        let whole = gzip(text, 6);
        for length in 2..whole.len() {
            let out = decompressed(&whole[..length], 1000).unwrap();
            assert!(out.is_damaged && text.starts_with(&out.bytes), "{length}");
        }
        for position in whole.len() - 8..whole.len() {
            let mut broken = whole.clone();
            broken[position] ^= 1;
            assert!(decompressed(&broken, 1000).unwrap().is_damaged, "{position}");
        }
        assert!(decompressed(&[&whole[..], b"x"].concat(), 1000).unwrap().is_damaged);
        assert!(!decompressed(&whole, text.len()).unwrap().is_damaged);
        assert!(decompressed(&whole, text.len() - 1).is_err());
        assert!(decompressed(&whole.repeat(2), 2 * text.len() - 1).is_err());
    }
}
