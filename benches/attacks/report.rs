//! The table at the end.

use crate::bench::{Bench, Loaded};

/// An attack's number and function.
pub type Attack = (u8, fn(&mut Bench) -> anyhow::Result<Vec<Row>>);

/// A row of the final table.
pub struct Row {
    attack: String,
    /// `None` for an attack without live load.
    loaded: Option<Loaded>,
    finding: String,
    pub is_failed: bool,
}

impl Row {
    /// An attack under the live load.
    pub fn loaded(attack: impl Into<String>, loaded: Loaded, finding: impl Into<String>) -> Self {
        Self { attack: attack.into(), loaded: Some(loaded), finding: finding.into(), is_failed: false }
    }

    /// An attack without live load.
    pub fn words(attack: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { attack: attack.into(), loaded: None, finding: finding.into(), is_failed: false }
    }

    /// An attack that could not be made.
    pub fn failed(number: u8, error: &anyhow::Error) -> Self {
        let finding = format!("**could not be made**: {error:#}");
        Self { attack: number.to_string(), loaded: None, finding, is_failed: true }
    }

    /// Whether acknowledged live deliveries are not recorded exactly once.
    pub fn has_lost(&self) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.lost > 0)
    }
}

/// Prints the table, with the rows of one attack together.
pub fn print(rows: &mut [(&str, Row)]) {
    let mut order: Vec<String> = Vec::new();
    for (_, row) in rows.iter() {
        if !order.contains(&row.attack) {
            order.push(row.attack.clone());
        }
    }
    rows.sort_by_key(|(_, row)| order.iter().position(|attack| *attack == row.attack));
    println!("\n| attack | | live p50 ms | live p99 ms | live refused | memory MB | found |");
    println!("|---|---|---|---|---|---|---|");
    for (turn, Row { attack, loaded, finding, .. }) in rows {
        match loaded {
            Some(Loaded { p50, p99, refused, sent, memory, lost, .. }) => {
                let lost = if *lost == 0 { String::new() } else { format!("**{lost} lost**; ") };
                println!(
                    "| {attack} | {turn} | {} | {} | {refused} of {sent} | {memory:.0} | {lost}{finding} |",
                    milliseconds(*p50),
                    milliseconds(*p99)
                );
            }
            None => println!("| {attack} | {turn} | | | | | {finding} |"),
        }
    }
}

/// Without an acknowledged delivery there is no latency.
fn milliseconds(latency: f64) -> String {
    if latency.is_nan() { "none".to_owned() } else { format!("{latency:.1}") }
}
