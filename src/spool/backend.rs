//! The file as `redb` sees it: what is not yet written to it stays in memory.
//!
//! Invariants:
//!
//! - Until [`Backend::write_through`] the file is only read: on a full disk, removals live in memory. A restart before the
//!   file is emptied drains the removed records again (recorded once; `delivery_count` may rise again).
//! - After it, the header is written behind everything else that a sync covers: a process that is killed never leaves a
//!   commit in the header whose pages are not in the file.
//! - After it, [`Backend::length`] is how long the file must be.

use std::{
    collections::HashMap,
    fs, io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};

const PAGE_BYTES: usize = 4096;

/// Has the header.
const FIRST_PAGE: u64 = 0;

/// Clones are the same file.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    file: Arc<FileBackend>,
    overlay: Arc<Mutex<Overlay>>,
}

/// What was written and is not in the file.
#[derive(Debug)]
struct Overlay {
    /// By their number.
    pages: HashMap<u64, Box<[u8]>>,
    /// What of the file still counts: behind it there are zeros.
    file_bytes: u64,
    /// The length of the file as `redb` left it.
    length: u64,
    /// Pages go to the file, the first one when it is synced.
    is_written_through: bool,
}

impl Backend {
    pub(super) fn new(raw: fs::File) -> Result<Self, DatabaseError> {
        let file = FileBackend::new(raw)?;
        let length = StorageBackend::len(&file).map_err(|error| DatabaseError::Storage(error.into()))?;
        let overlay = Overlay { pages: HashMap::new(), file_bytes: length, length, is_written_through: false };
        Ok(Self { file: Arc::new(file), overlay: Arc::new(Mutex::new(overlay)) })
    }

    /// Writes to the file what was kept in memory, synced when it returns, and from now on everything.
    pub(super) fn write_through(&self) -> io::Result<()> {
        let mut overlay = self.overlay();
        if self.file.len()? != overlay.length {
            self.file.set_len(overlay.length)?;
        }
        overlay.write_pages(&self.file)?;
        overlay.file_bytes = overlay.length;
        overlay.is_written_through = true;
        self.file.sync_data()
    }

