//! Bodies in gzip.
//!
//! They are recognized by their first bytes, which no JSON begins with: a `Content-Encoding` that is missing or wrong
//! is no reason to lose a delivery.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// Whether a body is in gzip.
pub fn is_compressed(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// Why there is no body to read.
#[derive(Debug)]
pub enum Undecompressed {
    /// More than the limit when decompressed; nothing beyond the limit was.
    TooLarge,
    /// It starts as gzip does and is damaged.
    Damaged,
}

/// The body as the provider wrote it, of at most `limit` bytes.
pub fn decompress(body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Undecompressed> {
    if !is_compressed(body) {
        return if body.len() > limit { Err(Undecompressed::TooLarge) } else { Ok(Cow::Borrowed(body)) };
    }
    let mut out = Vec::new();
    let read = MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut out);
    match read {
        _ if out.len() > limit => Err(Undecompressed::TooLarge),
        Ok(_) => Ok(Cow::Owned(out)),
        Err(_) => Err(Undecompressed::Damaged),
    }
}
