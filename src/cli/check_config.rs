//! `check-config`

use std::process::ExitCode;

use super::WEAK_SECRET;
use crate::config::{ConfigError, Settings};

/// Check the configuration and print it without secrets
///
/// The exit code is 0 when the service would start with it, else 2. What is printed is a configuration file, every secret
/// replaced by [redacted].
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let settings = load()?;
    settings.database.connect_options()?;
    super::print(&format!("{}\n", settings.to_toml()?));
    if settings.spool.directory.is_none() {
        super::print("# spool.directory is not set: no spool\n");
    }
    for settings in settings.providers.iter().filter(|settings| settings.accounts.is_empty()) {
        super::print(&format!("# providers.{} has no account: not routed\n", settings.provider.name()));
    }
    for key in settings.weak_secrets() {
        super::print(&format!("# {key} {WEAK_SECRET}\n"));
    }
    Ok(ExitCode::SUCCESS)
}
