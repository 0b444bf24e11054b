//! A small reference of inbox, store and spool beside the real ones: the same random steps, the same answers, the same
//! tables.
//!
//! Two replicas share a database; each has a spool and a link to Postgres of its own, which a step may cut. The reference
//! is written from the contract's chapter "Duplicates, order and corrections", not from the SQL. A request that a kill
//! interrupts may have been recorded or not: from there on the reference follows both possibilities until the tables
//! tell which one it was.
//!
//! The cases are the same in every run. More of them, or others:
//! `MODEL_CASES=500 MODEL_SEED=7 cargo test --test it model:: -- --nocapture`. A failure shows the shortest sequence of
//! steps that fails.

mod deliveries;
mod link;
mod reference;
mod world;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use self::{
    deliveries::{Content, Sent, sent},
    world::World,
};

/// Cases in an ordinary run.
const CASES: u32 = 10;

/// The most steps of a case.
const STEPS: usize = 40;

/// What happens to both the service and the reference.
#[derive(Clone, Debug)]
enum Step {
    /// A delivery to a replica.
    Deliver(usize, Sent),
    /// The same delivery so many times at once, to all replicas that reach Postgres.
    DeliverAtOnce(usize, Sent),
    /// A replica does not reach Postgres any more.
    Cut(usize),
    /// It does again, and empties its spool.
    Mend(usize),
    /// A replica is killed between two requests, and started again.
    Kill(usize),
    /// A replica is killed so many microseconds after a delivery was sent, and started again.
    KillDuring(usize, Sent, u64),
    /// A replica is stopped in order, and started again.
    Restart(usize),
    /// The agency expects the booking of a delivery.
    Expect(Sent),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = || 0..2_usize;
    let event = || sent().prop_map(|sent| Sent { content: Content::Event, ..sent });
    vec(
        prop_oneof![
            24 => (replica(), sent()).prop_map(|(replica, sent)| Step::Deliver(replica, sent)),
            3 => (2..8_usize, event()).prop_map(|(times, sent)| Step::DeliverAtOnce(times, sent)),
            4 => replica().prop_map(Step::Cut),
            4 => replica().prop_map(Step::Mend),
            1 => replica().prop_map(Step::Kill),
            1 => (replica(), event(), 0..4000_u64).prop_map(|(replica, sent, micros)| Step::KillDuring(replica, sent, micros)),
            1 => replica().prop_map(Step::Restart),
            1 => event().prop_map(Step::Expect),
        ],
        STEPS / 2..=STEPS,
    )
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("it is a number"))
}

#[test]
fn the_service_answers_and_records_what_the_reference_does() {
    let cases = variable("MODEL_CASES").map_or(CASES, |cases| u32::try_from(cases).expect("it is small"));
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&variable("MODEL_SEED").unwrap_or_default().to_le_bytes());
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let result = runner.run(&steps(), |steps| runtime.block_on(run(&steps)));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

async fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::start().await;
    for step in steps {
        world.take(step).await?;
    }
    for replica in 0..2 {
        world.take(&Step::Mend(replica)).await?;
    }
    world.compare().await
}
