//! What became of attempts: what is to be recorded of them, and how far the forward is then.

use std::ops::Bound;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Schedule, Settled};
use crate::{
    forward::{
        answer::{Answer, Outcome},
        attempt::{AttemptResult, Finished},
        backoff::backoff,
    },
    store::{Cursor, ForwardItem, ForwardProgress, Position},
};

/// After an attempt in which nothing was sent.
const UNSENT_DELAY: time::Duration = time::Duration::seconds(2);

impl Schedule {
    /// What is to be recorded of attempts. `random` gives numbers from 0 to 1.
    pub(in crate::forward) fn settle(
        &mut self,
        finished: Vec<Finished>,
        now: Instant,
        wall_clock: OffsetDateTime,
        random: impl Fn() -> f64,
    ) -> Settled {
        let (mut dropped, mut delivered) = (std::mem::take(&mut self.skipped), Vec::new());
        let mut lanes = Vec::with_capacity(finished.len());
        let mut is_receiver_gone = false;
        for Finished { position, result } in finished {
            lanes.push(self.entries[&position].item.booking.clone());
            match result {
                AttemptResult::Answered(Answer { outcome: Outcome::Delivered, .. }) => {
                    delivered.extend(self.finish(position));
                    if self.receiver.succeeded(now) {
                        self.make_due(now);
                    }
                }
                AttemptResult::Answered(answer) => {
                    is_receiver_gone |= answer.outcome == Outcome::Gone;
                    let is_first = self.fail(position, &answer, wall_clock, random());
                    self.receiver.failed(&answer, is_first, now);
                }
                AttemptResult::Unsent => self.put_off(position, wall_clock),
                AttemptResult::Unwanted => dropped.extend(self.finish(position)),
            }
        }
        let scanned = self.scanned();
        let kept: Vec<_> = self.unrecorded.range(..=scanned.position).copied().collect();
        let kept = kept.into_iter().map(|position| self.keep(position)).collect();
        let not_before =
            self.receiver.not_before(now).and_then(|time| wall_clock.checked_add((time - now).try_into().ok()?));
        let position = self.entries.values().next().map_or(self.read_to, |entry| entry.item.preceding);
        Settled {
            progress: ForwardProgress { scanned, position, delivered, dropped, kept, is_receiver_gone, not_before },
            lanes,
        }
    }

    /// An item is done. Its id, if it has a row in the database.
    fn finish(&mut self, position: Position) -> Option<uuid::Uuid> {
        self.last_tried = self.last_tried.max(position);
        self.unrecorded.remove(&position);
        let entry = self.entries.remove(&position).expect("an item in flight is here");
        entry.is_kept.then_some(entry.item.id)
    }

    /// Whether it was the first attempt.
    fn fail(&mut self, position: Position, answer: &Answer, wall_clock: OffsetDateTime, random: f64) -> bool {
        self.last_tried = self.last_tried.max(position);
        self.unrecorded.insert(position);
        let item = &mut self.entries.get_mut(&position).expect("an item in flight is here").item;
        item.attempts = item.attempts.saturating_add(1);
        let wait = backoff(item.attempts.unsigned_abs(), random).max(answer.retry_after.unwrap_or_default());
        item.first_attempt_at = item.first_attempt_at.or(Some(wall_clock));
        item.last_attempt_at = Some(wall_clock);
        item.last_outcome = Some(answer.text());
        item.next_attempt_at = wall_clock.checked_add(wait.try_into().unwrap_or_default());
        let is_first = item.attempts == 1;
        self.drop_contents(position);
        is_first
    }

    /// Nothing was sent.
    fn put_off(&mut self, position: Position, wall_clock: OffsetDateTime) {
        let entry = self.entries.get_mut(&position).expect("an item in flight is here");
        entry.item.next_attempt_at = wall_clock.checked_add(UNSENT_DELAY);
    }

    /// The cursor up to which everything is done, not wanted, or kept: before the first item behind all that were tried.
    fn scanned(&self) -> Cursor {
        let behind = self.entries.range((Bound::Excluded(self.last_tried), Bound::Unbounded)).next();
        behind.map_or(self.read_to, |(_, entry)| entry.item.preceding)
    }

    fn keep(&mut self, position: Position) -> ForwardItem {
        self.unrecorded.remove(&position);
        let entry = self.entries.get_mut(&position).expect("what is unrecorded is here");
        entry.is_kept = true;
        entry.item.clone()
    }

    /// Of the items that wait behind one that failed.
    fn drop_contents(&mut self, position: Position) {
        let booking = &self.entries[&position].item.booking;
        for position in &self.lanes[booking].items {
            let content = self.entries.get_mut(position).and_then(|entry| entry.content.take());
            self.contents -= usize::from(content.is_some());
        }
    }
}
