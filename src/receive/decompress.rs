//! Bodies in gzip.
//!
//! They are recognized by their first bytes, which no JSON begins with: a `Content-Encoding` that is missing or wrong
//! is no reason to lose a delivery. Another encoding cannot be recognized, and is believed.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header::CONTENT_ENCODING};

const MAGIC: &[u8] = &[0x1f, 0x8b];

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
    let mut out = Vec::new();
    let read = MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut out);
    if out.len() > limit {
        return Err(TooLarge);
    }
    Ok(Decompressed { bytes: Cow::Owned(out), is_damaged: read.is_err() })
}
