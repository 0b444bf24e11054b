//! CPU time of Postgres, of this process, and of nobody, in seconds.

use std::{fs, process};

use anyhow::Context;

use crate::measure::Bench;

/// Unit of the CPU times in `/proc`; 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

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
        let pid_file = fs::read_to_string(self.directory.join("postgres/data/postmaster.pid"))?;
        let server: u32 = pid_file.lines().next().context("postmaster.pid is empty")?.parse()?;
        let mut postgres = of_process(server)?;
        for entry in fs::read_dir("/proc")? {
            let Ok(id) = entry?.file_name().to_string_lossy().parse() else { continue };
            // a process may end meanwhile
            if stat(id).is_ok_and(|fields| fields.get(1) == Some(&server.to_string())) {
                postgres += of_process(id).unwrap_or(0.0);
            }
        }
        Ok(Used { postgres, load: of_process(process::id())?, idle: idle()? })
    }
}

/// User and system time.
fn of_process(id: u32) -> anyhow::Result<f64> {
    let mut seconds = 0.0;
    for ticks in stat(id)?.get(11..13).context("/proc/PID/stat is shorter than expected")? {
        seconds += ticks.parse::<f64>()? / TICKS_PER_SECOND;
    }
    Ok(seconds)
}

fn idle() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let idle = text.lines().next().and_then(|line| line.split_whitespace().nth(4)).context("/proc/stat has no idle")?;
    Ok(idle.parse::<f64>()? / TICKS_PER_SECOND)
}

/// The fields of `/proc/PID/stat` behind the name in parentheses, which may contain spaces.
fn stat(id: u32) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}
