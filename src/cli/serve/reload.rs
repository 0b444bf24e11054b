//! SIGHUP: the configuration is read anew, and what can be taken over without a restart is.
//!
//! That is who may deliver, the admin token, and how to log on to the database. Nothing changes when anything is wrong
//! with the configuration. What else was changed in it is named in the log and waits for a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::task::spawn_blocking;

use super::Load;
use crate::{
    config::{ConfigError, ProviderSettings, Settings},
    lifecycle::ReloadSignal,
    secrets::{CurrentSecrets, Secrets},
};

/// What a new configuration is taken over into.
pub(super) struct Reload {
    /// What was set at the start and counts until the end.
    fixed: BTreeMap<String, String>,
    providers: Vec<ProviderSettings>,
    secrets: Arc<CurrentSecrets>,
    /// Whoever connects to the database asks it how.
    pool: PgPool,
}

impl Reload {
    pub(super) fn new(settings: Settings, secrets: Arc<CurrentSecrets>, pool: PgPool) -> Self {
        Self { fixed: settings.fixed_keys(), providers: settings.providers, secrets, pool }
    }

    /// Takes over what each signal brings.
    pub(super) async fn run(mut self, mut reload_signal: ReloadSignal, load: Load) -> anyhow::Result<()> {
        loop {
            reload_signal.next().await;
            let load = Arc::clone(&load);
            let loaded = spawn_blocking(move || {
                let settings = load()?;
                let options = settings.database.connect_options()?;
                Ok::<_, ConfigError>((settings, options))
            });
            match loaded.await? {
                Ok((settings, options)) => self.take_over(settings, options),
                Err(error) => tracing::error!(%error, "the configuration is wrong: the one before stays"),
            }
        }
    }

    fn take_over(&mut self, settings: Settings, options: PgConnectOptions) {
        let new = settings.fixed_keys();
        let mut waiting = differences(&self.fixed, &new);
        if is_same_database(&self.pool.connect_options(), &options) {
            self.pool.set_connect_options(options);
        } else {
            waiting.push("database.url");
        }
        super::warn_of_secrets_like_data(&settings);
        let secrets = Secrets::new(&settings.providers, settings.admin.token, Some(&self.secrets.load()));
        self.secrets.store(Arc::new(secrets));
        let [added, removed, changed] = changes(&self.providers, &settings.providers);
        tracing::info!(accounts.added = added, accounts.removed = removed, accounts.changed = changed, "reloaded");
        self.providers = settings.providers;
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "changed in the configuration, and waiting for a restart");
        }
    }
}

/// The keys that are not set to the same.
fn differences<'a>(old: &'a BTreeMap<String, String>, new: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).map(String::as_str).collect()
}

/// The user and the password may change, and the certificates. Another database is nothing to go over to on the way.
fn is_same_database(old: &PgConnectOptions, new: &PgConnectOptions) -> bool {
    let place = |options: &PgConnectOptions| {
        let database = options.get_database().unwrap_or(options.get_username()).to_owned();
        (options.get_host().to_owned(), options.get_port(), options.get_socket().cloned(), database)
    };
    place(old) == place(new)
}

/// The accounts that came, went, and have other credentials or another environment.
fn changes(old: &[ProviderSettings], new: &[ProviderSettings]) -> [String; 3] {
    let [mut added, mut removed, mut changed] = [const { Vec::new() }; 3];
    for (old, new) in old.iter().zip(new) {
        let named = |name: &str| format!("{}.{name}", new.provider.name());
        for account in &new.accounts {
            match old.accounts.iter().find(|other| other.name == account.name) {
                None => added.push(named(&account.name)),
                Some(other) if other.environment == account.environment && other.has_credentials_of(account) => {}
                Some(_) => changed.push(named(&account.name)),
            }
        }
        let is_gone = |name: &str| new.accounts.iter().all(|account| account.name != name);
        removed.extend(old.accounts.iter().filter(|account| is_gone(&account.name)).map(|gone| named(&gone.name)));
    }
    [added, removed, changed].map(|names| names.join(", "))
}
