//! What a body costs, against the release profile (`make cost-test`): a search over families of hostile bodies for the
//! worst of each, in CPU time of the thread. Nothing here waits for anything, so a busy machine changes little.

#![cfg(not(debug_assertions))]
// a test that unwraps what is not there fails, which is what it is for
#![allow(clippy::unwrap_used, clippy::panic)]

mod chance;
mod families;
mod gzip;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

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
};

/// The time for each family and provider: for a third of it anywhere, then around the worst so far.
const SEARCH: Duration = Duration::from_millis(500);

/// The least of so many runs counts while the worst is looked for.
const RUNS: usize = 3;

/// The least of so many runs of the worst is what it costs: what else the machine does costs time, too.
const RUNS_OF_WORST: usize = 40;

/// Before a body is authenticated.
const MOST: Duration = Duration::from_millis(5);

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// One who receives a provider's deliveries.
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

    /// The CPU time of a body, the least of so many runs.
    fn cost(&self, body: &[u8], proof: Option<&Verified>, runs: usize) -> Duration {
        let body = CollectedBody::unmetered(body.to_vec());
        let run = || {
            let arrival = Arrival {
                provider: self.provider,
                accounts: &self.accounts,
                proof_in_headers: proof.cloned(),
                body: black_box(&body),
                is_encoding_supported: true,
                body_limit_bytes: LIMIT,
                received_at: datetime!(2026-01-01 00:00 UTC),
                redactor: &self.redactor,
            };
            let start = now();
            let result = interpret(&arrival);
            let end = now();
            drop(black_box(result));
            end - start
        };
        let mut least = run();
        for _ in 1..runs {
            least = least.min(run());
        }
        least
    }
}

/// The worst bodies of all families, as far as the search finds them; whether they are authenticated.
fn search(providers: &[&'static dyn Provider], is_authenticated: bool) -> Duration {
    let mut worst_of_all = Duration::ZERO;
    for provider in providers {
        let subject = Subject::new(*provider);
        let proof = is_authenticated.then(|| subject.proof());
        for (name, family) in FAMILIES {
            let mut chance = Chance::new(name.len() as f64);
            let (mut worst, mut at, mut length): (_, Parameters, _) = (Duration::ZERO, [0.0; PARAMETERS], 0);
            let start = Instant::now();
            while start.elapsed() < SEARCH {
                let mut parameters = at;
                if start.elapsed() < SEARCH / 3 {
                    parameters = [(); PARAMETERS].map(|()| chance.part());
                } else {
                    let step = (chance.part() - 0.5) * 0.4;
                    let parameter = &mut parameters[chance.below(PARAMETERS)];
                    *parameter = (*parameter + step).clamp(0.0, 1.0);
                }
                let body = family(&parameters);
                assert!(body.len() <= LIMIT, "{name}: {}", body.len());
                let cost = subject.cost(&body, proof.as_ref(), RUNS);
                if cost >= worst {
                    (worst, at, length) = (cost, parameters, body.len());
                }
            }
            let worst = subject.cost(&family(&at), proof.as_ref(), RUNS_OF_WORST);
            let micros = worst.as_secs_f64() * 1e6;
            println!(
                "{:<21} {name:<36} {:>7.3} ms {:>7.1} µs/KiB of {length} bytes at {at:.2?}",
                provider.name(),
                micros / 1e3,
                micros * 1024.0 / length as f64,
            );
            worst_of_all = worst_of_all.max(worst);
        }
    }
    worst_of_all
}

#[test]
fn no_body_costs_more_than_five_milliseconds_before_it_is_authenticated() {
    let providers: Vec<_> = PROVIDERS.iter().copied().filter(|provider| !provider.authenticates_by_header()).collect();
    let worst = search(&providers, false);
    assert!(worst < MOST, "{worst:?}");
}

#[test]
fn what_authenticated_bodies_cost() {
    search(PROVIDERS, true);
}
