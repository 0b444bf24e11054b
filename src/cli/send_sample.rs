//! `send-sample`

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{
    config::{ConfigError, ProviderSettings, Settings},
    providers::{self, Sample},
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Send a sample delivery to a running service and print the response
///
/// Without --new-booking every delivery is the same, so that the second one is a duplicate. The exit code is 0 when every
/// response had a status 2xx, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the provider, such as booking_callback
    provider: String,
    /// Base URL of the service [default: server.public_address of the configuration, on this machine]
    #[arg(long)]
    url: Option<String>,
    /// Account whose credentials are sent [default: the first one configured, or the demo account of dev]
    #[arg(long)]
    account: Option<String>,
    /// Number of deliveries, sent one after the other
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Send each delivery for a new booking
    #[arg(long)]
    new_booking: bool,
}

pub(super) fn run(args: Args, load: impl Fn() -> Result<Settings, ConfigError>) -> anyhow::Result<ExitCode> {
    let Some(provider) = providers::by_name(&args.provider) else {
        bail!("unknown provider {}; expected one of {}", args.provider, providers::listed_names());
    };
    let settings = load()?;
    let is_this = |settings: &&ProviderSettings| settings.provider.name() == provider.name();
    let provider_settings = settings.providers.iter().find(is_this).context("every known provider has settings")?;
    let credentials = credentials(provider_settings, args.account.as_deref())?;
    let credentials: Vec<_> = credentials.iter().map(String::as_str).collect();
    let base = args.url.unwrap_or_else(|| super::local_url(&settings));
    let url = format!("{}{}", base.trim_end_matches('/'), provider_settings.path);
    let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
    let agent = ureq::Agent::new_with_config(agent);
    let mut all_accepted = true;
    for _ in 0..args.count {
        let booking_ref =
            if args.new_booking { format!("SAMPLE-{}", Uuid::now_v7().simple()) } else { "SAMPLE-1".to_owned() };
        let Sample { headers, body } = provider.sample(&credentials, &booking_ref);
        let request = agent.post(&url).header("Content-Type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let mut response = request.send(body).with_context(|| format!("{url} did not respond"))?;
        all_accepted &= response.status().is_success();
        println!("{booking_ref}: {} {}", response.status(), response.body_mut().read_to_string()?);
    }
    Ok(if all_accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn credentials(settings: &ProviderSettings, account: Option<&str>) -> anyhow::Result<Vec<String>> {
    let index = match account {
        Some(name) => settings.accounts.iter().position(|account| account.name == name).with_context(|| {
            let names: Vec<_> = settings.accounts.iter().map(|account| account.name.as_str()).collect();
            format!("{} has no account {name}; expected one of {}", settings.provider.name(), names.join(", "))
        })?,
        None if settings.accounts.is_empty() => return Ok(super::demo_credentials(settings.provider)),
        None => 0,
    };
    Ok(settings.credentials[index].iter().map(|value| value.expose_secret().to_owned()).collect())
}
