//! Finds the records of a file by their frames alone, whatever has become of the tree around them.
//!
//! A file also holds copies of what was drained, in pages that are free. What is below the latest mark was drained; keys
//! that a frame's `previous` or a mark passes over were never given out (they are of batches that were not committed).
//! Everything else between the mark and the newest key was acknowledged: it is found whole, or it is missing.
//!
//! Memory is bounded: records are looked for a million keys at a time, and read one by one.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    os::unix::fs::FileExt,
};

use super::{
    frame::{self, Mark},
    scan::scan,
};

/// Places of records that are held at once.
const ENTRIES: usize = 1 << 20;

/// Missing records that are named; the rest is counted.
const NAMED: usize = 10_000;

/// A record of which every byte is right.
#[derive(Debug)]
pub struct Whole {
    /// Its key: they rise in the order of the records.
    pub key: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// The record, to be read by [`super::record::decode`].
    pub record: Vec<u8>,
}

/// A record that is not whole anywhere in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its key.
    pub key: u64,
    /// Where it begins and its size in bytes, when its damaged frame was found.
    pub place: Option<(u64, usize)>,
}

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
    mark: Mark,
    end: u64,
    spans: Vec<(u64, u64)>,
    damaged: BTreeMap<u64, (u64, usize)>,
    entries: VecDeque<Entry>,
    has_more: bool,
    is_loaded: bool,
    expected: u64,
    missing: Vec<Missing>,
    missing_count: u64,
    drained: u64,
}

impl Salvage {
    /// Surveys the whole file, which is read only.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of(raw: fs::File) -> io::Result<Self> {
        let (mut mark, mut end, mut first) = (None, 0, u64::MAX);
        let (mut spans, mut damaged) = (Vec::new(), BTreeMap::new());
        scan(&raw, |offset, header, frame| {
            if header.is_mark {
                if let Some(found) = header.mark(frame) {
                    mark = mark.max(Some(found));
                    spans.push((found.previous, found.next));
                }
            } else if header.payload(frame).is_some() {
                (end, first) = (end.max(header.key + 1), first.min(header.key));
                spans.push((header.previous, header.key));
            } else {
                damaged.insert(header.key, (offset, header.bytes));
            }
            // nearly all pass over nothing
            spans.pop_if(|(previous, key)| *previous + 1 >= *key);
            if damaged.len() > NAMED {
                damaged.pop_first();
            }
        })?;
        spans.sort_unstable();
        spans.dedup();
        // a file has a mark from its first moment: without one, the first record that is left is where it begins
        let mark = mark.unwrap_or(Mark { low: if end == 0 { 1 } else { first }, next: 1, previous: 0 });
        let end = damaged.last_key_value().map_or(end, |(key, _)| end.max(key + 1)).max(mark.low);
        Ok(Self {
            raw,
            mark,
            end,
            spans,
            damaged,
            entries: VecDeque::new(),
            has_more: true,
            is_loaded: false,
            expected: mark.low,
            missing: Vec::new(),
            missing_count: 0,
            drained: 0,
        })
    }

    /// What the file is known to hold, better than its marks may say it.
    pub(super) fn known(mut self, low: u64, end: u64) -> Self {
        (self.mark.low, self.end) = (self.mark.low.max(low), self.end.max(end));
        self.starting_at(low)
    }

    /// Only what has this key or a higher one.
    pub(super) fn starting_at(mut self, key: u64) -> Self {
        self.expected = self.expected.max(key);
        self
    }

    /// The next record. [`Self::missing`] is complete when there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn next_whole(&mut self) -> io::Result<Option<Whole>> {
        loop {
            let Some(entry) = self.entries.pop_front() else {
                if self.is_loaded && !self.has_more {
                    self.pass_over(self.end);
                    return Ok(None);
                }
                self.load()?;
                continue;
            };
            let mut frame = vec![0; entry.bytes];
            // of a file that is in use it may be gone by now
            let is_read = self.raw.read_exact_at(&mut frame, entry.offset).is_ok();
            if let Some((key, _, record)) = frame::open(&frame).filter(|(key, ..)| is_read && *key == entry.key) {
                self.pass_over(key);
                self.expected = self.expected.max(key + 1);
                return Ok(Some(Whole { key, offset: entry.offset, record }));
            }
        }
    }

    /// Records that are whole nowhere, and how many there are: not more than some thousands are named.
    pub fn missing(&self) -> (&[Missing], u64) {
        (&self.missing, self.missing_count)
    }

    /// Copies of drained records that still lie in the file.
    pub fn drained(&self) -> u64 {
        self.drained
    }

    /// The key below which everything was drained.
    pub fn low(&self) -> u64 {
        self.mark.low
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Above every key in the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The places of the next records.
    fn load(&mut self) -> io::Result<()> {
        let (from, mut entries, mut drained) = (self.expected, Vec::new(), 0);
        let mut is_cut = false;
        let spans = &self.spans;
        scan(&self.raw, |offset, header, frame| {
            if header.is_mark || header.payload(frame).is_none() {
                return;
            }
            if header.key < self.mark.low {
                drained += 1;
            }
            if header.key < from || is_passed_over(spans, header.key).is_some() {
                return;
            }
            let checksum = crc32fast::hash(frame);
            entries.push(Entry { key: header.key, checksum, offset, bytes: header.bytes });
            if entries.len() == 2 * ENTRIES {
                is_cut |= shorten(&mut entries);
            }
        })?;
        is_cut |= shorten(&mut entries);
        (self.drained, self.entries, self.has_more, self.is_loaded) = (drained, entries.into(), is_cut, true);
        Ok(())
    }

    /// What is expected below this key is missing.
    fn pass_over(&mut self, key: u64) {
        while self.expected < key {
            if let Some(next) = is_passed_over(&self.spans, self.expected) {
                self.expected = next;
                continue;
            }
            if self.missing.len() < NAMED {
                let place = self.damaged.get(&self.expected).copied();
                self.missing.push(Missing { key: self.expected, place });
            }
            self.missing_count += 1;
            self.expected += 1;
        }
    }
}

/// Whether a key was never given out; then the next that may have been.
fn is_passed_over(spans: &[(u64, u64)], key: u64) -> Option<u64> {
    let span = spans.iter().find(|(previous, next)| *previous < key && key < *next);
    span.map(|(_, next)| *next)
}

/// Leaves the lowest keys, each frame once. Whether some are left out.
fn shorten(entries: &mut Vec<Entry>) -> bool {
    entries.sort_unstable();
    entries.dedup_by_key(|entry| (entry.key, entry.checksum));
    let is_cut = entries.len() > ENTRIES;
    entries.truncate(ENTRIES);
    is_cut
}
