//! What the clients know of their deliveries, compared with what is recorded.

use std::{collections::HashMap, fmt, time::Duration};

/// Findings that are shown; the rest is counted.
const SHOWN: usize = 10;

/// What became of a delivery. None is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// Answered with this status.
    Refused(u16),
    /// There was no connection, or it broke before the answer.
    Broken,
}

/// A delivery; no other has the same booking and says the same of it.
#[derive(Debug)]
pub struct Sent {
    pub booking: String,
    pub says: u32,
    pub outcome: Outcome,
    pub took: Duration,
}

/// A row of `ticket_events`.
#[derive(Debug)]
pub struct Row {
    pub booking: String,
    pub says: u32,
    pub late: bool,
    pub delivery_count: u32,
}

#[derive(Debug, Default)]
pub struct Findings {
    sent: u64,
    pub acknowledged: u64,
    refused: u64,
    broken: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There more than once, or counted more than once.
    pub doubled: u64,
    /// There and never sent.
    pub strange: u64,
    /// Recorded although it was not acknowledged, which is no fault.
    unacknowledged: u64,
    /// Overtaken by others while it was in a spool, which is no fault either.
    late: u64,
    /// How often it was refused with which status.
    statuses: HashMap<u16, u64>,
    examples: Vec<String>,
}

/// All that was sent, and all rows of it.
pub fn compare(sent: &[Sent], rows: &[Row]) -> Findings {
    let mut findings = Findings { sent: sent.len() as u64, ..Findings::default() };
    let mut recorded: HashMap<(&str, u32), Vec<&Row>> = HashMap::new();
    for row in rows {
        recorded.entry((&row.booking, row.says)).or_default().push(row);
        findings.late += u64::from(row.late);
    }
    for sent in sent {
        match sent.outcome {
            Outcome::Acknowledged => findings.acknowledged += 1,
            Outcome::Refused(status) => {
                findings.refused += 1;
                *findings.statuses.entry(status).or_default() += 1;
            }
            Outcome::Broken => findings.broken += 1,
        }
        let rows = recorded.remove(&(sent.booking.as_str(), sent.says)).unwrap_or_default();
        let counted: u32 = rows.iter().map(|row| row.delivery_count).sum();
        let is_acknowledged = sent.outcome == Outcome::Acknowledged;
        let is_lost = is_acknowledged && rows.is_empty();
        findings.lost += u64::from(is_lost);
        findings.doubled += u64::from(counted.saturating_sub(1));
        findings.unacknowledged += u64::from(!is_acknowledged && !rows.is_empty());
        if is_lost || counted > 1 {
            findings.examples.push(format!("{sent:?}: {rows:?}"));
        }
    }
    findings.strange = recorded.values().map(|rows| rows.len() as u64).sum();
    findings.examples.extend(recorded.into_values().map(|rows| format!("never sent: {rows:?}")));
    findings.examples.truncate(SHOWN);
    findings
}

impl Findings {
    pub const HEAD: &str =
        "     sent  acknowledged  failed (refused, broken)  lost  doubled  never sent  recorded unacknowledged  late";

    /// Whether everything is as it must be.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.strange == 0
    }

    /// Deliveries that the provider takes for lost.
    pub fn failed(&self) -> u64 {
        self.refused + self.broken
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = format!("{} ({}, {})", self.failed(), self.refused, self.broken);
        write!(formatter, "{:9}  {:12}  {failed:>24}", self.sent, self.acknowledged)?;
        write!(formatter, "  {:4}  {:7}  {:10}", self.lost, self.doubled, self.strange)?;
        write!(formatter, "  {:23}  {:4}", self.unacknowledged, self.late)
    }
}
