//! Taking members out of a document. What remains stays to the letter, and so does the index of it: nothing is read again.

use std::{borrow::Cow, ops::Range};

use super::{Document, Index, Text, index::Place};

impl Document<'_> {
    /// The document without the members whose key passes, those inside others included. What remains stays to the letter.
    pub(crate) fn without(self, mut is_unwanted: impl FnMut(Text<'_>) -> bool) -> Self {
        let places = &self.index.0;
        let (mut members, mut position) = (Vec::new(), 0);
        while let Some(place) = places.get(position) {
            position += 1;
            if place.is_key && is_unwanted(place.text(&self.text)) {
                let next = places[position].next;
                members.push(position - 1..next);
                position = next;
            }
        }
        if members.is_empty() {
            return self;
        }
        let (text, cuts) = self.index.cut(&self.text, &members);
        Self { text: Cow::Owned(text), index: self.index.shifted(&members, &cuts) }
    }
}

impl Index {
    /// A text without these members, each from the position of its key to that behind its value, and where it was cut: the
    /// comma before or behind a member goes with it.
    fn cut(&self, text: &str, members: &[Range<usize>]) -> (String, Vec<Range<usize>>) {
        let mut out = String::with_capacity(text.len());
        let (mut cuts, mut copied) = (Vec::with_capacity(members.len()), 0);
        for member in members {
            let (start, end) = (self.0[member.start].start, self.0[member.start + 1].end);
            out.push_str(&text[copied..start]);
            let mut cut = start;
            let mut behind = text[end..].trim_ascii_start();
            if let Some(rest) = behind.strip_prefix(',') {
                behind = rest.trim_ascii_start();
            } else {
                // it was the last one
                let kept = out.trim_ascii_end();
                let kept = kept.strip_suffix(',').map_or(kept.len(), str::len);
                // nothing else was copied since a member that went right before it
                cut -= out.len() - kept;
                out.truncate(kept);
            }
            copied = text.len() - behind.len();
            cuts.push(cut..copied);
        }
        out.push_str(&text[copied..]);
        (out, cuts)
    }

    /// The index of a text that was cut.
    fn shifted(mut self, members: &[Range<usize>], cuts: &[Range<usize>]) -> Self {
        let (characters, places) = (Gone::of(cuts), Gone::of(members));
        let mut left = members;
        let (mut gone, mut kept) = (0, 0);
        for position in 0..self.0.len() {
            if let Some(member) = left.first().filter(|member| member.contains(&position)) {
                gone += 1;
                if position + 1 == member.end {
                    left = &left[1..];
                }
                continue;
            }
            let place = self.0[position];
            let shift = characters.before(place.start);
            let is_leaf = place.next == position + 1;
            let (end, next) = match is_leaf {
                true => (place.end - shift, place.next - gone),
                false => (place.end - characters.before(place.end), place.next - places.before(place.next)),
            };
            self.0[kept] = Place { start: place.start - shift, end, next, ..place };
            kept += 1;
        }
        self.0.truncate(kept);
        self
    }
}

/// How much is gone: of every range its start, and the length of it and those before it.
struct Gone(Vec<(usize, usize)>);

impl Gone {
    fn of(ranges: &[Range<usize>]) -> Self {
        let mut total = 0;
        let sums = ranges.iter().map(|range| {
            total += range.len();
            (range.start, total)
        });
        Self(sums.collect())
    }

    /// Before a place that is not in one of the ranges.
    fn before(&self, at: usize) -> usize {
        let ranges = self.0.partition_point(|(start, _)| *start < at);
        ranges.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}
