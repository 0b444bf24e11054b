//! `check-config`

use std::process::ExitCode;

use super::LIKE_DATA;
use crate::config::{ConfigError, Settings};

/// Read the configuration and print it without secrets, or say what is wrong with it
///
/// The exit code is 0 when the service would start with it, else 2.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let settings = load()?;
    settings.database.connect_options()?;
    super::print(&settings.to_string());
    for key in settings.secrets_like_data() {
        super::print(&format!("# {key} {LIKE_DATA}\n"));
    }
    Ok(ExitCode::SUCCESS)
}
