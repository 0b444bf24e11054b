//! The command line: one file per command.

mod check_config;
#[cfg(feature = "embedded-postgres")]
mod dev;
mod erase;
mod events;
mod forward;
mod healthcheck;
mod migrate;
mod reprocess;
mod send_sample;
mod serve;
mod spool;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{self, ConfigError, LogFormat, Settings},
    providers::Provider,
    telemetry,
};

/// The package's version and, where known, the commit: `build.rs`.
const VERSION: &str = env!("TICKET_WEBHOOKS_VERSION");

/// Receives the ticket webhooks of travel providers and stores each in Postgres before it acknowledges it.
#[derive(Debug, Parser)]
#[command(name = "ticket-webhooks", version = VERSION, max_term_width = 100)]
struct Cli {
    /// The configuration, a TOML file; environment variables override it (TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS,
    /// DATABASE_URL, PORT)
    #[arg(long, global = true, value_name = "FILE", env = "TICKET_WEBHOOKS_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "embedded-postgres")]
    Dev(dev::Args),
    Serve(serve::Args),
    Migrate(migrate::Args),
    CheckConfig(check_config::Args),
    SendSample(send_sample::Args),
    Erase(erase::Args),
    Events(events::Args),
    Forward(forward::Args),
    Reprocess(reprocess::Args),
    Healthcheck(healthcheck::Args),
    Spool(spool::Args),
}

/// Stands behind the key of a secret, of which occurrences in other data cannot be told from business data.
const WEAK_SECRET: &str = "has only digits or fewer than eight characters: it can be guessed, and is removed \
                           with the JSON member that carries it, but not redacted anywhere else";

/// Runs the command of the command line.
///
/// The exit code is 0 on success, 2 when the command line or the configuration is wrong, 1 for everything else.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "embedded-postgres")]
    let has_config = cli.config.is_some();
    let load = move || config::load(cli.config.as_deref(), std::env::vars_os());
    let result = match cli.command {
        #[cfg(feature = "embedded-postgres")]
        Command::Dev(args) => dev::run(&args, has_config),
        Command::Serve(args) => serve::run(&args, load),
        Command::Migrate(args) => migrate::run(args, load),
        Command::CheckConfig(args) => check_config::run(args, load),
        Command::SendSample(args) => send_sample::run(args, load),
        Command::Erase(args) => erase::run(args, load),
        Command::Events(args) => events::run(&args, load),
        Command::Forward(args) => forward::run(&args, load),
        Command::Reprocess(args) => reprocess::run(&args, load),
        Command::Healthcheck(args) => healthcheck::run(args, load),
        Command::Spool(args) => spool::run(args, load),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

/// Runs a command with a runtime and logging. A command that failed does not wait for calls that block, such as one of a
/// disk that hangs.
fn block_on(log: LogFormat, command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::start(log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    if result.is_err() {
        runtime.shutdown_background();
    }
    result
}

/// The URL of the public listener from this machine: its address, or loopback when it listens on all addresses.
fn local_url(settings: &Settings) -> String {
    let mut address = settings.server.public_address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{address}")
}

/// The credentials of the demo account, which `dev` configures and `send-sample` uses when no account is configured.
fn demo_credentials(provider: &dyn Provider) -> Vec<String> {
    provider.credentials().iter().map(|credential| format!("demo-{}", credential.key.replace('_', "-"))).collect()
}

/// Writes to standard output; unlike `print!`, it does not panic when the reader has closed the pipe.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
