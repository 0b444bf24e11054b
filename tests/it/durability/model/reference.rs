//! The reference: what the contract says must be answered and recorded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::deliveries::{Content, Sent};

/// The position of the provider that has `unknown_booking = "reject"`.
pub const REJECTING: usize = 2;

/// One possible state of the tables and the spools.
#[derive(Clone, Default)]
pub struct Reference {
    revisions: Vec<Revision>,
    /// Of each delivery that became an event or a duplicate: when it was received, and the position of its revision.
    received: Vec<(u64, usize)>,
    unprocessed: BTreeMap<(String, String, &'static str), u32>,
    expected: BTreeSet<Key>,
    replicas: [Replica; 2],
    /// Rises with each delivery.
    time: u64,
}

#[derive(Clone, Default)]
struct Replica {
    is_cut: bool,
    spool: VecDeque<(Sent, u64)>,
}

/// Provider, environment, booking reference.
type Key = (&'static str, &'static str, String);

/// A row of `ticket_events`. Times count deliveries.
#[derive(Clone)]
struct Revision {
    key: Key,
    sent: Sent,
    revision: u32,
    is_late: bool,
    previous_status: Option<&'static str>,
    last_received: u64,
    deliveries: u32,
}

fn key(sent: &Sent) -> Key {
    (sent.provider().name, sent.environment(), sent.booking_ref())
}

/// What a provider is answered to this kind of delivery, once it is durable.
fn reply(sent: &Sent) -> (u16, Option<&'static str>) {
    let says_422 = sent.provider == 0;
    match sent.content {
        Content::Event => (200, None),
        Content::UnsupportedType => (200, Some("unsupported_type")),
        Content::Malformed => (if says_422 { 422 } else { 400 }, Some("malformed")),
        Content::Invalid => (422, Some("invalid")),
        Content::NoTicket => (422, Some("no_ticket")),
        Content::Unauthenticated => (401, None),
    }
}

impl Reference {
    /// Takes a delivery in and says which status it is answered with.
    pub fn deliver(&mut self, replica: usize, sent: &Sent) -> u16 {
        if sent.content == Content::Unauthenticated {
            return 401;
        }
        self.time += 1;
        let received = self.time;
        if self.replicas[replica].is_cut {
            self.replicas[replica].spool.push_back((sent.clone(), received));
            return reply(sent).0;
        }
        self.record(&[(sent.clone(), received)], false)
    }

    pub fn cut(&mut self, replica: usize) {
        self.replicas[replica].is_cut = true;
    }

    /// A spool is drained in the order of receipt. Deliveries of one booking that follow one another there and say the
    /// same are recorded together: late only when the last of them was overtaken.
    pub fn mend(&mut self, replica: usize) {
        self.replicas[replica].is_cut = false;
        let mut groups: Vec<Vec<(Sent, u64)>> = Vec::new();
        for (sent, received) in std::mem::take(&mut self.replicas[replica].spool) {
            let is_event = sent.content == Content::Event;
            let of_booking =
                |group: &&mut Vec<(Sent, u64)>| group[0].0.content == Content::Event && key(&group[0].0) == key(&sent);
            match groups.iter_mut().rev().find(of_booking) {
                Some(group) if is_event && group[0].0.variant == sent.variant => group.push((sent, received)),
                _ => groups.push(vec![(sent, received)]),
            }
        }
        for group in groups {
            self.record(&group, true);
        }
    }

    pub fn is_cut(&self, replica: usize) -> bool {
        self.replicas[replica].is_cut
    }

    pub fn expect(&mut self, sent: &Sent) {
        self.expected.insert(key(sent));
    }

    /// Records deliveries that say the same, in the order of receipt. Only what waited in a spool can be late.
    fn record(&mut self, equal: &[(Sent, u64)], was_spooled: bool) -> u16 {
        let ((sent, first), (_, last)) = (&equal[0], &equal[equal.len() - 1]);
        let (status, reason) = reply(sent);
        let key = key(sent);
        let is_unknown = sent.provider == REJECTING && !self.expected.contains(&key);
        if let Some(reason) = reason.or(is_unknown.then_some("unknown_booking")) {
            equal.iter().for_each(|(sent, _)| self.keep(sent, reason));
            return if reason == "unknown_booking" { 404 } else { status };
        }
        let of_booking = || (0..self.revisions.len()).filter(|at| self.revisions[*at].key == key);
        let state = of_booking().rfind(|at| !self.revisions[*at].is_late);
        let is_late = was_spooled && state.is_some_and(|at| self.revisions[at].last_received > *last);
        let is_before = |(time, at): &&(u64, usize)| time < first && self.revisions[*at].key == key;
        let before = self.received.iter().filter(is_before).max().map(|(_, at)| *at);
        let basis = if is_late { before } else { state };
        let says_nothing_new = |at: &usize| self.revisions[*at].sent.variant == sent.variant;
        let revision = u32::try_from(of_booking().count()).unwrap() + 1;
        let previous_status = basis.map(|at| self.revisions[at].sent.status());
        let known = state.filter(says_nothing_new).or(basis.filter(says_nothing_new));
        let at = known.unwrap_or(self.revisions.len());
        if known.is_none() {
            let (sent, last_received) = (sent.clone(), *last);
            let row = Revision { key, sent, revision, is_late, previous_status, last_received, deliveries: 0 };
            self.revisions.push(row);
        }
        let row = &mut self.revisions[at];
        row.deliveries += u32::try_from(equal.len()).unwrap();
        row.last_received = row.last_received.max(*last);
        self.received.extend(equal.iter().map(|(_, time)| (*time, at)));
        status
    }

    fn keep(&mut self, sent: &Sent, reason: &'static str) {
        let account = format!("{} {} {}", sent.provider().name, sent.account(), sent.environment());
        *self.unprocessed.entry((account, sent.body(), reason)).or_default() += 1;
    }

    /// `ticket_events`, as [`super::world::EVENTS`] selects it.
    pub fn events(&self) -> Vec<Value> {
        let mut revisions: Vec<_> = self.revisions.iter().collect();
        revisions.sort_by_key(|row| (row.key.clone(), row.revision));
        let row = |row: &Revision| {
            json!({
                "provider": row.key.0, "environment": row.key.1, "booking_ref": row.key.2, "revision": row.revision,
                "account": row.sent.account(), "late": row.is_late, "status": row.sent.status(),
                "previous_status": row.previous_status, "note": row.sent.note(), "delivery_count": row.deliveries,
            })
        };
        revisions.into_iter().map(row).collect()
    }

    /// `unprocessed_deliveries`, as [`super::world::UNPROCESSED`] selects it.
    pub fn unprocessed(&self) -> Vec<Value> {
        let mut counts: BTreeMap<(&str, &str, u32), u32> = BTreeMap::new();
        for ((account, _, reason), count) in &self.unprocessed {
            *counts.entry((account, reason, *count)).or_default() += 1;
        }
        let row = |((account, reason, count), rows): (&(&str, &str, u32), &u32)| json!({"account": account, "reason": reason, "delivery_count": count, "rows": rows});
        counts.iter().map(row).collect()
    }
}
