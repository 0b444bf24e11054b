//! What the clients know of their deliveries, compared with what is recorded.

use std::{collections::HashMap, fmt};

use crate::support::connection::Outcome;

/// Findings that are shown; the rest is counted.
const SHOWN: usize = 20;

/// Something that was said of a booking, and what became of it each time that it was said.
#[derive(Debug)]
pub struct Sent {
    pub provider: &'static str,
    pub booking: String,
    /// Tells the revisions of a booking apart.
    pub says: u32,
    acknowledged: u32,
    refused: u32,
    in_doubt: u32,
}

impl Sent {
    pub fn new(provider: &'static str, booking: String, says: u32) -> Self {
        Self { provider, booking, says, acknowledged: 0, refused: 0, in_doubt: 0 }
    }

    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Acknowledged => self.acknowledged += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::InDoubt => self.in_doubt += 1,
        }
    }

    /// How many rows there may be of it: one, whether it was acknowledged once or more. Only what was not acknowledged
    /// may have been taken all the same, and at any time: after a later revision it is news once more.
    fn most_rows(&self) -> usize {
        let unsure = self.refused + self.in_doubt;
        let most = if self.booking.contains("revised") { unsure + u32::from(self.acknowledged > 0) } else { 1 };
        if self.acknowledged + unsure == 0 { 0 } else { most as usize }
    }
}

/// A row of `ticket_events`.
#[derive(Debug, sqlx::FromRow)]
pub struct Recorded {
    pub booking_ref: String,
    pub says: i32,
    pub revision: i32,
    pub late: bool,
    pub delivery_count: i32,
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Findings {
    pub acknowledged: u64,
    pub refused: u64,
    pub in_doubt: u64,
    pub rows: u64,
    /// Acknowledged and not there: neither as a row nor counted on one.
    lost: u64,
    /// Rows beyond what was sent, and what was sent once and is counted twice.
    doubled: u64,
    /// Rows of what was never sent.
    strange: u64,
    /// Revisions that stand before an earlier one.
    disordered: u64,
    /// Rows marked late: one service keeps the order.
    late: u64,
    /// Repetitions counted twice, for the answer to a commit was lost.
    recounted: u64,
    examples: Vec<String>,
}

/// Each client's deliveries in their order, and all rows of the round.
pub fn compare(sent: &[Vec<Sent>], rows: Vec<Recorded>) -> Findings {
    let mut findings = Findings { rows: rows.len() as u64, ..Findings::default() };
    let mut recorded: HashMap<(String, u32), Vec<Recorded>> = HashMap::new();
    for row in rows {
        let key = (row.booking_ref.clone(), row.says.try_into().unwrap());
        recorded.entry(key).or_default().push(row);
    }
    // of each booking the revision of what was acknowledged last
    let mut newest: HashMap<&str, i32> = HashMap::new();
    for sent in sent.iter().flatten() {
        let rows = recorded.remove(&(sent.booking.clone(), sent.says)).unwrap_or_default();
        let counted: i64 = rows.iter().map(|row| i64::from(row.delivery_count)).sum();
        let copies = i64::from(sent.acknowledged + sent.refused + sent.in_doubt);
        findings.acknowledged += u64::from(sent.acknowledged);
        findings.refused += u64::from(sent.refused);
        findings.in_doubt += u64::from(sent.in_doubt);
        let lost = i64::from(sent.acknowledged) - counted;
        let beyond = counted - copies.max(rows.len() as i64);
        // only a repetition may be counted again, for it leaves no id of its own
        let (recounted, doubled) = if copies > 1 { (beyond, 0) } else { (0, beyond) };
        let doubled = rows.len().saturating_sub(sent.most_rows()) + doubled.max(0) as usize;
        let late = rows.iter().filter(|row| row.late).count();
        let first = rows.iter().filter(|row| !row.late).map(|row| row.revision).min();
        let is_disordered = sent.acknowledged > 0
            && first.is_some_and(|first| newest.insert(&sent.booking, first).is_some_and(|before| before >= first));
        findings.lost += lost.max(0) as u64;
        findings.doubled += doubled as u64;
        findings.recounted += recounted.max(0) as u64;
        findings.late += late as u64;
        findings.disordered += u64::from(is_disordered);
        if lost > 0 || doubled > 0 || late > 0 || is_disordered {
            findings.examples.push(format!("{sent:?}: {rows:?}"));
        }
    }
    findings.strange = recorded.values().map(|rows| rows.len() as u64).sum();
    findings.examples.extend(recorded.into_values().map(|rows| format!("never sent: {rows:?}")));
    findings.examples.truncate(SHOWN);
    findings
}

impl Findings {
    /// Whether everything is as it must be, but so many deliveries that may be missing.
    pub fn is_clean(&self, may_lose: u64) -> bool {
        self.lost.saturating_sub(may_lose) + self.doubled + self.strange + self.disordered + self.late == 0
    }

    /// The sum.
    pub fn and(mut self, other: &Self) -> Self {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.in_doubt += other.in_doubt;
        self.rows += other.rows;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.strange += other.strange;
        self.disordered += other.disordered;
        self.late += other.late;
        self.recounted += other.recounted;
        self
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "acknowledged {:5}  refused {:4}  in doubt {:2}  lost {}  doubled {}  never sent {}  out of order {}  late {}  \
             recounted {}",
            self.acknowledged,
            self.refused,
            self.in_doubt,
            self.lost,
            self.doubled,
            self.strange,
            self.disordered,
            self.late,
            self.recounted
        )
    }
}
