//! A server process under load: the release binary of this service, or one it is compared with, with the processes that it
//! starts itself.
//!
//! What it prints goes to a file, which also tells when it is ready.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use ticket_webhooks::providers::PROVIDERS;

use crate::requests::{Account, credentials};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Unit of the CPU times in `/proc`; 100 on every Linux.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// A running server.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
}

/// CPU time in seconds.
#[derive(Clone, Copy)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Service {
    /// Starts this service with these accounts for every provider. `command` runs the binary.
    pub fn start(
        mut command: Command,
        accounts: &[Account],
        database_url: &str,
        log: &Path,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        command.arg("serve").env_clear().env("DATABASE_URL", database_url);
        for (key, value) in
            [("PUBLIC_ADDRESS", "127.0.0.1:0"), ("ADMIN_ADDRESS", "127.0.0.1:0"), ("DRAIN_DELAY_MS", "0")]
        {
            command.env(format!("TICKET_WEBHOOKS__SERVER__{key}"), value);
        }
        for provider in PROVIDERS {
            let accounts_key = format!("TICKET_WEBHOOKS__PROVIDERS__{}__ACCOUNTS", provider.name().to_uppercase());
            for account in accounts {
                let key = format!("{accounts_key}__{}", account.name.to_uppercase());
                command.env(format!("{key}__ENVIRONMENT"), account.environment);
                for (credential, value) in provider.credentials().iter().zip(credentials(*provider, *account)) {
                    command.env(format!("{key}__{}", credential.key.to_uppercase()), value);
                }
            }
        }
        command.envs(variables.iter().copied());
        Self::spawn(command, log, public_address)
    }

    /// Starts any server. It is ready when `address` finds its address in the log.
    pub fn spawn(
        mut command: Command,
        log: &Path,
        address: impl Fn(&str) -> Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let output = File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
        let mut service = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let text = fs::read_to_string(log)?;
            if let Some(address) = address(&text) {
                service.address = address;
                return Ok(service);
            }
            if service.child.try_wait()?.is_some() {
                bail!("{}", text.lines().last().unwrap_or("it ended without a word"));
            }
            if Instant::now() > deadline {
                bail!("it does not start: {text}");
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        cpu_of_family(self.child.id())
    }

    /// Peak resident memory in megabytes; of several processes the sum.
    pub fn peak_memory(&self) -> anyhow::Result<f64> {
        family(self.child.id())?.into_iter().map(peak_memory).sum()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // before its end makes its children those of another process
        let children = family(self.child.id()).unwrap_or_default().split_off(1);
        let _ = self.child.kill();
        for child in children.into_iter().filter_map(|child| Pid::from_raw(child.try_into().ok()?)) {
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A process and its children.
pub fn family(id: u32) -> anyhow::Result<Vec<u32>> {
    let mut family = vec![id];
    for entry in fs::read_dir("/proc")? {
        let Ok(other) = entry?.file_name().to_string_lossy().parse() else { continue };
        // a process may have ended meanwhile
        let Ok(stat) = process_stat(other) else { continue };
        if stat.get(1) == Some(&id.to_string()) {
            family.push(other);
        }
    }
    Ok(family)
}

/// CPU time of a process and its children, as far as they run.
pub fn cpu_of_family(id: u32) -> anyhow::Result<Cpu> {
    let mut sum = Cpu { user: 0.0, system: 0.0 };
    for stat in family(id)?.into_iter().filter_map(|id| process_stat(id).ok()) {
        let Cpu { user, system } = cpu_of(&stat)?;
        sum = Cpu { user: sum.user + user, system: sum.system + system };
    }
    Ok(sum)
}

fn peak_memory(id: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/PID/status has no VmHWM")?;
    Ok(line.trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

/// The fields of `/proc/PID/stat` behind the program's name in parentheses, which may contain spaces.
pub fn process_stat(id: u32) -> anyhow::Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    Ok(stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect())
}

/// CPU time in these fields.
pub fn cpu_of(stat: &[String]) -> anyhow::Result<Cpu> {
    let mut fields = stat.iter().skip(11);
    let mut seconds = || -> anyhow::Result<f64> {
        Ok(fields.next().context("/proc/PID/stat is shorter than expected")?.parse::<f64>()? / TICKS_PER_SECOND)
    };
    Ok(Cpu { user: seconds()?, system: seconds()? })
}

/// Where a server listens that logs its `public.address`.
pub fn public_address(log: &str) -> Option<SocketAddr> {
    logged_address(log, "public.address")
}

/// The address with this key in a log of JSON lines.
pub fn logged_address(log: &str, key: &str) -> Option<SocketAddr> {
    log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()?.get(key)?.as_str()?.parse().ok())
}
