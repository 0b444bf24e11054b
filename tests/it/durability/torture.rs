//! What was acknowledged is recorded once, whatever breaks in between.
//!
//! Clients deliver without a pause while one fault after the other is made and mended; after each the table is compared
//! with what was acknowledged. `TORTURE_ROUNDS` says how many rounds, `TORTURE_SEED` repeats a run's choices
//! (not its timing), `make torture` runs a hundred.

mod client;

mod faults;
mod ledger;
mod load;
mod world;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use self::{
    faults::{FAULTS, Fault, Struck},
    ledger::{Findings, Sent, compare},
    load::Load,
    world::World,
};
use crate::support::Chance;

/// What the clients know of one round, and what the table says to that.
struct Round {
    number: u32,
    sent: Vec<Vec<Sent>>,
    findings: Findings,
    may_lose: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_recorded_once_whatever_breaks() {
    // each fault once
    let rounds = number("TORTURE_ROUNDS").unwrap_or(FAULTS.len() as u64);
    let seed = number("TORTURE_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_millis() as u64
    });
    println!("TORTURE_SEED={seed} TORTURE_ROUNDS={rounds}");
    let mut chance = Chance::of(seed);
    let mut world = World::new().await;
    let mut done = Vec::new();
    for (number, fault) in (1..).zip(FAULTS.iter().cycle()).take(rounds.try_into().unwrap()) {
        match play(&mut world, number, *fault, &mut chance).await {
            Some(round) => done.push(round),
            None => println!("round {number:3}  {fault:42}  skipped: this machine cannot do it"),
        }
    }
    let totals = done.iter().fold(Findings::default(), |totals, round| totals.and(&round.findings));
    println!("{} rounds  {totals}", done.len());
    // nothing has come or gone since
    for Round { number, sent, findings, may_lose } in &done {
        let again = compare(sent, world.recorded(*number).await);
        assert!(again.is_clean(*may_lose), "round {number}, looked at again at the end: {again:#?}");
        assert!(
            again.acknowledged == findings.acknowledged && again.rows >= findings.rows,
            "round {number}: {again:?}"
        );
    }
    assert_eq!(world.unprocessed().await, 0, "no delivery was other than it should be");
    world.stop_service().await;
}

/// One fault under load. `None` when it cannot be made here.
async fn play(world: &mut World, number: u32, fault: Fault, chance: &mut Chance) -> Option<Round> {
    let began = Instant::now();
    let load = Load::start(number, &world.address(), chance);
    load.acknowledges(chance.between(50, 300)).await;
    let struck = fault.strike(world, &load, chance).await;
    if matches!(struck, Struck::Skipped) {
        load.finish().await;
        world.drained().await;
        return None;
    }
    load.acknowledges(100).await;
    let sent = load.finish().await;
    world.drained().await;
    let findings = compare(&sent, world.recorded(number).await);
    let seconds = began.elapsed().as_secs_f32();
    println!("round {number:3}  {:42}  {findings}  {seconds:4.1} s  {struck}", fault.to_string());
    let log = || world.service().process.output();
    assert!(findings.is_clean(fault.may_lose()), "{fault}: {findings:#?}\n{}", log());
    assert!(findings.refused == 0 || fault.may_refuse(), "{fault}: {} were refused\n{}", findings.refused, log());
    assert!(findings.in_doubt == 0 || fault.may_leave_doubt(), "{fault}: {} in doubt\n{}", findings.in_doubt, log());
    world.use_own_machine(chance).await;
    Some(Round { number, sent, findings, may_lose: fault.may_lose() })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, not {value:?}")))
}