    /// How long `redb` left the file.
    pub(super) fn length(&self) -> u64 {
        self.overlay().length
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        let overlay = self.overlay();
        if overlay.is_written_through { self.file.len() } else { Ok(overlay.length) }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let overlay = self.overlay();
        if overlay.is_written_through && (offset >= PAGE_BYTES as u64 || overlay.pages.is_empty()) {
            return self.file.read(offset, out);
        }
        if offset + out.len() as u64 > overlay.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, part) in parts(offset, out.len()) {
            let out = &mut out[part];
            match overlay.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + out.len()]),
                None => overlay.read_file(&self.file, page * PAGE_BYTES as u64 + within as u64, out)?,
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut overlay = self.overlay();
        if overlay.is_written_through {
            self.file.set_len(length)?;
        }
        overlay.truncate(&self.file, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut overlay = self.overlay();
        if !overlay.is_written_through {
            return Ok(());
        }
        overlay.write_pages(&self.file)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut overlay = self.overlay();
        if overlay.is_written_through && offset >= PAGE_BYTES as u64 {
            return self.file.write(offset, data);
        }
        for (page, within, part) in parts(offset, data.len()) {
            let data = &data[part];
            overlay.page(&self.file, page)?[within..within + data.len()].copy_from_slice(data);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

impl Overlay {
    fn read_file(&self, file: &FileBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = usize::try_from(self.file_bytes.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        file.read(offset, &mut out[..in_file])?;
        out[in_file..].fill(0);
        Ok(())
    }

    /// A page to write to.
    fn page(&mut self, file: &FileBackend, page: u64) -> io::Result<&mut [u8]> {
        if !self.pages.contains_key(&page) {
            let mut bytes = vec![0; PAGE_BYTES].into_boxed_slice();
            self.read_file(file, page * PAGE_BYTES as u64, &mut bytes)?;
            self.pages.insert(page, bytes);
        }
        Ok(self.pages.entry(page).or_default())
    }

    fn truncate(&mut self, file: &FileBackend, length: u64) -> io::Result<()> {
        let (page, within) = (length / PAGE_BYTES as u64, (length % PAGE_BYTES as u64) as usize);
        if self.is_written_through {
            self.file_bytes = length;
        } else if within > 0 {
            self.page(file, page)?[within..].fill(0);
        }
        self.pages.retain(|number, _| number * (PAGE_BYTES as u64) < length);
        self.file_bytes = self.file_bytes.min(length);
        self.length = length;
        Ok(())
    }

    /// Writes the pages to the file, that of the header last.
    fn write_pages(&mut self, file: &FileBackend) -> io::Result<()> {
        let mut numbers: Vec<_> = self.pages.keys().copied().collect();
        numbers.sort_unstable_by_key(|number| (*number == FIRST_PAGE, *number));
        for number in numbers {
            let (offset, page) = (number * PAGE_BYTES as u64, &self.pages[&number]);
            let in_file = usize::try_from(self.length - offset).unwrap_or(usize::MAX).min(PAGE_BYTES);
            file.write(offset, &page[..in_file])?;
        }
        self.pages.clear();
        Ok(())
    }
}

/// The pages of a range: the number of each, where the range begins in it, and which part of the range it has.
fn parts(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let position = offset + at as u64;
        let within = (position % PAGE_BYTES as u64) as usize;
        let part = at..bytes.min(at + PAGE_BYTES - within);
        at = part.end;
        (!part.is_empty()).then_some((position / PAGE_BYTES as u64, within, part))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_in_memory_is_read_again_and_never_in_the_file() {
        let mut raw = tempfile::tempfile().unwrap();
        let original: Vec<u8> = (0..3 * PAGE_BYTES + 100).map(|at| (at % 251) as u8).collect();
        raw.write_all(&original).unwrap();
        let backend = Backend::new(raw.try_clone().unwrap()).unwrap();
        let mut expected = original.clone();
        let mut random = 7u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for round in 0..2000 {
            if next(10) == 0 {
                let length = next(6 * PAGE_BYTES) + 1;
                backend.set_len(length as u64).unwrap();
                expected.resize(length, 0);
            }
            let from = next(expected.len());
            let to = from + next(expected.len() - from + 1);
            backend.write(from as u64, &vec![round as u8; to - from]).unwrap();
            expected[from..to].fill(round as u8);
            let mut found = vec![0; expected.len()];
            backend.read(0, &mut found).unwrap();
            assert!(found == expected, "round {round}");
            assert_eq!((backend.len().unwrap(), backend.length()), (expected.len() as u64, expected.len() as u64));
        }
        assert!(backend.read(expected.len() as u64, &mut [0]).is_err());
        let mut file = vec![0; original.len()];
        std::os::unix::fs::FileExt::read_exact_at(&raw, &mut file, 0).unwrap();
        assert!(file == original);
    }

    #[test]
    fn a_header_is_in_the_file_only_after_what_it_points_to() {
        let raw = tempfile::tempfile().unwrap();
        let backend = Backend::new(raw.try_clone().unwrap()).unwrap();
        let in_file = |offset: u64| {
            let mut byte = [0];
            std::os::unix::fs::FileExt::read_at(&raw, &mut byte, offset).unwrap();
            byte[0]
        };
        let page = PAGE_BYTES as u64;
        backend.set_len(3 * page).unwrap();
        backend.write(0, &[1]).unwrap();
        backend.write(page, &[1]).unwrap();
        assert_eq!((raw.metadata().unwrap().len(), in_file(0), in_file(page)), (0, 0, 0));
        backend.write_through().unwrap();
        assert_eq!((raw.metadata().unwrap().len(), in_file(0), in_file(page)), (3 * page, 1, 1));
        backend.write(0, &[2]).unwrap();
        backend.write(page, &[2]).unwrap();
        let mut header = [0];
        backend.read(0, &mut header).unwrap();
        assert_eq!((header, in_file(0), in_file(page)), ([2], 1, 2));
        backend.sync_data().unwrap();
        assert_eq!(in_file(0), 2);
    }
}
