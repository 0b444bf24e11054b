//! A service with a configuration file and files of secrets, which change while it runs.

use std::{
    fmt::Write,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, PROVIDERS, Service, credentials};

pub struct Configured(TempDir);

impl Configured {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("service.toml")
    }

    /// The file with the secret of an account.
    pub fn secret(&self, provider: &str, account: &str) -> PathBuf {
        self.0.path().join(format!("{provider}-{account}"))
    }

    /// The configuration: these accounts for each provider, their secrets in files, and whatever else.
    pub fn write(&self, accounts: &[&str], rest: &str) {
        let mut text = format!("{rest}\n");
        for provider in &PROVIDERS {
            for account in accounts {
                let secret = self.secret(provider.name, account);
                writeln!(text, "[providers.{}.accounts.{account}]\nenvironment = 'live'", provider.name).unwrap();
                for (key, value) in credentials(provider.name, account) {
                    if ["client_id", "user_name"].contains(&key) {
                        writeln!(text, "{key} = '{value}'").unwrap();
                    } else {
                        fs::write(&secret, format!("{value}\n")).unwrap();
                        writeln!(text, "{key}_file = '{}'", secret.display()).unwrap();
                    }
                }
            }
        }
        fs::write(self.file(), text).unwrap();
    }

    pub async fn start(&self, database: &Database) -> Service {
        let command = Command::new(&["serve", "--config", self.file().to_str().unwrap()])
            .env("DATABASE_URL", &database.url())
            .env("TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS", "127.0.0.1:0")
            .env("TICKET_WEBHOOKS__SERVER__ADMIN_ADDRESS", "127.0.0.1:0")
            .env("TICKET_WEBHOOKS__SERVER__DRAIN_DELAY_MS", "0");
        spawn_blocking(move || Service::over(command.start())).await.unwrap()
    }
}

/// Asks for it, and returns the line in the log that says this.
pub async fn reload(service: &Service, says: &str) -> String {
    service.process.signal("HUP");
    let (printed, says) = (service.process.printed(), says.to_owned());
    spawn_blocking(move || printed.line(&says)).await.unwrap()
}

/// How often a text stands in the memory of a process; `None` where that cannot be read.
pub fn occurrences(process: u32, text: &str) -> Option<usize> {
    const AT_ONCE: usize = 1024 * 1024;
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let memory = File::open(format!("/proc/{process}/mem")).ok()?;
    let (mut found, untouched) = (0, vec![0; AT_ONCE]);
    // what begins in one piece may end in the next
    let mut bytes = vec![0; AT_ONCE + text.len() - 1];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        for at in (from..to).step_by(AT_ONCE) {
            let wanted = usize::try_from(to - at).ok()?.min(bytes.len());
            // some regions cannot be read
            let read = memory.read_at(&mut bytes[..wanted], at).unwrap_or(0);
            let read = &bytes[..read];
            if !untouched.starts_with(&read[..read.len().min(AT_ONCE)]) {
                found += memchr::memmem::find_iter(read, text).count();
            }
        }
    }
    Some(found)
}
