//! SIGHUP: reloads the accounts, the admin token, the secrets of forwards and the database's credentials from the
//! configuration.
//!
//! Invariant: a configuration with an error changes nothing.
//!
//! Every other changed key needs a restart and is named in the log.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::task::spawn_blocking;

use super::Load;
use crate::{
    config::{ConfigError, ProviderSettings, Settings},
    forward::SigningKeys,
    lifecycle::ReloadSignal,
    secrets::{CurrentSecrets, Secrets},
    store::Pool,
};

/// By the names of forwards.
pub(super) type ForwardKeys = HashMap<String, Arc<SigningKeys>>;

/// Where a new configuration takes effect.
pub(super) struct Reload {
    /// The values at the start, which stay in effect until a restart.
    restart_only: BTreeMap<String, Value>,
    providers: Vec<ProviderSettings>,
    secrets: Arc<CurrentSecrets>,
    forward_keys: ForwardKeys,
    /// New connections, also the writers', use its options.
    pool: PgPool,
    shared_pool: Pool,
}

impl Reload {
    pub(super) fn new(
        settings: Settings,
        secrets: Arc<CurrentSecrets>,
        forward_keys: ForwardKeys,
        pool: PgPool,
        shared_pool: Pool,
    ) -> Self {
        let restart_only = settings.restart_only();
        Self { restart_only, providers: settings.providers, secrets, forward_keys, pool, shared_pool }
    }

    /// Reloads at each signal.
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
                Ok((settings, options)) => self.apply(settings, options),
                Err(error) => tracing::error!(%error, "not reloaded: the configuration before stays in effect"),
            }
        }
    }

    fn apply(&mut self, settings: Settings, options: PgConnectOptions) {
        let new = settings.restart_only();
        let mut waiting = differences(&self.restart_only, &new);
        if is_same_database(&self.pool.connect_options(), &options) {
            self.shared_pool.set_connect_options(options.clone());
            self.pool.set_connect_options(options);
        } else {
            waiting.push("database.url");
        }
        super::warn_of_weak_secrets(&settings);
        let secrets = Secrets::new(&settings.providers, settings.admin.token, Some(&self.secrets.load()));
        self.secrets.store(Arc::new(secrets));
        let mut changed_forwards = Vec::new();
        for forward in settings.forward {
            let Some(keys) = self.forward_keys.get(&forward.name) else { continue };
            let old = keys.swap(Arc::new(forward.keys));
            let new = keys.load();
            if old.len() != new.len() || old.iter().zip(&**new).any(|(old, new)| !old.is_same(new)) {
                changed_forwards.push(forward.name);
            }
        }
        let [added, removed, changed] = changes(&self.providers, &settings.providers);
        tracing::info!(
            accounts.added = added,
            accounts.removed = removed,
            accounts.changed = changed,
            forwards.changed = changed_forwards.join(", "),
            "reloaded"
        );
        self.providers = settings.providers;
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "changed in the configuration, waiting for a restart");
        }
    }
}

/// The keys with different values.
fn differences<'a>(old: &'a BTreeMap<String, Value>, new: &'a BTreeMap<String, Value>) -> Vec<&'a str> {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).map(String::as_str).collect()
}

/// User, password and certificates may change without a restart; the database may not.
fn is_same_database(old: &PgConnectOptions, new: &PgConnectOptions) -> bool {
    let location = |options: &PgConnectOptions| {
        let database = options.get_database().unwrap_or(options.get_username()).to_owned();
        (options.get_host().to_owned(), options.get_port(), options.get_socket().cloned(), database)
    };
    location(old) == location(new)
}

/// The names of the accounts that were added, removed, and given other credentials or another environment.
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
