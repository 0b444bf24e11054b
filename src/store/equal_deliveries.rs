//! Consecutive equal deliveries: deliveries of one booking in a batch that follow one another with the same content.
//!
//! They are one row of a statement. The groups of one booking, in their order, are its chain.
//!
//! Invariant: chains are in the same order in every replica, so that two of them cannot deadlock.

use std::collections::{HashMap, hash_map::Entry};

use time::OffsetDateTime;

use crate::{
    delivery::Outcome,
    ticket_event::{Environment, TicketEvent},
};

/// A group of consecutive equal deliveries.
pub(super) struct EqualDeliveries<'a> {
    /// The first of them.
    pub(super) event: &'a TicketEvent,
    /// Positions in the batch.
    pub(super) members: Vec<usize>,
    pub(super) last_received_at: OffsetDateTime,
    /// Deliveries that the first stands for beside itself: it was counted before it was reprocessed.
    repetitions: i32,
}

impl<'a> EqualDeliveries<'a> {
    /// One delivery that stands for `count`.
    pub(super) fn counted(event: &'a TicketEvent, count: i32, last_received_at: OffsetDateTime) -> Self {
        Self { event, members: vec![0], last_received_at, repetitions: count - 1 }
    }

    pub(super) fn delivery_count(&self) -> i32 {
        i32::try_from(self.members.len()).unwrap_or(i32::MAX).saturating_add(self.repetitions)
    }

    /// Groups the deliveries at these positions, chain by chain.
    pub(super) fn group(events: &[&'a TicketEvent], positions: &[usize]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::with_capacity(positions.len());
        let mut last_of_booking: HashMap<_, usize> = HashMap::with_capacity(positions.len());
        for index in positions {
            let event = events[*index];
            let group = Self { event, members: vec![*index], last_received_at: event.received_at, repetitions: 0 };
            match last_of_booking.entry(group.booking()) {
                Entry::Occupied(entry) if groups[*entry.get()].event.content_hash == event.content_hash => {
                    let group = &mut groups[*entry.get()];
                    group.members.push(*index);
                    group.last_received_at = group.last_received_at.max(event.received_at);
                }
                entry => {
                    entry.insert_entry(groups.len());
                    groups.push(group);
                }
            }
        }
        // stable: within a booking the order of the batch stays
        groups.sort_by_key(Self::booking);
        groups
    }

    /// The key of its booking.
    pub(super) fn booking(&self) -> (&'a str, Environment, &'a str) {
        (self.event.provider, self.event.environment, &self.event.booking.booking_ref)
    }

    pub(super) fn passengers(&self) -> String {
        serde_json::to_string(&self.event.booking.passengers).expect("passengers have no keys but strings")
    }

    /// Splits off the members behind the first that were received after this time.
    pub(super) fn split_off_after(&mut self, events: &[&TicketEvent], counted_until: OffsetDateTime) -> Vec<usize> {
        // Postgres keeps microseconds
        let micros = |moment: OffsetDateTime| moment.unix_timestamp_nanos() / 1000;
        let first = self.members[0];
        let is_counted =
            |member: &usize| *member == first || micros(events[*member].received_at) <= micros(counted_until);
        let (counted, uncounted) = self.members.iter().copied().partition(is_counted);
        self.members = counted;
        uncounted
    }

    /// Gives the first this outcome; the others are duplicates of it, if it has a revision.
    pub(super) fn assign(&self, outcome: &Outcome, outcomes: &mut [Option<Outcome>]) {
        let repeated = match outcome {
            Outcome::Recorded { revision, .. } => Outcome::Duplicate { event_id: self.event.id, revision: *revision },
            other => other.clone(),
        };
        for (position, member) in self.members.iter().enumerate() {
            outcomes[*member] = Some(if position == 0 { outcome.clone() } else { repeated.clone() });
        }
    }
}

/// For each group the number of its chain and its position there, both from 1.
pub(super) fn chain_positions(groups: &[&EqualDeliveries<'_>]) -> (Vec<i32>, Vec<i32>) {
    let (mut chain, mut position) = (0, 0);
    let mut previous = None;
    let positions = groups.iter().map(|group| {
        let booking = Some(group.booking());
        (chain, position) = if booking == previous { (chain, position + 1) } else { (chain + 1, 1) };
        previous = booking;
        (chain, position)
    });
    positions.unzip()
}
