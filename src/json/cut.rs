//! Removing members from a document. The rest keeps its exact text, and the index is adjusted, not rebuilt.

use std::{borrow::Cow, ops::Range};

use super::{Document, Index, Text, index::Span};

impl Document<'_> {
    /// Removes the members, at any depth, whose key passes.
    pub(crate) fn without(self, mut is_unwanted: impl FnMut(Text<'_>) -> bool) -> Self {
        let spans = &self.index.0;
        let (mut members, mut position) = (Vec::new(), 0);
        while let Some(span) = spans.get(position) {
            position += 1;
            if span.is_key && is_unwanted(span.text(&self.text)) {
                let next = spans[position].next;
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
    /// The text without these members, and the ranges that were cut. A member is given by its positions in the index, from
    /// its key to behind its value; the comma before or behind it is cut too.
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
                // the last member: cut the comma before it
                let kept = out.trim_ascii_end();
                let kept = kept.strip_suffix(',').map_or(kept.len(), str::len);
                // when the member right before it was cut too, nothing was copied in between
                cut -= out.len() - kept;
                out.truncate(kept);
            }
            copied = text.len() - behind.len();
            cuts.push(cut..copied);
        }
        out.push_str(&text[copied..]);
        (out, cuts)
    }

    /// The index of the text that [`Self::cut`] returns.
    fn shifted(mut self, members: &[Range<usize>], cuts: &[Range<usize>]) -> Self {
        let (bytes, positions) = (RemovedLengths::of(cuts), RemovedLengths::of(members));
        let mut left = members;
        let (mut removed, mut kept) = (0, 0);
        for position in 0..self.0.len() {
            if let Some(member) = left.first().filter(|member| member.contains(&position)) {
                removed += 1;
                if position + 1 == member.end {
                    left = &left[1..];
                }
                continue;
            }
            let span = self.0[position];
            let shift = bytes.before(span.start);
            let is_scalar = span.next == position + 1;
            let (end, next) = match is_scalar {
                true => (span.end - shift, span.next - removed),
                false => (span.end - bytes.before(span.end), span.next - positions.before(span.next)),
            };
            self.0[kept] = Span { start: span.start - shift, end, next, ..span };
            kept += 1;
        }
        self.0.truncate(kept);
        self
    }
}

/// Removed ranges: the start of each, and the total length of it and all before it.
struct RemovedLengths(Vec<(usize, usize)>);

impl RemovedLengths {
    fn of(ranges: &[Range<usize>]) -> Self {
        let mut total = 0;
        let sums = ranges.iter().map(|range| {
            total += range.len();
            (range.start, total)
        });
        Self(sums.collect())
    }

    /// How much was removed before an offset, which is in none of the ranges.
    fn before(&self, at: usize) -> usize {
        let ranges = self.0.partition_point(|(start, _)| *start < at);
        ranges.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}
