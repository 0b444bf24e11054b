//! Bodies in gzip.
//!
//! They are recognized by their first bytes, which no JSON begins with: a `Content-Encoding` that is missing or wrong
//! is no reason to lose a delivery. Another encoding cannot be recognized, and is believed.
//!
//! What decompressing costs is not told by the bytes that come out: a block that holds nothing takes ten bits, and one
//! with codes of its own a microsecond for its tables. So blocks are counted, too. What has more of them than any
//! compressor makes is damaged gzip.

use std::borrow::Cow;

use http::{HeaderMap, header::CONTENT_ENCODING};
use zlib_rs::{Inflate, InflateFlush, Status};

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// zlib's number for gzip with a window of any size.
const GZIP: u8 = 16 + 15;

/// The most that a body may be at first, decompressed, before more memory is asked for: so many times its size.
const USUAL_RATIO: usize = 4;

/// What is left over for a small body, in units of work.
const FREE_WORK: usize = 2048;

/// The bytes of the limit for each unit of work: a block with codes of its own for every 768. Compressors make blocks of
/// some KiB.
const BYTES_PER_WORK: usize = 48;

/// A block with codes of its own, or the head of a member, costs about so many times what another one does.
const WORK_OF_TABLES: usize = 16;

/// A block in so many bytes has no codes of its own.
const WITHOUT_TABLES: usize = 9;

/// The body is larger than the limit when decompressed; nothing beyond the limit was.
#[derive(Debug)]
pub struct TooLarge;

/// A body without its compression.
pub(super) struct Decompressed<'a> {
    /// The bytes, as far as they could be had.
    pub(super) bytes: Cow<'a, [u8]>,
    /// Whether it starts as gzip does and cannot be decompressed to its end.
    pub(super) is_damaged: bool,
}

/// Whether a body is in gzip.
pub fn is_compressed(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// Whether the `Content-Encoding` of a request is gzip, or none.
pub fn is_supported(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
    values.all(|value| {
        let mut encodings = value.split(',').map(str::trim);
        encodings.all(|encoding| {
            ["", "identity", "gzip", "x-gzip"].iter().any(|supported| supported.eq_ignore_ascii_case(encoding))
        })
    })
}

/// The body as the provider wrote it, of at most `limit` bytes.
pub(super) fn decompress(body: &[u8], limit: usize) -> Result<Decompressed<'_>, TooLarge> {
    if !is_compressed(body) {
        let whole = Decompressed { bytes: Cow::Borrowed(body), is_damaged: false };
        return if body.len() > limit { Err(TooLarge) } else { Ok(whole) };
    }
    let mut members =
        Members { rest: body, out: Vec::new(), length: 0, limit, work: FREE_WORK + limit / BYTES_PER_WORK };
    let is_damaged = match members.read() {
        Ok(()) => false,
        Err(Stop::Damaged) => true,
        Err(Stop::TooLarge) => return Err(TooLarge),
    };
    let Members { mut out, length, .. } = members;
    out.truncate(length);
    Ok(Decompressed { bytes: Cow::Owned(out), is_damaged })
}

/// Why decompressing ends before the end.
enum Stop {
    Damaged,
    TooLarge,
}

/// The members of a gzip file on their way out of it.
struct Members<'a> {
    /// What was not read yet.
    rest: &'a [u8],
    /// What came out, and room for more.
    out: Vec<u8>,
    /// How much came out.
    length: usize,
    limit: usize,
    /// The units of work that are left.
    work: usize,
}

impl Members<'_> {
    /// All of them, and the zeros behind them with which some fill up a file.
    fn read(&mut self) -> Result<(), Stop> {
        while self.rest.iter().any(|byte| *byte != 0) {
            let mut inflate = Inflate::new(true, GZIP);
            while self.step(&mut inflate)? != Status::StreamEnd {}
        }
        Ok(())
    }

    /// To the end of a block, of the input, or of the room for output.
    fn step(&mut self, inflate: &mut Inflate) -> Result<Status, Stop> {
        if self.length == self.out.len() {
            let room = (2 * self.length).max(USUAL_RATIO * self.rest.len());
            self.out.resize(room.min(self.limit + 1), 0);
        }
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(self.rest, &mut self.out[self.length..], InflateFlush::Block);
        let (read, written) = (inflate.total_in() - read, inflate.total_out() - written);
        // neither is more than the length of a slice
        let (read, written) = (read as usize, written as usize);
        self.rest = &self.rest[read..];
        self.length += written;
        if self.length > self.limit {
            return Err(Stop::TooLarge);
        }
        let work = if read > WITHOUT_TABLES { WORK_OF_TABLES } else { 1 };
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
        let out = decompress(compressed, 1 << 18).unwrap();
        assert!(!out.is_damaged && out.bytes == bytes, "{what}: {} of {}", out.bytes.len(), bytes.len());
    }

    #[test]
    fn what_any_compressor_makes_is_decompressed_whole() {
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
    fn what_is_broken_or_cut_off_is_damaged_and_what_is_too_large_is_told() {
        let text = b"some words and more words and more";
        let whole = gzip(text, 6);
        for length in 2..whole.len() {
            let out = decompress(&whole[..length], 1000).unwrap();
            assert!(out.is_damaged && text.starts_with(&out.bytes), "{length}");
        }
        for position in whole.len() - 8..whole.len() {
            let mut broken = whole.clone();
            broken[position] ^= 1;
            assert!(decompress(&broken, 1000).unwrap().is_damaged, "{position}");
        }
        assert!(decompress(&[&whole[..], b"x"].concat(), 1000).unwrap().is_damaged);
        assert!(!decompress(&whole, text.len()).unwrap().is_damaged);
        assert!(decompress(&whole, text.len() - 1).is_err());
        assert!(decompress(&whole.repeat(2), 2 * text.len() - 1).is_err());
    }
}
