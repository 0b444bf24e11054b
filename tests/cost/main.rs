//! What a body costs in CPU time (`make cost-test`): a search over families of hostile bodies for the worst of each.
//!
//! Invariants:
//!
//! - The bodies are the same in every run: a failure comes again.
//! - Each search begins with the worst bodies that longer searches found (`worst`). `make cost-test COST_BODIES=1000`
//!   searches for longer and prints what belongs there.
//! - CPU time of the thread is measured, so that a busy machine changes little.
//! - The limit is a multiple of a yardstick that is measured in turns with the worst body: a slow machine is as strict as a
//!   fast one.

#![cfg(not(debug_assertions))]
// a test that unwraps a missing value fails, as it should
#![allow(clippy::unwrap_used, clippy::panic)]
// a parameter may be near a known number
#![allow(clippy::approx_constant)]

mod chance;
mod families;
mod gzip;
mod worst;
mod yardstick;

use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use secrecy::SecretString;
use ticket_webhooks::{
    credentials::{Account, Accounts, Verified},
    providers::{PROVIDERS, Provider},
    receive::{Arrival, CollectedBody, interpret},
    redaction::Redactor,
    ticket_event::Environment,
};
use time::macros::datetime;

use self::{
    chance::Chance,
    families::{FAMILIES, LIMIT, PARAMETERS, Parameters},
    worst::WORST,
    yardstick::Yardstick,
};

/// Bodies for each family and provider beside the known worst, where `COST_BODIES` names no other number: a third of them
/// at random, the others near the worst so far.
const BODIES: usize = 12;

/// Runs of each body in the search; the shortest counts.
const RUNS: usize = 2;

/// Runs of the worst body; the shortest counts, as other load on the machine only adds time.
const RUNS_OF_WORST: usize = 20;

/// The limit for a body that is not authenticated yet, in yardsticks: five milliseconds where one takes 1.7.
const MOST: f64 = 3.0;

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// A provider with one account, and what its deliveries are read with.
struct Subject {
    provider: &'static dyn Provider,
    accounts: Accounts,
    redactor: Redactor,
}

impl Subject {
    fn new(provider: &'static dyn Provider) -> Self {
        let secrets: Vec<SecretString> =
            provider.credentials().iter().map(|credential| format!("secret-{}", credential.key).into()).collect();
        let accounts = Accounts::new(vec![Account::new("main", Environment::Live, &secrets)]);
        Self { provider, accounts, redactor: Redactor::new(secrets) }
    }

    /// The proof for any body.
    fn proof(&self) -> Verified {
        let keys = self.provider.credentials().iter();
        let presented = keys.map(|credential| format!("secret-{}", credential.key).into()).collect();
        self.accounts.verify(Ok(presented)).unwrap()
    }

    /// The CPU time of reading a body.
    fn cost(&self, body: &CollectedBody, proof: Option<&Verified>) -> Duration {
        let arrival = Arrival {
            provider: self.provider,
            accounts: &self.accounts,
            proof_in_headers: proof.cloned(),
            body: black_box(body),
            is_encoding_supported: true,
            body_limit_bytes: LIMIT,
            received_at: datetime!(2026-01-01 00:00 UTC),
            redactor: &self.redactor,
            dropped_members: &[],
        };
        cpu_time(|| interpret(&arrival))
    }
}

/// The CPU time of a piece of work, without that of dropping its result.
fn cpu_time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = now();
    let result = black_box(work());
    let end = now();
    drop(result);
    end - start
}

/// The costliest body that was found.
struct Worst {
    cost: Duration,
    at: Parameters,
}

/// The costliest bodies of all families for these providers, and the cost of the worst of all in yardsticks. Prints a line
/// for each.
fn search(providers: &[&'static dyn Provider], is_authenticated: bool) -> f64 {
    let bodies = std::env::var("COST_BODIES").map_or(BODIES, |bodies| bodies.parse().unwrap());
    let yardstick = Yardstick::new();
    let mut worst_of_all: f64 = 0.0;
    for provider in providers {
        let subject = Subject::new(*provider);
        let proof = is_authenticated.then(|| subject.proof());
        for (name, family) in FAMILIES {
            let mut worst = worst_of(name, *family, bodies, |body| subject.cost(body, proof.as_ref()));
            let body = family(&worst.at);
            let bytes = body.len();
            let body = CollectedBody::unmetered(body);
            let mut least = Duration::MAX;
            for _ in 0..RUNS_OF_WORST {
                least = least.min(cpu_time(|| yardstick.run()));
                worst.cost = worst.cost.min(subject.cost(&body, proof.as_ref()));
            }
            let yardsticks = worst.cost.div_duration_f64(least);
            println!(
                "{:<21} {name:<36} {yardsticks:>5.2} yardsticks {:>7.3} ms {:>7.1} µs/KiB of {bytes} bytes at {:.3?}",
                provider.name(),
                worst.cost.as_secs_f64() * 1e3,
                worst.cost.as_secs_f64() * 1e6 * 1024.0 / bytes as f64,
                worst.at,
            );
            worst_of_all = worst_of_all.max(yardsticks);
        }
    }
    worst_of_all
}

fn worst_of(
    name: &str,
    family: fn(&Parameters) -> Vec<u8>,
    bodies: usize,
    cost: impl Fn(&CollectedBody) -> Duration,
) -> Worst {
    let mut chance = Chance::new(name.len() as f64);
    let mut known = WORST.iter().filter(|(of, _)| *of == name).map(|(_, known)| *known);
    let mut worst = Worst { cost: Duration::ZERO, at: [0.0; PARAMETERS] };
    let mut searched = 0;
    while searched < bodies {
        let parameters = if let Some(known) = known.next() {
            known
        } else {
            searched += 1;
            if searched <= bodies / 3 {
                [(); PARAMETERS].map(|()| rounded(chance.part()))
            } else {
                let mut near = worst.at;
                let parameter = &mut near[chance.below(PARAMETERS)];
                *parameter = rounded((*parameter + (chance.part() - 0.5) * 0.4).clamp(0.0, 1.0));
                near
            }
        };
        let body = family(&parameters);
        assert!(body.len() <= LIMIT, "{name}: {}", body.len());
        let body = CollectedBody::unmetered(body);
        let cost = (0..RUNS).map(|_| cost(&body)).min().unwrap();
        if cost >= worst.cost {
            worst = Worst { cost, at: parameters };
        }
    }
    worst
}

/// As the parameters are printed: what is printed is the body that was measured.
fn rounded(parameter: f64) -> f64 {
    (parameter * 1000.0).round() / 1000.0
}

#[test]
fn no_body_costs_more_than_three_yardsticks_before_it_is_authenticated() {
    let providers: Vec<_> = PROVIDERS.iter().copied().filter(|provider| !provider.authenticates_by_header()).collect();
    let worst = search(&providers, false);
    assert!(worst < MOST, "{worst} yardsticks");
}

/// Prints only: an account is known, and its failures are limited.
#[test]
fn what_authenticated_bodies_cost() {
    search(PROVIDERS, true);
}

#[test]
fn every_known_worst_body_belongs_to_a_family() {
    for (name, _) in WORST {
        assert!(FAMILIES.iter().any(|(family, _)| family == name), "{name}");
    }
}
