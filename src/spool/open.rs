//! Opens the spool file: as it is, without disk space, or as a copy of what is intact in a damaged one.

use std::{
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    SpoolError,
    database::Writes,
    directory::{FileIdentity, SpoolDirectory},
    file::{SpoolFile, cost},
    frame::Watermark,
    record,
    salvage::Salvage,
};

/// Bytes of salvaged records that are copied in one commit.
const COPIED_BYTES: u64 = 16 * 1024 * 1024;

/// Keys of lost records in a log line.
const MAX_LOGGED_KEYS: usize = 50;

/// Counted since the spool was opened.
#[derive(Default)]
pub(super) struct Incidents {
    /// Damaged files.
    pub(super) set_aside: AtomicU64,
    /// Files that were deleted or replaced by others.
    pub(super) replaced: AtomicU64,
    /// Lost records.
    pub(super) damaged: AtomicU64,
    /// Of the file that was opened last.
    pub(super) identity: Mutex<Option<FileIdentity>>,
}

/// Opens the file, and replaces it if it is damaged. On a full disk its writes stay in memory.
pub(super) fn open_file(
    directory: &SpoolDirectory,
    closed: Option<(FileIdentity, Watermark)>,
    incidents: &Incidents,
) -> Result<SpoolFile, SpoolError> {
    let raw = directory.open()?;
    let identity = FileIdentity::of(&raw).map_err(SpoolError::io)?;
    let known = closed.filter(|(closed, _)| *closed == identity).map(|(_, watermark)| watermark);
    let file = match SpoolFile::open(directory, &raw, known, Writes::ToDisk) {
        Err(SpoolError::Damaged(damage)) => replace_file(directory, &raw, known, Some(&damage), incidents),
        Err(error) if error.is_no_space() => open_in_memory(directory, &raw, known, &error),
        result => result,
    }?;
    incidents.opened(&file);
    Ok(file)
}

/// Opens the file so that its writes stay in memory.
pub(super) fn open_in_memory(
    directory: &SpoolDirectory,
    raw: &fs::File,
    known: Option<Watermark>,
    error: &SpoolError,
) -> Result<SpoolFile, SpoolError> {
    let file = SpoolFile::open(directory, raw, known, Writes::InMemory)?;
    tracing::error!(
        spool.file = %directory.file_path().display(), spool.records = file.records, %error,
        "the spool takes no more: its disk is full; it can still be drained"
    );
    Ok(file)
}

/// Copies the intact records to a new file and puts that in place. `watermark`: that of the open file, which is newer than
/// what is found in a damaged one.
pub(super) fn replace_file(
    directory: &SpoolDirectory,
    raw: &fs::File,
    watermark: Option<Watermark>,
    damage: Option<&str>,
    incidents: &Incidents,
) -> Result<SpoolFile, SpoolError> {
    let salvage = raw.try_clone().and_then(Salvage::of).map_err(SpoolError::io)?;
    let mut salvage = match watermark {
        Some(watermark) => salvage.with_watermark(watermark),
        None => salvage,
    };
    let replacement = directory.create_replacement()?;
    let copied = SpoolFile::new(directory, &replacement, salvage.end())
        .and_then(|mut file| file.copy_from(&mut salvage).map(|saved| (file, saved)));
    let (file, saved) = copied.inspect_err(|_| directory.remove_replacement())?;
    let set_aside = directory.install_replacement(raw, damage.is_some())?;
    incidents.opened(&file);
    let (missing, lost) = salvage.missing();
    let keys: Vec<_> = missing.iter().take(MAX_LOGGED_KEYS).map(|missing| missing.key).collect();
    let set_aside = set_aside.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    incidents.damaged.fetch_add(lost, Ordering::Relaxed);
    match damage {
        Some(error) => {
            incidents.set_aside.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                spool.file = set_aside, saved, lost, spool.record_keys = ?keys, error,
                "the spool's file was damaged and is set aside; its intact records are in a new one"
            );
        }
        None => {
            incidents.replaced.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                spool.file = %directory.file_path().display(), spool.file_set_aside = set_aside, saved, lost,
                spool.record_keys = ?keys,
                "the spool's file was deleted or replaced; its intact records are in a new one"
            );
        }
    }
    Ok(file)
}

impl Incidents {
    fn opened(&self, file: &SpoolFile) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(file.identity());
    }
}

impl SpoolFile {
    /// Appends the intact records of another file, synced when it returns. Returns how many.
    fn copy_from(&mut self, salvage: &mut Salvage) -> Result<u64, SpoolError> {
        let (mut copied, mut records, mut bytes) = (0, Vec::new(), 0);
        loop {
            let intact = salvage.next_intact().map_err(SpoolError::io)?;
            let is_last = intact.is_none();
            if let Some(intact) = intact {
                bytes += cost(&intact.record);
                self.newest = self.newest.max(record::received_at(&intact.record));
                records.push(intact.record);
            }
            if is_last || bytes > COPIED_BYTES {
                self.append(&records, u64::MAX)?;
                copied += records.len() as u64;
                (records, bytes) = (Vec::new(), 0);
            }
            if is_last {
                return Ok(copied);
            }
        }
    }
}
