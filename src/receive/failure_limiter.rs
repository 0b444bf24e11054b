//! Failed authentication: what it costs who fails often.
//!
//! FailureLimiter are counted for each address (of IPv6: for each /64, and for each /48 with a larger limit). Beyond the limit a
//! failure is answered with "too many" and the time after which another one is heard. It is the answer to a failure that changes and nothing else: whoever
//! presents the right credentials is never refused, whatever happened before, for no provider sends twice. So this
//! does not stop somebody from guessing; it tells an honest sender to stop, and only secrets that are long enough keep a
//! dishonest one out.
//!
//! It also keeps strangers from flooding the log: beyond the limit there is one line a minute for each address with the
//! number of those that have none of their own, and there is a limit for all addresses together.
//!
//! The memory is bounded: see [`ClientLimiter`]. That two addresses may be counted as one is noticed by no valid delivery.

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

/// Lines in the log about all that was not taken in, a minute.
const LINES: NonZeroU32 = NonZeroU32::new(600).expect("it is not 0");

/// Who failed how often.
pub struct FailureLimiter {
    answers: ClientLimiter,
    lines: ClientLimiter,
    /// Of those that have no line of their own.
    reminders: ClientLimiter,
    /// By the slots of `reminders`.
    unlogged: Box<[AtomicU32]>,
    all_lines: DefaultDirectRateLimiter,
    beyond: RateLimitedWarning,
}

impl FailureLimiter {
    /// With so many failures a minute for each address.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self {
            answers: ClientLimiter::new(per_minute),
            lines: ClientLimiter::new(per_minute),
            reminders: ClientLimiter::new(NonZeroU32::MIN),
            unlogged: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            all_lines: RateLimiter::direct(Quota::per_minute(LINES)),
            beyond: RateLimitedWarning::default(),
        }
    }

    /// Counts a failure of an address. Where there were too many of them, it says when another one is heard.
    pub(super) fn count(&self, client: IpAddr) -> Option<Duration> {
        self.answers.check(client).err()
    }

    /// Logs a delivery of which nothing is kept: with the line of its own, together with others, or with all others.
    pub(super) fn log(&self, client: IpAddr, line: impl FnOnce()) {
        if self.lines.check(client).is_ok() {
            self.write(line);
            return;
        }
        let unlogged = &self.unlogged[self.reminders.slot(client)];
        unlogged.fetch_add(1, Ordering::Relaxed);
        if self.reminders.check(client).is_ok() {
            let unlogged = unlogged.swap(0, Ordering::Relaxed);
            let prefix = ClientPrefix::of(client);
            self.write(|| tracing::warn!(client.address = %prefix, unlogged, "many deliveries not taken in"));
        }
    }

    fn write(&self, line: impl FnOnce()) {
        if self.all_lines.check().is_ok() {
            line();
        } else if let Some(unlogged) = self.beyond.due() {
            tracing::warn!(unlogged, "deliveries not taken in from many addresses");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn is_too_often(failures: &FailureLimiter, client: IpAddr) -> bool {
        failures.count(client).is_some()
    }

    #[test]
    fn each_address_may_fail_so_often_and_a_64th_of_ipv6_is_one() {
        let failures = FailureLimiter::new(NonZeroU32::new(3).unwrap());
        for client in ["192.0.2.1", "2001:db8::1"].map(|client| client.parse().unwrap()) {
            assert_eq!([(); 4].map(|()| is_too_often(&failures, client)), [false, false, false, true]);
        }
        assert!(is_too_often(&failures, "2001:db8::2".parse().unwrap()));
        assert!(!is_too_often(&failures, "2001:db8:0:1::2".parse().unwrap()));
        let wait = failures.count(address(0xc000_0201)).unwrap();
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
    }

    #[test]
    fn the_64ths_of_a_48th_have_a_limit_together_and_so_have_their_lines() {
        let failures = FailureLimiter::new(NonZeroU32::new(3).unwrap());
        let client = |site: u16, n: u16| IpAddr::from([0x2001, 0xdb8, site, n, 0, 0, 0, 1]);
        let (mut heard, mut lines) = (0, 0);
        for n in 0..=u16::MAX {
            heard += u32::from(!is_too_often(&failures, client(1, n)));
            failures.log(client(1, n), || lines += 1);
        }
        // 48, and what it grows by in the seconds that this takes
        assert!((40..100).contains(&heard), "{heard}");
        assert!((40..100).contains(&lines), "{lines}");
        // other networks are not counted with it
        let others = (2..100).filter(|site| !is_too_often(&failures, client(*site, 0))).count();
        assert!(others > 80, "{others}");
    }

    #[test]
    fn any_number_of_addresses_has_room_and_the_log_has_an_end() {
        let failures = FailureLimiter::new(NonZeroU32::new(10).unwrap());
        let mut lines = 0;
        for n in 0..300_000 {
            failures.count(address(n));
            failures.log(address(n), || lines += 1);
        }
        // the limit, and what it grows by in the seconds that this takes
        assert!((600..3000).contains(&lines), "{lines}");
        assert!(is_too_often(&failures, address(7)));
    }
}
