//! Looks for frames in the bytes of a file, a part of it at a time.

use std::{fs, io, os::unix::fs::FileExt};

use memchr::memmem;

use super::frame::{COMMON, HEADER, Header};

/// Read at once, in bytes.
const CHUNK: usize = 1024 * 1024;

/// Every frame whose header is right, with its bytes as far as they are there.
pub(super) fn scan(raw: &fs::File, mut visit: impl FnMut(u64, &Header, &[u8])) -> io::Result<()> {
    let finder = memmem::Finder::new(COMMON);
    let length = raw.metadata()?.len();
    let (mut start, mut buffer, mut at) = (0, Vec::new(), 0);
    while start + (at as u64) < length {
        // enough for a header, or the rest of the file
        if buffer.len() < at + HEADER && start + (buffer.len() as u64) < length {
            (start, at) = (start + at as u64, 0);
            read(raw, start, CHUNK, &mut buffer)?;
            if buffer.is_empty() {
                break;
            }
        }
        let Some(found) = finder.find(&buffer[at..]) else {
            // a magic may begin in the last bytes
            let rest = COMMON.len() - 1;
            let end = start + buffer.len() as u64;
            if end >= length {
                break;
            }
            at = buffer.len().saturating_sub(rest).max(at);
            (start, at) = (start + at as u64, 0);
            read(raw, start, CHUNK, &mut buffer)?;
            if buffer.len() <= rest {
                break;
            }
            continue;
        };
        at += found;
        if buffer.len() < at + HEADER && start + (buffer.len() as u64) < length {
            continue;
        }
        let offset = start + at as u64;
        let Some(header) = Header::read(&buffer[at..]) else {
            at += COMMON.len();
            continue;
        };
        if buffer.len() < at + header.bytes && offset + header.bytes as u64 <= length {
            (start, at) = (offset, 0);
            read(raw, start, CHUNK.max(header.bytes), &mut buffer)?;
        }
        let frame = &buffer[at..buffer.len().min(at + header.bytes)];
        visit(offset, &header, frame);
        at += if header.payload(frame).is_some() { header.bytes } else { HEADER };
    }
    Ok(())
}

/// So many bytes from there, or as many as there are.
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
