//! CPU time of Postgres, of this process, and of nobody, in seconds.

use std::{fs, process};

use anyhow::Context;

use crate::{
    measure::Bench,
    service::{Cpu, TICKS_PER_SECOND, cpu_of, process_stat},
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
        let server = self.server.running()?.process_id();
        let mut postgres = used_by(&process_stat(server)?)?;
        for entry in fs::read_dir("/proc")? {
            let Ok(id) = entry?.file_name().to_string_lossy().parse() else { continue };
            // a process may have ended meanwhile
            let Ok(stat) = process_stat(id) else { continue };
            if stat.get(1) == Some(&server.to_string()) {
                postgres += used_by(&stat)?;
            }
        }
        Ok(Used { postgres, load: used_by(&process_stat(process::id())?)?, idle: idle()? })
    }
}

fn used_by(stat: &[String]) -> anyhow::Result<f64> {
    let Cpu { user, system } = cpu_of(stat)?;
    Ok(user + system)
}

fn idle() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let idle = text.lines().next().and_then(|line| line.split_whitespace().nth(4)).context("/proc/stat has no idle")?;
    Ok(idle.parse::<f64>()? / TICKS_PER_SECOND)
}
