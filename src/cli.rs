//! The command line: one file per command.

mod check_config;
mod dev;
mod healthcheck;
mod migrate;
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

/// Receives the ticket webhooks of travel providers and has each in Postgres before it says yes.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The configuration, a TOML file; environment variables stand over it (TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS,
    /// DATABASE_URL, PORT)
    #[arg(long, global = true, value_name = "FILE", env = "TICKET_WEBHOOKS_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Serve(serve::Args),
    Migrate(migrate::Args),
    CheckConfig(check_config::Args),
    SendSample(send_sample::Args),
    Healthcheck(healthcheck::Args),
    Spool(spool::Args),
}

/// What is said about a secret that could as well be data.
const LIKE_DATA: &str = "has only digits or fewer than eight characters: it is removed with the member that carries it, \
                         and looked for nowhere else";

/// Runs the command that the process was started with.
///
/// The exit code is 0 on success, 2 when the command line or the configuration is wrong, 1 for everything else.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let names_config = cli.config.is_some();
    let load = move || config::load(cli.config.as_deref(), std::env::vars_os());
    let result = match cli.command {
        Command::Dev(args) => dev::run(args, names_config),
        Command::Serve(args) => serve::run(&args, load),
        Command::Migrate(args) => migrate::run(args, load),
        Command::CheckConfig(args) => check_config::run(args, load),
        Command::SendSample(args) => send_sample::run(args, load),
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

/// A runtime for a command, and logging.
fn block_on(log: LogFormat, command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::start(log)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// Where a request to a service on this machine goes: the address that it listens on, or loopback where it listens on
/// all.
fn local_url(settings: &Settings) -> String {
    let mut address = settings.server.public_address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{address}")
}

/// The demo account of a provider, which `dev` has and `send-sample` uses when there is no other.
fn demo_credentials(provider: &dyn Provider) -> Vec<String> {
    provider.credentials().iter().map(|credential| format!("demo-{}", credential.key.replace('_', "-"))).collect()
}

/// Writes to standard output. Whoever reads it may stop reading.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
