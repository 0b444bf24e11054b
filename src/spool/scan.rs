//! Finds frames in the bytes of a file, which it reads in chunks.

use std::{fs, io, os::unix::fs::FileExt};

use memchr::memmem;

use super::frame::{HEADER_BYTES, Header, MAGIC_PREFIX};

const CHUNK_BYTES: usize = 1024 * 1024;

/// Visits every frame whose header is intact: its offset, its header, and its bytes, which may be cut off or damaged.
pub(super) fn scan_frames(raw: &fs::File, mut visit: impl FnMut(u64, &Header, &[u8])) -> io::Result<()> {
    let finder = memmem::Finder::new(MAGIC_PREFIX);
    let length = raw.metadata()?.len();
    let (mut start, mut buffer, mut at) = (0, Vec::new(), 0);
    while start + (at as u64) < length {
        // enough for a header, or the rest of the file
        if buffer.len() < at + HEADER_BYTES && start + (buffer.len() as u64) < length {
            (start, at) = (start + at as u64, 0);
            read(raw, start, CHUNK_BYTES, &mut buffer)?;
            if buffer.is_empty() {
                break;
            }
        }
        let Some(found) = finder.find(&buffer[at..]) else {
            // a frame may begin in the last bytes
            let rest = MAGIC_PREFIX.len() - 1;
            let end = start + buffer.len() as u64;
            if end >= length {
                break;
            }
            at = buffer.len().saturating_sub(rest).max(at);
            (start, at) = (start + at as u64, 0);
            read(raw, start, CHUNK_BYTES, &mut buffer)?;
            if buffer.len() <= rest {
                break;
            }
            continue;
        };
        at += found;
        if buffer.len() < at + HEADER_BYTES && start + (buffer.len() as u64) < length {
            continue;
        }
        let offset = start + at as u64;
        let Some(header) = Header::read(&buffer[at..]) else {
            at += MAGIC_PREFIX.len();
            continue;
        };
        if buffer.len() < at + header.bytes && offset + header.bytes as u64 <= length {
            (start, at) = (offset, 0);
            read(raw, start, CHUNK_BYTES.max(header.bytes), &mut buffer)?;
        }
        let frame = &buffer[at..buffer.len().min(at + header.bytes)];
        visit(offset, &header, frame);
        at += if header.payload(frame).is_some() { header.bytes } else { HEADER_BYTES };
    }
    Ok(())
}

/// Reads to the end of the file at most.
fn read(raw: &fs::File, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(bytes, 0);
    let mut filled = 0;
    while filled < bytes {
        match raw.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(())
}
