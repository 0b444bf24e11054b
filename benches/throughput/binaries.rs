//! Several binaries of the service in turn, for whoever changes it.

use std::path::PathBuf;

use crate::measure::{Bench, DATABASE, Figures, median};

const CONNECTIONS: [usize; 3] = [1, 64, 256];

/// Prints the medians of each, and of the ratios of its rates to those of the first.
pub fn run(bench: &Bench, binaries: &[PathBuf]) -> anyhow::Result<()> {
    let mut figures = vec![vec![Vec::new(); CONNECTIONS.len()]; binaries.len()];
    for _ in 0..bench.rounds {
        for (at, connections) in CONNECTIONS.into_iter().enumerate() {
            for (binary, figures) in binaries.iter().zip(&mut figures) {
                let service = bench.service_of(binary, DATABASE, &[])?;
                figures[at].push(bench.measure(&service, connections)?);
            }
        }
    }
    for (binary, of_binary) in binaries.iter().zip(&figures) {
        for (connections, (of_these, of_first)) in CONNECTIONS.iter().zip(of_binary.iter().zip(&figures[0])) {
            let ratio = median(of_these.iter().zip(of_first).map(|(these, first)| these.rate / first.rate));
            let name = binary.display();
            println!("{name}, {connections} connections: {ratio:.3}, {}", Figures::median(of_these));
        }
    }
    Ok(())
}
