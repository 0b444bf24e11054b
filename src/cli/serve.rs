//! `serve`: reads the configuration, builds the service, runs it, shuts it down.

mod background;
mod build;
mod forwards;
mod reload;
mod service;

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use self::service::Service;
use super::WEAK_SECRET;
use crate::{
    config::{ConfigError, ProviderSettings, Settings, UnknownBooking},
    lifecycle::{ReloadSignal, Signals, keep_memory_private},
};

/// Run the service: receive deliveries until SIGTERM or SIGINT
///
/// Pending migrations are applied first. SIGHUP reloads the accounts and all secrets. The exit code is 0 after an orderly
/// shutdown, 2 when the configuration is wrong, 1 for any other failure and after a second signal.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not apply migrations; fail while some are pending
    #[arg(long)]
    no_migrate: bool,
}

/// Reads the configuration.
type Load = Arc<dyn Fn() -> Result<Settings, ConfigError> + Send + Sync>;

pub(super) fn run(
    args: &Args,
    load: impl Fn() -> Result<Settings, ConfigError> + Send + Sync + 'static,
) -> anyhow::Result<ExitCode> {
    // before the first secret is read
    let is_private = keep_memory_private();
    let settings = load()?;
    super::block_on(settings.log.format, async {
        if let Err(error) = is_private {
            tracing::warn!(%error, "core dumps could not be switched off");
        }
        let (mut signals, reload_signal) = (Signals::listen()?, ReloadSignal::listen()?);
        serve(settings, !args.no_migrate, &mut signals, Some((reload_signal, Arc::new(load))), |_, _| {}).await
    })
}

/// Runs the service until a signal. `reload` is when and how the configuration is read again; `started` is called with
/// the addresses of the public and the admin listener once it serves.
pub(super) async fn serve(
    settings: Settings,
    migrate: bool,
    signals: &mut Signals,
    reload: Option<(ReloadSignal, Load)>,
    started: impl FnOnce(SocketAddr, SocketAddr),
) -> anyhow::Result<ExitCode> {
    let result = async {
        let mut service = Service::build(settings, migrate, reload).await?;
        service.run(signals, started).await?;
        service.shut_down(signals).await
    };
    match result.await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the service failed");
            Err(error)
        }
    }
}

fn warn_of_weak_secrets(settings: &Settings) {
    for key in settings.weak_secrets() {
        tracing::warn!(key, "the secret {WEAK_SECRET}");
    }
}

/// The names of the providers with `unknown_booking = "reject"`.
pub(super) fn providers_rejecting_unknown(providers: &[ProviderSettings]) -> Arc<[&'static str]> {
    let rejecting = providers.iter().filter(|settings| settings.unknown_booking == UnknownBooking::Reject);
    rejecting.map(|settings| settings.provider.name()).collect()
}
