//! What the connections of a listener are allowed, within what the system lets the process have.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::{addresses::is_in, config::ServerSettings};

/// The most connections to the admin listener: for health, Prometheus and operators.
const ADMIN_CONNECTIONS: usize = 64;

/// With fewer, a listener is of no use.
const LEAST_CONNECTIONS: [usize; 2] = [4, 2];

/// So many times the connections of a /64 of IPv6 are allowed to a /48.
const SITE_CONNECTIONS: usize = 4;

/// What connections are allowed.
pub struct Limits {
    /// The name of the listener.
    pub(super) listener: &'static str,
    /// Connections at once.
    pub(super) connections: usize,
    /// Those from one address, or one /64 of IPv6.
    pub(super) connections_per_address: usize,
    /// Those from one /48 of IPv6.
    pub(super) connections_per_site: usize,
    /// Whose connections are many clients'.
    proxies: Vec<IpNet>,
    /// Whether their idle connections stay, and they have as many as there are.
    pub(super) spares_proxies: bool,
    /// From the first byte of a head to its last.
    pub(super) header_read_timeout: Duration,
    /// From the end of one request to the end of the head of the next.
    pub(super) idle_timeout: Duration,
    /// How long a client may leave an answer where it is.
    pub(super) write_timeout: Duration,
    /// Bytes a second that a request must bring not to be the first to go.
    pub(super) min_rate: u64,
}

/// So few files may be open that the service cannot work.
#[derive(Debug, thiserror::Error)]
#[error(
    "the limit for open files leaves {available} to connections, and at least {least} are needed: raise it (ulimit -n), \
     or lower database.max_connections"
)]
pub struct TooFewFiles {
    available: u64,
    least: u64,
}

impl Limits {
    /// Those of the public and of the admin listener, as configured, or as many connections as there may be open files
    /// for (`None`: any number).
    ///
    /// # Errors
    ///
    /// They are too few for both listeners.
    pub fn within(settings: &ServerSettings, available: Option<u64>) -> Result<[Self; 2], TooFewFiles> {
        let wanted = [settings.max_connections, ADMIN_CONNECTIONS];
        let available = available.unwrap_or(u64::MAX);
        let [public, admin] = share(wanted, available);
        let least: u64 = LEAST_CONNECTIONS.into_iter().map(files).sum();
        if public < LEAST_CONNECTIONS[0].min(wanted[0]) || admin < LEAST_CONNECTIONS[1] {
            return Err(TooFewFiles { available, least });
        }
        if [public, admin] != wanted {
            tracing::warn!(
                key = "server.max_connections",
                wanted = wanted[0],
                used = public,
                admin.used = admin,
                "too few files may be open: the listeners take fewer connections; raise the limit (ulimit -n)"
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
            connections,
            connections_per_address: per_address,
            connections_per_site: per_address.saturating_mul(SITE_CONNECTIONS),
            proxies: settings.trusted_proxies.clone(),
            spares_proxies: is_public,
            header_read_timeout: settings.header_read_timeout,
            idle_timeout: settings.idle_timeout,
            write_timeout: settings.response_write_timeout,
            min_rate: settings.body_min_rate.get(),
        }
    }

    /// Whether an address is that of a trusted proxy.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        is_in(&self.proxies, peer)
    }

    /// Connections beyond the limit while those that make room are about to go.
    pub(super) fn leaving(&self) -> usize {
        leaving(self.connections)
    }

    /// Connections beyond the limit whose requests are answered and whose bodies are discarded.
    pub(super) fn lingering(&self) -> usize {
        lingering(self.connections)
    }
}

fn leaving(connections: usize) -> usize {
    (connections / 2).clamp(4, 64)
}

fn lingering(connections: usize) -> usize {
    (connections / 4).clamp(2, 128)
}

/// The most files that a listener with so many connections has open, itself and one that it refuses included.
fn files(connections: usize) -> u64 {
    (connections + leaving(connections) + lingering(connections) + 2) as u64
}

/// Both listeners' connections within so many files. The admin listener has its part whatever the other one wants.
fn share(wanted: [usize; 2], available: u64) -> [usize; 2] {
    let [public, admin] = wanted;
    if files(public) + files(admin) <= available {
        return wanted;
    }
    let most = |wanted: usize, within: u64| {
        let within = usize::try_from(within).unwrap_or(usize::MAX);
        (0..=wanted.min(within)).rev().find(|connections| files(*connections) <= within as u64).unwrap_or_default()
    };
    let admin = most(admin, (available / 4).max(files(LEAST_CONNECTIONS[1])));
    [most(public, available.saturating_sub(files(admin))), admin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_fit_into_the_open_files_that_there_may_be() {
        assert_eq!(share([2048, 64], u64::MAX), [2048, 64]);
        assert_eq!(share([2048, 64], files(2048) + files(64)), [2048, 64]);
        for available in 24..3000 {
            let [public, admin] = share([2048, 64], available);
            assert!(files(public) + files(admin) <= available, "{available}: {public} {admin}");
            assert!(public >= LEAST_CONNECTIONS[0] && admin >= LEAST_CONNECTIONS[1], "{available}: {public} {admin}");
        }
        let settings = ServerSettings::default();
        assert!(Limits::within(&settings, Some(24)).is_ok());
        let error = Limits::within(&settings, Some(12)).err().unwrap().to_string();
        assert!(error.contains("leaves 12") && error.contains("ulimit -n"), "{error}");
    }
}
