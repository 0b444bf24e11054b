//! Finds the records of a file by their frames alone, whatever happened to the `redb` database around them.
//!
//! The free pages of a file have copies of drained records, which are not listed.
//!
//! Invariants:
//!
//! - Keys below the highest watermark were drained.
//! - Keys that a frame or a watermark skips (`previous_key`) were never used: their batch did not commit.
//! - Every other key up to the highest was acknowledged: its record is found intact, or reported as missing.
//! - Memory is bounded: a million frame positions are held at a time, and records are read one by one.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    os::unix::fs::FileExt,
};

use super::{
    frame::{self, Watermark},
    scan::scan_frames,
};

/// Frame positions that are held at once.
const MAX_ENTRIES: usize = 1 << 20;

/// Missing records that are listed; further ones are only counted.
const MAX_LISTED: usize = 10_000;

/// A record whose checksum is right.
#[derive(Debug)]
pub struct IntactRecord {
    /// Rises in the order of the records.
    pub key: u64,
    /// For [`super::record::decode`].
    pub record: Vec<u8>,
}

/// A record of which the file has no intact frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    pub key: u64,
    /// Offset and size in bytes of its damaged frame, if that was found.
    pub damaged_frame: Option<(u64, usize)>,
}

/// The position of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: u64,
    checksum: u32,
    offset: u64,
    bytes: usize,
}

/// Reads the records of a file in their order.
#[derive(Debug)]
pub struct Salvage {
    raw: fs::File,
    watermark: Watermark,
    /// Above every key in the file.
    end: u64,
    /// The keys between the two of a pair were never used.
    unused: Vec<(u64, u64)>,
    /// By key: offset and size in bytes.
    damaged: BTreeMap<u64, (u64, usize)>,
    entries: VecDeque<Entry>,
    /// There are more records than in `entries`.
    has_more: bool,
    is_loaded: bool,
    /// The lowest key that was neither returned nor reported yet.
    expected: u64,
    missing: Vec<Missing>,
    missing_count: u64,
    drained: u64,
}

impl Salvage {
    /// Scans the whole file, which is only read.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of(raw: fs::File) -> io::Result<Self> {
        let (mut watermark, mut end, mut first) = (None, 0, u64::MAX);
        let (mut unused, mut damaged) = (Vec::new(), BTreeMap::new());
        scan_frames(&raw, |offset, header, frame| {
            if header.is_watermark {
                if let Some(found) = header.watermark(frame) {
                    watermark = watermark.max(Some(found));
                    unused.push((found.last_key, found.next_key));
                }
            } else if header.payload(frame).is_some() {
                (end, first) = (end.max(header.key + 1), first.min(header.key));
                unused.push((header.previous_key, header.key));
            } else {
                damaged.insert(header.key, (offset, header.bytes));
            }
            // nearly all are empty
            unused.pop_if(|(previous, key)| *previous + 1 >= *key);
            if damaged.len() > MAX_LISTED {
                damaged.pop_first();
            }
        })?;
        unused.sort_unstable();
        unused.dedup();
        // every file has a watermark: if it is damaged, the file begins with the first record that is left
        let first_pending = if end == 0 { 1 } else { first };
        let watermark = watermark.unwrap_or(Watermark { first_pending, next_key: 1, last_key: 0 });
        let end = damaged.last_key_value().map_or(end, |(key, _)| end.max(key + 1)).max(watermark.first_pending);
        Ok(Self {
            raw,
            watermark,
            end,
            unused,
            damaged,
            entries: VecDeque::new(),
            has_more: true,
            is_loaded: false,
            expected: watermark.first_pending,
            missing: Vec::new(),
            missing_count: 0,
            drained: 0,
        })
    }

    /// Takes the known range of keys over what was found.
    pub(super) fn with_watermark(mut self, known: Watermark) -> Self {
        self.watermark.first_pending = self.watermark.first_pending.max(known.first_pending);
        self.end = self.end.max(known.next_key);
        self.starting_at(known.first_pending)
    }

    /// Skips lower keys.
    pub(super) fn starting_at(mut self, key: u64) -> Self {
        self.expected = self.expected.max(key);
        self
    }

    /// The next intact record. At `None`, [`Self::missing`] is complete.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn next_intact(&mut self) -> io::Result<Option<IntactRecord>> {
        loop {
            let Some(entry) = self.entries.pop_front() else {
                if self.is_loaded && !self.has_more {
                    self.report_missing_below(self.end);
                    return Ok(None);
                }
                self.load()?;
                continue;
            };
            let mut frame = vec![0; entry.bytes];
            // the service may have overwritten it meanwhile
            let is_read = self.raw.read_exact_at(&mut frame, entry.offset).is_ok();
            if let Some((key, _, record)) = frame::open(&frame).filter(|(key, ..)| is_read && *key == entry.key) {
                self.report_missing_below(key);
                self.expected = self.expected.max(key + 1);
                return Ok(Some(IntactRecord { key, record }));
            }
        }
    }

    /// The missing records, of which the first ten thousand are listed, and their number.
    pub fn missing(&self) -> (&[Missing], u64) {
        (&self.missing, self.missing_count)
    }

    /// Copies of drained records in the file.
    pub fn drained(&self) -> u64 {
        self.drained
    }

    /// Records below this key were drained.
    pub fn first_pending(&self) -> u64 {
        self.watermark.first_pending
    }

    pub(super) fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Above every key in the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Finds the frames of the next records.
    fn load(&mut self) -> io::Result<()> {
        let (from, mut entries, mut drained) = (self.expected, Vec::new(), 0);
        let mut is_cut = false;
        let unused = &self.unused;
        scan_frames(&self.raw, |offset, header, frame| {
            if header.is_watermark || header.payload(frame).is_none() {
                return;
            }
            if header.key < self.watermark.first_pending {
                drained += 1;
            }
            if header.key < from || next_used(unused, header.key).is_some() {
                return;
            }
            let checksum = crc32fast::hash(frame);
            entries.push(Entry { key: header.key, checksum, offset, bytes: header.bytes });
            if entries.len() == 2 * MAX_ENTRIES {
                is_cut |= keep_lowest(&mut entries);
            }
        })?;
        is_cut |= keep_lowest(&mut entries);
        (self.drained, self.entries, self.has_more, self.is_loaded) = (drained, entries.into(), is_cut, true);
        Ok(())
    }

    fn report_missing_below(&mut self, key: u64) {
        while self.expected < key {
            if let Some(next) = next_used(&self.unused, self.expected) {
                self.expected = next;
                continue;
            }
            if self.missing.len() < MAX_LISTED {
                let damaged_frame = self.damaged.get(&self.expected).copied();
                self.missing.push(Missing { key: self.expected, damaged_frame });
            }
            self.missing_count += 1;
            self.expected += 1;
        }
    }
}

/// For a key that was never used, the next that may have been.
fn next_used(unused: &[(u64, u64)], key: u64) -> Option<u64> {
    let range = unused.iter().find(|(previous, next)| *previous < key && key < *next);
    range.map(|(_, next)| *next)
}

/// Keeps the entries with the lowest keys, each frame once. Returns whether some were dropped.
fn keep_lowest(entries: &mut Vec<Entry>) -> bool {
    entries.sort_unstable();
    entries.dedup_by_key(|entry| (entry.key, entry.checksum));
    let is_cut = entries.len() > MAX_ENTRIES;
    entries.truncate(MAX_ENTRIES);
    is_cut
}
