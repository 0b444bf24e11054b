//! The limits of a listener and its connections, reduced to what the limit for open files allows.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::{addresses::is_in, config::ServerSettings};

/// For health checks, Prometheus, operators, and clients that wait for items of the feed.
const MAX_ADMIN_CONNECTIONS: usize = 256;

/// Of the public and the admin listener: with fewer the service refuses to start.
const MIN_CONNECTIONS: [usize; 2] = [4, 2];

/// The limit of a /48 of IPv6 in limits of a /64.
const SITE_FACTOR: usize = 4;

/// The limits of one listener.
pub struct Limits {
    /// `public` or `admin`, for logs.
    pub(super) listener: &'static str,
    /// Connections at once.
    pub(super) max_connections: usize,
    /// From one address, or one /64 of IPv6.
    pub(super) max_per_address: usize,
    /// From one /48 of IPv6.
    pub(super) max_per_site: usize,
    trusted_proxies: Vec<IpNet>,
    /// Whether a trusted proxy has no limit per address and keeps its idle connections: each is many clients'.
    pub(super) exempts_trusted_proxies: bool,
    /// From the first byte of a head to its last.
    pub(super) header_read_timeout: Duration,
    /// From an answer, or the start, to the first byte of a head.
    pub(super) idle_timeout: Duration,
    /// How long a write may stay blocked.
    pub(super) response_write_timeout: Duration,
    /// Bytes a second; slower requests are evicted first.
    pub(super) min_rate: u64,
}

/// The limit for open files is too low.
#[derive(Debug, thiserror::Error)]
#[error(
    "the limit for open files leaves {available} for connections, and at least {least} are needed: raise it (ulimit -n), \
     or lower database.max_connections"
)]
pub struct TooFewFiles {
    available: u64,
    least: u64,
}

impl Limits {
    /// Of the public and the admin listener. `available` open files are left for connections; `None` is no limit.
    ///
    /// # Errors
    ///
    /// The files do not suffice for both listeners.
    pub fn within(settings: &ServerSettings, available: Option<u64>) -> Result<[Self; 2], TooFewFiles> {
        let wanted = [settings.max_connections, MAX_ADMIN_CONNECTIONS];
        let available = available.unwrap_or(u64::MAX);
        let [public, admin] = split_open_files(wanted, available);
        let least: u64 = MIN_CONNECTIONS.into_iter().map(open_files).sum();
        if public < MIN_CONNECTIONS[0].min(wanted[0]) || admin < MIN_CONNECTIONS[1] {
            return Err(TooFewFiles { available, least });
        }
        if [public, admin] != wanted {
            tracing::warn!(
                key = "server.max_connections",
                wanted = wanted[0],
                used = public,
                admin.used = admin,
                "too few files may be open: the listeners accept fewer connections; raise the limit (ulimit -n)"
            );
        }
        Ok([Self::of("public", settings, public), Self::of("admin", settings, admin)])
    }

    fn of(listener: &'static str, settings: &ServerSettings, connections: usize) -> Self {
        let is_public = listener == "public";
        // operators, probes and Prometheus may all come through one address
        let per_address = if is_public { settings.max_connections_per_address } else { connections };
        Self {
            listener,
            max_connections: connections,
            max_per_address: per_address,
            max_per_site: per_address.saturating_mul(SITE_FACTOR),
            trusted_proxies: settings.trusted_proxies.clone(),
            exempts_trusted_proxies: is_public,
            header_read_timeout: settings.header_read_timeout,
            idle_timeout: settings.idle_timeout,
            response_write_timeout: settings.response_write_timeout,
            min_rate: settings.body_min_rate.get(),
        }
    }

    pub(super) fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        is_in(&self.trusted_proxies, peer)
    }

    /// Connections beyond the limit while evicted ones are still closing.
    pub(super) fn eviction_overshoot(&self) -> usize {
        eviction_overshoot(self.max_connections)
    }

    /// Answered and refused connections whose bodies are being discarded.
    pub(super) fn max_discarding(&self) -> usize {
        max_discarding(self.max_connections)
    }
}

fn eviction_overshoot(connections: usize) -> usize {
    (connections / 2).clamp(4, 64)
}

fn max_discarding(connections: usize) -> usize {
    (connections / 4).clamp(2, 128)
}

/// The most files that a listener opens: connections, its own socket, and one connection that it refuses.
fn open_files(connections: usize) -> u64 {
    (connections + eviction_overshoot(connections) + max_discarding(connections) + 2) as u64
}

/// The connections of both listeners. The admin listener gets its part whatever the public one wants.
fn split_open_files(wanted: [usize; 2], available: u64) -> [usize; 2] {
    let [public, admin] = wanted;
    if open_files(public) + open_files(admin) <= available {
        return wanted;
    }
    let most = |wanted: usize, within: u64| {
        let within = usize::try_from(within).unwrap_or(usize::MAX);
        (0..=wanted.min(within)).rev().find(|connections| open_files(*connections) <= within as u64).unwrap_or_default()
    };
    let admin = most(admin, (available / 4).max(open_files(MIN_CONNECTIONS[1])));
    [most(public, available.saturating_sub(open_files(admin))), admin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_fit_into_the_limit_for_open_files() {
        assert_eq!(split_open_files([2048, 64], u64::MAX), [2048, 64]);
        assert_eq!(split_open_files([2048, 64], open_files(2048) + open_files(64)), [2048, 64]);
        for available in 24..3000 {
            let [public, admin] = split_open_files([2048, 64], available);
            assert!(open_files(public) + open_files(admin) <= available, "{available}: {public} {admin}");
            assert!(public >= MIN_CONNECTIONS[0] && admin >= MIN_CONNECTIONS[1], "{available}: {public} {admin}");
        }
        let settings = ServerSettings::default();
        assert!(Limits::within(&settings, Some(24)).is_ok());
        let error = Limits::within(&settings, Some(12)).err().unwrap().to_string();
        assert!(error.contains("leaves 12") && error.contains("ulimit -n"), "{error}");
    }
}
