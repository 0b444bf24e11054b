//! `healthcheck`

use std::{process::ExitCode, time::Duration};

use crate::config::{ConfigError, Settings};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask the running service whether it is ready (for the container's HEALTHCHECK)
///
/// The exit code is 0 when it is ready, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the service listens [default: its public address in the configuration, on this machine]
    #[arg(long)]
    url: Option<String>,
}

pub(super) fn run(args: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let base = match args.url {
        Some(url) => url,
        None => super::local_url(&load()?),
    };
    let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
    let answer = ureq::Agent::new_with_config(agent).get(format!("{}/readyz", base.trim_end_matches('/'))).call();
    match answer {
        Ok(answer) if answer.status().is_success() => {
            println!("ready");
            Ok(ExitCode::SUCCESS)
        }
        Ok(mut answer) => {
            println!("not ready: {}", answer.body_mut().read_to_string().unwrap_or_default());
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            println!("not ready: {base} does not answer: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}
