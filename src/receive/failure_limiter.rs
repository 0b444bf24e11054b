//! Limits failed authentications by client address: their replies and their log lines.
//!
//! Counted for each IPv4 address, IPv6 /64, and, with a larger limit, IPv6 /48. Beyond the limit the reply to a failure is
//! "too many", with the time after which another failure is answered as usual.
//!
//! Invariants:
//! - valid credentials are never refused, whatever failed before: no provider sends a delivery twice. So this does not stop
//!   guessing; only long secrets do;
//! - the log is bounded: beyond the limit an address has one line a minute with the number of suppressed ones, and all
//!   addresses share a limit of lines;
//! - memory is bounded (see [`ClientLimiter`]): addresses may share a counter, which no valid delivery notices.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::{
    addresses::{ClientLimiter, ClientPrefix, SLOTS},
    telemetry::RateLimitedWarning,
};

/// Log lines per minute about all rejected deliveries.
const MAX_LINES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("it is not 0");

pub struct FailureLimiter {
    failures: ClientLimiter,
    lines: ClientLimiter,
    /// One line a minute for the suppressed lines of an address.
    summaries: ClientLimiter,
    /// By the slots of `summaries`.
    suppressed: Box<[AtomicU32]>,
    all_lines: DefaultDirectRateLimiter,
    overflow: RateLimitedWarning,
}

impl FailureLimiter {
    /// `per_minute` is the number of failures for each address.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self {
            failures: ClientLimiter::new(per_minute),
            lines: ClientLimiter::new(per_minute),
            summaries: ClientLimiter::new(NonZeroU32::MIN),
            suppressed: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            all_lines: RateLimiter::direct(Quota::per_minute(MAX_LINES_PER_MINUTE)),
            overflow: RateLimitedWarning::default(),
        }
    }

    /// When the limit is exceeded, the time until another failure is within it.
    pub(super) fn count_failure(&self, client: IpAddr) -> Option<Duration> {
        self.failures.check(client).err()
    }

    /// Calls `line` within the limits; beyond them, counts it for a summary.
    pub(super) fn log(&self, client: IpAddr, line: impl FnOnce()) {
        if self.lines.check(client).is_ok() {
            self.write(line);
            return;
        }
        let suppressed = &self.suppressed[self.summaries.slot(client)];
        suppressed.fetch_add(1, Ordering::Relaxed);
        if self.summaries.check(client).is_ok() {
            let suppressed = suppressed.swap(0, Ordering::Relaxed);
            let prefix = ClientPrefix::of(client);
            self.write(|| tracing::warn!(client.address = %prefix, suppressed, "many deliveries rejected"));
        }
    }

    fn write(&self, line: impl FnOnce()) {
        if self.all_lines.check().is_ok() {
            line();
        } else if let Some(suppressed) = self.overflow.due() {
            tracing::warn!(suppressed, "deliveries rejected from many addresses");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn is_too_often(limiter: &FailureLimiter, client: IpAddr) -> bool {
        limiter.count_failure(client).is_some()
    }

    #[test]
    fn each_ipv4_address_and_each_ipv6_64_has_its_own_limit() {
        let limiter = FailureLimiter::new(NonZeroU32::new(3).unwrap());
        for client in ["192.0.2.1", "2001:db8::1"].map(|client| client.parse().unwrap()) {
            assert_eq!([(); 4].map(|()| is_too_often(&limiter, client)), [false, false, false, true]);
        }
        assert!(is_too_often(&limiter, "2001:db8::2".parse().unwrap()));
        assert!(!is_too_often(&limiter, "2001:db8:0:1::2".parse().unwrap()));
        let wait = limiter.count_failure(address(0xc000_0201)).unwrap();
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
    }

    #[test]
    fn the_64s_of_an_ipv6_48_share_a_limit_of_failures_and_of_lines() {
        let limiter = FailureLimiter::new(NonZeroU32::new(3).unwrap());
        let client = |site: u16, n: u16| IpAddr::from([0x2001, 0xdb8, site, n, 0, 0, 0, 1]);
        let (mut within, mut lines) = (0, 0);
        for n in 0..=u16::MAX {
            within += u32::from(!is_too_often(&limiter, client(1, n)));
            limiter.log(client(1, n), || lines += 1);
        }
        // 48, and more for the seconds that this takes
        assert!((40..100).contains(&within), "{within}");
        assert!((40..100).contains(&lines), "{lines}");
        // other networks have their own counters
        let others = (2..100).filter(|site| !is_too_often(&limiter, client(*site, 0))).count();
        assert!(others > 80, "{others}");
    }

    #[test]
    fn any_number_of_addresses_is_counted_and_the_log_is_bounded() {
        let limiter = FailureLimiter::new(NonZeroU32::new(10).unwrap());
        let mut lines = 0;
        for n in 0..300_000 {
            limiter.count_failure(address(n));
            limiter.log(address(n), || lines += 1);
        }
        // the limit, and more for the seconds that this takes
        assert!((600..3000).contains(&lines), "{lines}");
        assert!(is_too_often(&limiter, address(7)));
    }
}
