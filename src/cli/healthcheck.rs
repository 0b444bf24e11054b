//! `healthcheck`

use std::{process::ExitCode, time::Duration};

use crate::config::{ConfigError, Settings};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Request /readyz of a running service (for a container's HEALTHCHECK)
///
/// The exit code is 0 when it is ready, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Base URL of the service [default: server.public_address of the configuration, on this machine]
    #[arg(long)]
    url: Option<String>,
}

pub(super) fn run(args: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let base = match args.url {
        Some(url) => url,
        None => super::local_url(&load()?),
    };
    let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
    let response = ureq::Agent::new_with_config(agent).get(format!("{}/readyz", base.trim_end_matches('/'))).call();
    match response {
        Ok(response) if response.status().is_success() => {
            println!("ready");
            Ok(ExitCode::SUCCESS)
        }
        Ok(mut response) => {
            println!("not ready: {}", response.body_mut().read_to_string().unwrap_or_default());
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            println!("not ready: {base} does not answer: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}
