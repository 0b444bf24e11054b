//! CPU time of Postgres, of this process, and of nobody, in seconds.

use std::{fs, process};

use anyhow::Context;

use crate::{
    measure::Bench,
    service::{Cpu, TICKS_PER_SECOND, cpu_of, cpu_of_family, process_stat},
};

/// What was used so far.
#[derive(Clone, Copy)]
pub struct Used {
    /// By the processes of Postgres that run.
    pub postgres: f64,
    /// By this process, which is the load generator.
    pub load: f64,
    /// How long processors were idle, all together.
    pub idle: f64,
}

impl Bench {
    pub fn cpu(&self) -> anyhow::Result<Used> {
        let postgres = sum(cpu_of_family(self.server.running()?.process_id())?);
        let load = sum(cpu_of(&process_stat(process::id())?)?);
        Ok(Used { postgres, load, idle: idle()? })
    }
}

fn sum(Cpu { user, system }: Cpu) -> f64 {
    user + system
}

fn idle() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let idle = text.lines().next().and_then(|line| line.split_whitespace().nth(4)).context("/proc/stat has no idle")?;
    Ok(idle.parse::<f64>()? / TICKS_PER_SECOND)
}
