//! The file as `redb` sees it. While the disk has no space, what `redb` writes stays in memory.
//!
//! Invariants:
//!
//! - With [`Writes::InMemory`] the file is only read: records can be read and removed without any disk space. Their
//!   removal is durable only when the file is emptied at the end; until then a restart reads them again.
//! - With [`Writes::ToDisk`], [`Length`] is how long the file must be.

use std::{
    collections::HashMap,
    fs, io,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};

const PAGE_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    ToDisk,
    InMemory,
}

/// The length of the file as `redb` left it. Clones are the same length.
#[derive(Clone, Debug, Default)]
pub(super) struct Length(Arc<AtomicU64>);

#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    length: Length,
    /// `None`: writes go to the file.
    overlay: Option<Mutex<Overlay>>,
}

/// What was written over the file.
#[derive(Debug)]
struct Overlay {
    /// By their number.
    pages: HashMap<u64, Box<[u8]>>,
    /// What of the file still counts: behind it there are zeros.
    file_bytes: u64,
}

impl Length {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, length: u64) {
        self.0.store(length, Ordering::Release);
    }
}

impl Backend {
    /// Also returns the length of the file, which follows what `redb` does.
    pub(super) fn new(raw: fs::File, writes: Writes) -> Result<(Self, Length), DatabaseError> {
        let file = FileBackend::new(raw)?;
        let file_bytes = StorageBackend::len(&file).map_err(|error| DatabaseError::Storage(error.into()))?;
        let length = Length::default();
        length.set(file_bytes);
        let overlay = Overlay { pages: HashMap::new(), file_bytes };
        let overlay = (writes == Writes::InMemory).then(|| Mutex::new(overlay));
        Ok((Self { file, length: length.clone(), overlay }, length))
    }

    fn overlay(&self) -> Option<MutexGuard<'_, Overlay>> {
        self.overlay.as_ref().map(|overlay| overlay.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        match &self.overlay {
            Some(_) => Ok(self.length.get()),
            None => self.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Some(overlay) = self.overlay() else { return self.file.read(offset, out) };
        if offset + out.len() as u64 > self.length.get() {
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
        match self.overlay() {
            Some(mut overlay) => overlay.truncate(&self.file, length)?,
            None => self.file.set_len(length)?,
        }
        self.length.set(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match &self.overlay {
            Some(_) => Ok(()),
            None => self.file.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(mut overlay) = self.overlay() else { return self.file.write(offset, data) };
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
        if within > 0 {
            self.page(file, page)?[within..].fill(0);
        }
        self.pages.retain(|number, _| number * (PAGE_BYTES as u64) < length);
        self.file_bytes = self.file_bytes.min(length);
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
        let (backend, length) = Backend::new(raw.try_clone().unwrap(), Writes::InMemory).unwrap();
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
            assert_eq!((backend.len().unwrap(), length.get()), (expected.len() as u64, expected.len() as u64));
        }
        assert!(backend.read(expected.len() as u64, &mut [0]).is_err());
        let mut file = vec![0; original.len()];
        std::os::unix::fs::FileExt::read_exact_at(&raw, &mut file, 0).unwrap();
        assert!(file == original);
    }
}
