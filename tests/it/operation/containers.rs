//! The proof in containers: compose.yaml and ops/patroni/compose.yaml as they stand, with a steady load from many
//! connections through HAProxy, while what happens in operation happens. `make container-test` runs it; it needs a Docker
//! engine.
//!
//! After each scenario every delivery that was acknowledged must be in `ticket_events` exactly once, and nothing else may
//! be there. Whatever is made for it carries the label of its own project, and is removed at the end.

mod cluster;
mod high_availability;
mod ledger;
mod load;
mod probe;
mod scenarios;
mod stack;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use self::{
    cluster::Cluster,
    high_availability::Measures,
    ledger::{Findings, compare},
    load::{CLIENTS, Load},
    scenarios::{SCENARIOS, Scenario},
    stack::{Stack, engine_answers},
};

/// Deliveries that are acknowledged before and after what happens, so that there is a load on both sides of it.
const BEFORE_AND_AFTER: u64 = 1000;

/// Each proof wants the machine for itself. `None`, and a line that says so, without a Docker engine.
fn machine() -> Option<MutexGuard<'static, ()>> {
    static MACHINE: Mutex<()> = Mutex::new(());
    if !engine_answers() {
        println!("SKIPPED: no Docker engine answers here, so the proof in containers was not given");
        return None;
    }
    Some(MACHINE.lock().unwrap_or_else(PoisonError::into_inner))
}

#[test]
#[ignore = "it needs a Docker engine and the image: make container-test"]
fn nothing_acknowledged_is_lost_behind_a_load_balancer_whatever_happens() {
    let Some(_machine) = machine() else { return };
    let mut stack = Stack::up("compose.yaml");
    println!("image: {}", stack.image_size());
    let mut table = Vec::new();
    for (number, scenario) in (1..).zip(SCENARIOS) {
        let (findings, took) = play(&mut stack, number, scenario);
        println!("{:38} {findings}  {:4.0} s", scenario.name, took.as_secs_f32());
        table.push((number, scenario, findings));
    }
    // it was made anew while Postgres was there
    println!("start to ready: {:.2} s", stack.start_to_ready("replica-1").as_secs_f64());
    println!("\n{:38} {}", "", Findings::HEAD);
    for (_, scenario, findings) in &table {
        println!("{:38} {findings}", scenario.name);
    }
    assert_eq!(stack.query("select count(*) from unprocessed_deliveries"), ["0"], "every delivery was a proper one");
}

#[test]
#[ignore = "it needs a Docker engine and the images: make container-test"]
fn nothing_acknowledged_is_lost_with_the_primary_of_three_postgres() {
    let Some(_machine) = machine() else { return };
    let mut cluster = Cluster::up();
    let mut table = Vec::new();
    for (number, scenario) in (1..).zip(high_availability::SCENARIOS) {
        let began = Instant::now();
        let measures = high_availability::play(&mut cluster, number, scenario);
        println!("{:33} {measures}  {:4.0} s", scenario.name, began.elapsed().as_secs_f32());
        table.push((scenario.name, measures));
    }
    println!("\n{:33} {}", "", Measures::HEAD);
    for (name, measures) in &table {
        println!("{name:33} {measures}");
    }
}

/// One scenario under load: what came of it, and how long it took.
fn play(stack: &mut Stack, number: u32, scenario: &Scenario) -> (Findings, Duration) {
    (scenario.prepare)(stack);
    stack.wait_until_drained();
    let began = Instant::now();
    let load = Load::start(number, stack.address(), CLIENTS);
    load.acknowledges(BEFORE_AND_AFTER);
    (scenario.happen)(stack, &load);
    load.acknowledges(BEFORE_AND_AFTER);
    let sent = load.finish();
    let took = began.elapsed();
    stack.wait_until_drained();
    let findings = compare(&sent, &stack.recorded(number));
    assert!(findings.is_clean(), "{}: {findings:#?}\n{}", scenario.name, stack.logs());
    if let Some(most) = scenario.may_fail {
        assert!(findings.failed() <= most, "{}: {findings:#?}\n{}", scenario.name, stack.logs());
    }
    (findings, took)
}
