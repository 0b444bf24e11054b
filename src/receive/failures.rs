//! Failed authentication: what it costs who fails often.
//!
//! Failures are counted for each address (of IPv6: for each /64). Beyond the limit a failure is answered with "too many"
//! and the time after which another one is heard. It is the answer to a failure that changes and nothing else: whoever
//! presents the right credentials is never refused, whatever happened before, for no provider sends twice. So this
//! does not stop somebody from guessing; it tells an honest sender to stop, and only secrets that are long enough keep a
//! dishonest one out.
//!
//! It also keeps strangers from flooding the log: beyond the limit there is one line a minute for each address with the
//! number of those that have none of their own, and there is a limit for all addresses together.
//!
//! The memory is bounded whatever the number of addresses: they share a table of fixed size. Two addresses that happen
//! to share a place in it are counted as one, which no valid delivery notices. Which ones do is different in every
//! process, so nobody can choose a neighbour.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};

use crate::{addresses::Block, providers::Outcome, telemetry::OnceAMinute};

/// Places in the table. With the 28 bytes of each it takes 224 KiB.
const PLACES: usize = 8192;

/// Lines in the log about all that was not taken in, a minute.
const LINES: NonZeroU32 = NonZeroU32::new(600).expect("it is not 0");

type Limiter = RateLimiter<usize, Table, DefaultClock>;

/// Who failed how often.
pub struct Failures {
    places: RandomState,
    answers: Limiter,
    lines: Limiter,
    /// Of those that have no line of their own.
    reminders: Limiter,
    unlogged: Box<[AtomicU32]>,
    all_lines: DefaultDirectRateLimiter,
    beyond: OnceAMinute,
}

/// A limiter's state for each place.
struct Table(Box<[InMemoryState]>);

impl Failures {
    /// With so many failures a minute for each address.
    pub fn new(per_minute: NonZeroU32) -> Self {
        let limiter = |quota| {
            let table = Table((0..PLACES).map(|_| InMemoryState::default()).collect());
            Limiter::new(quota, table, DefaultClock::default())
        };
        Self {
            places: RandomState::new(),
            answers: limiter(Quota::per_minute(per_minute)),
            lines: limiter(Quota::per_minute(per_minute)),
            reminders: limiter(Quota::per_minute(NonZeroU32::MIN)),
            unlogged: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            all_lines: RateLimiter::direct(Quota::per_minute(LINES)),
            beyond: OnceAMinute::default(),
        }
    }

    fn place(&self, client: IpAddr) -> usize {
        let hash = self.places.hash_one(Block::of(client));
        usize::try_from(hash % PLACES as u64).expect("it is a small number")
    }

    /// Counts a failure of an address and says what it is answered.
    pub(super) fn answer(&self, client: IpAddr) -> Outcome {
        match self.answers.check_key(&self.place(client)) {
            Ok(()) => Outcome::Unauthenticated,
            Err(not_until) => Outcome::TooManyFailures(not_until.wait_time_from(self.answers.clock().now())),
        }
    }

    /// Logs a delivery of which nothing is kept: with the line of its own, together with others, or with all others.
    pub(super) fn log(&self, client: IpAddr, line: impl FnOnce()) {
        let place = self.place(client);
        if self.lines.check_key(&place).is_ok() {
            self.write(line);
            return;
        }
        self.unlogged[place].fetch_add(1, Ordering::Relaxed);
        if self.reminders.check_key(&place).is_ok() {
            let unlogged = self.unlogged[place].swap(0, Ordering::Relaxed);
            let block = Block::of(client);
            self.write(|| tracing::warn!(client.address = %block, unlogged, "many deliveries not taken in"));
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

impl StateStore for Table {
    type Key = usize;

    fn measure_and_replace<T, F, E>(&self, place: &usize, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0[*place].measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn is_too_often(failures: &Failures, client: IpAddr) -> bool {
        matches!(failures.answer(client), Outcome::TooManyFailures(_))
    }

    #[test]
    fn each_address_may_fail_so_often_and_a_64th_of_ipv6_is_one() {
        let failures = Failures::new(NonZeroU32::new(3).unwrap());
        for client in ["192.0.2.1", "2001:db8::1"].map(|client| client.parse().unwrap()) {
            assert_eq!([(); 4].map(|()| is_too_often(&failures, client)), [false, false, false, true]);
        }
        assert!(is_too_often(&failures, "2001:db8::2".parse().unwrap()));
        assert!(!is_too_often(&failures, "2001:db8:0:1::2".parse().unwrap()));
        let Outcome::TooManyFailures(wait) = failures.answer(address(0xc000_0201)) else { panic!() };
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
    }

    #[test]
    fn any_number_of_addresses_has_room_and_the_log_has_an_end() {
        let failures = Failures::new(NonZeroU32::new(10).unwrap());
        let mut lines = 0;
        for n in 0..300_000 {
            failures.answer(address(n));
            failures.log(address(n), || lines += 1);
        }
        // the limit, and what it grows by in the seconds that this takes
        assert!((600..3000).contains(&lines), "{lines}");
        assert!(is_too_often(&failures, address(7)));
    }
}
