//! `dev`: the service with an embedded Postgres and demo accounts.

mod samples;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::{Context, bail};
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::spawn_blocking;

use super::{demo_credentials, serve};
use crate::{
    config::{self, LogFormat, Settings},
    embedded_postgres::{EmbeddedPostgres, Options},
    lifecycle::Signals,
    providers::{PROVIDERS, Sample},
};

const DIRECTORY: &str = ".ticket-webhooks/postgres";

const DATABASE: &str = "ticket_webhooks";

/// Run the service with an embedded Postgres and demo accounts, and print a curl command per provider
///
/// Needs no set-up but installed PostgreSQL server programs; the database is kept in ./.ticket-webhooks. Listens on
/// loopback only. Reads no configuration but PORT (default 8080) and RUST_LOG.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send sample deliveries of each kind, so that the console has something to show
    #[arg(long)]
    samples: bool,
}

const ADMIN_TOKEN: &str = "demo-admin-token";

pub(super) fn run(args: &Args, has_config: bool) -> anyhow::Result<ExitCode> {
    if has_config {
        bail!("dev reads no configuration file: remove --config and TICKET_WEBHOOKS_CONFIG, or use serve");
    }
    super::block_on(LogFormat::Auto, async {
        // before the database starts: Ctrl-C must shut it down in order
        let mut signals = Signals::listen()?;
        let options = Options::new(std::env::current_dir()?.join(DIRECTORY));
        let start = spawn_blocking(move || EmbeddedPostgres::start(&options));
        let postgres = start.await.context("the start of the database was aborted")??;
        let exited = postgres.exited();
        let served = tokio::select! {
            served = serve_demo(&postgres, &mut signals, args.samples) => served,
            error = exited => Err(error.into()),
        };
        let stopped = spawn_blocking(move || postgres.stop()).await?;
        let code = served?;
        stopped?;
        Ok(code)
    })
}

async fn serve_demo(postgres: &EmbeddedPostgres, signals: &mut Signals, samples: bool) -> anyhow::Result<ExitCode> {
    create_database(postgres).await.context("the database could not be created")?;
    let settings = demo_settings(&postgres.url(DATABASE))?;
    let deliveries = samples_of(&settings);
    let psql = postgres.psql_command(DATABASE);
    let started = |public, admin| {
        super::print(&instructions(public, admin, &psql, &deliveries));
        if samples {
            // beside the service, which has to answer them
            spawn_blocking(move || {
                if let Err(error) = samples::send(public, admin) {
                    tracing::warn!(error = format!("{error:#}"), "the sample deliveries could not be sent");
                }
            });
        }
    };
    serve::serve(settings, true, signals, None, started).await
}

async fn create_database(postgres: &EmbeddedPostgres) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(&postgres.connect_options("postgres")).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        connection.execute("create database ticket_webhooks").await?;
    }
    connection.close().await
}

/// The defaults, on loopback, with a demo account for every provider.
fn demo_settings(database_url: &str) -> anyhow::Result<Settings> {
    let mut variables = vec![
        ("DATABASE_URL".to_owned(), database_url.to_owned()),
        ("TICKET_WEBHOOKS__ADMIN__TOKEN".to_owned(), ADMIN_TOKEN.to_owned()),
        ("TICKET_WEBHOOKS__SERVER__DRAIN_DELAY_MS".to_owned(), "0".to_owned()),
    ];
    for provider in PROVIDERS {
        let account = format!("TICKET_WEBHOOKS__PROVIDERS__{}__ACCOUNTS__DEMO", provider.name().to_uppercase());
        variables.push((format!("{account}__ENVIRONMENT"), "test".to_owned()));
        for (credential, value) in provider.credentials().iter().zip(demo_credentials(*provider)) {
            variables.push((format!("{account}__{}", credential.key.to_uppercase()), value));
        }
    }
    let variables = variables.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let port = std::env::var_os("PORT").map(|port| (OsString::from("PORT"), port));
    let has_port = port.is_some();
    let mut settings = config::load(None, variables.chain(port))?;
    settings.server.public_address.set_ip(Ipv4Addr::LOCALHOST.into());
    if has_port {
        // the usual port may be another one's too
        settings.server.admin_address.set_port(0);
    }
    Ok(settings)
}

/// Of each provider: its name, its path, and a sample.
fn samples_of(settings: &Settings) -> Vec<(&'static str, String, Sample)> {
    let sample = |settings: &config::ProviderSettings| {
        let credentials = demo_credentials(settings.provider);
        let credentials: Vec<_> = credentials.iter().map(String::as_str).collect();
        (settings.provider.name(), settings.path.clone(), settings.provider.sample(&credentials, "DEMO-1"))
    };
    settings.providers.iter().map(sample).collect()
}

fn instructions(
    public: SocketAddr,
    admin: SocketAddr,
    psql: &str,
    deliveries: &[(&'static str, String, Sample)],
) -> String {
    let mut text = format!(
        "\nThe service is up. Its console, with a sign-in: http://{admin}/sign-in#{ADMIN_TOKEN}\n\
             Paste a line to send a delivery; paste it again to send a duplicate.\n"
    );
    for (provider, path, sample) in deliveries {
        text += &format!("\n# {provider}\n{}\n", sample.curl(&format!("http://{public}{path}")));
    }
    let url = psql.trim_start_matches("psql ");
    let program = std::env::current_exe().map_or("ticket-webhooks".to_owned(), |path| path.display().to_string());
    text += &format!(
        "\n# what was recorded, for the agency's own systems (docs/consumers.md)\n\
         curl -sS -w '\\n' -H 'Authorization: Bearer {ADMIN_TOKEN}' 'http://{admin}/v1/events?from=start'\n\
         \n# the same, as it comes in\n\
         curl -N -H 'Authorization: Bearer {ADMIN_TOKEN}' 'http://{admin}/v1/events/stream?from=now'\n\
         \n# the same in SQL\n{psql} -c 'select provider, booking_ref, revision, status, ticket_numbers, delivery_count from ticket_events order by sequence'\n\
         \n# the same, signed, to a receiver of webhooks (docs/forwarding.md)\nDATABASE_URL={url} {program} forward --from-start --to http://127.0.0.1:4242\n\
         \n# the database\n{psql}\n\nCtrl-C stops the service and the database.\n\n"
    );
    text
}
