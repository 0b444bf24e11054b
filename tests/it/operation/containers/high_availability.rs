//! What happens to three Postgres under Patroni (ops/patroni), under load.

use std::{fmt, time::Duration};

use super::{
    cluster::{Cluster, ETCD, MEMBERS},
    ledger::{Findings, compare},
    load::{CLIENTS, Load},
    probe::Probe,
    stack::{REPLICAS, wait_until},
};

/// So few that a batch is one delivery as a rule, as in a quiet hour.
const FEW_CLIENTS: u32 = 8;

/// Deliveries of each client that are acknowledged before and after what happens.
const BEFORE_AND_AFTER: u64 = 10;

/// Deliveries that are acknowledged in more time than Patroni waits for etcd before it stops the primary.
const MEANWHILE: u64 = 4000;

pub struct Scenario {
    pub name: &'static str,
    clients: u32,
    /// Under load; the name is the primary's. Returns once another member has taken over, or nothing had to.
    happen: fn(&Cluster, &str, &Load),
    /// Brings back what was lost.
    heal: fn(&Cluster, &str),
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the primary killed",
        clients: CLIENTS,
        happen: |cluster, primary, _| {
            cluster.stack.kill(primary);
            cluster.wait_for_other_primary(primary);
        },
        heal: |cluster, former| cluster.stack.start(former),
    },
    Scenario {
        name: "the primary frozen",
        clients: CLIENTS,
        happen: |cluster, primary, _| {
            cluster.stack.docker(&["pause", &cluster.stack.id(primary)]);
            cluster.wait_for_other_primary(primary);
        },
        // it still takes itself for the primary
        heal: |cluster, former| drop(cluster.stack.docker(&["unpause", &cluster.stack.id(former)])),
    },
    Scenario {
        name: "the primary cut off, clients not",
        // of a batch with new bookings and others, only a part was committed there, and the rest makes it wait again
        clients: FEW_CLIENTS,
        happen: |cluster, primary, _| {
            cluster.cut_off(primary);
            let survivor = cluster.wait_for_other_primary(primary);
            assert!(has_rows_of_its_own(cluster, primary, &survivor), "clients wrote to the member that was cut off");
        },
        heal: Cluster::reconnect,
    },
    Scenario {
        name: "the leader of etcd killed",
        clients: CLIENTS,
        happen: |cluster, primary, _| {
            let leader = cluster.leader_of_etcd().expect("etcd has a leader");
            cluster.stack.kill(leader);
            wait_until("etcd has another leader", || cluster.leader_of_etcd().is_some());
            assert_eq!(cluster.query(primary, "select pg_is_in_recovery()"), ["f"], "the primary stays");
            cluster.stack.start(leader);
        },
        heal: |_, _| {},
    },
    Scenario {
        name: "all of etcd killed",
        clients: CLIENTS,
        happen: |cluster, primary, load| {
            for name in ETCD {
                cluster.stack.kill(name);
            }
            load.acknowledges(MEANWHILE);
            assert_eq!(cluster.query(primary, "select pg_is_in_recovery()"), ["f"], "the primary reaches all others");
        },
        heal: |cluster, _| {
            for name in ETCD {
                cluster.stack.start(name);
            }
        },
    },
    Scenario {
        name: "a switchover",
        clients: CLIENTS,
        happen: |cluster, primary, _| {
            let standby = cluster.synchronous_standby();
            cluster.switch_over(primary, &standby);
            assert_eq!(cluster.wait_for_other_primary(primary), standby);
        },
        heal: |_, _| {},
    },
];

/// Whether one member has recorded what another has not, or at another time: what was committed there alone.
fn has_rows_of_its_own(cluster: &Cluster, member: &str, other: &str) -> bool {
    let rows = |member: &str| cluster.query(member, "select id, recorded_at from ticket_events order by 1");
    let mut of_its_own = false;
    // until its Patroni has made it a standby, it answers nobody
    wait_until("the member answers", || {
        let (its, others) = (rows(member), rows(other));
        of_its_own = its.iter().any(|row| others.binary_search(row).is_err());
        !its.is_empty()
    });
    of_its_own
}

pub struct Measures {
    findings: Findings,
    away: Duration,
    spooled: u64,
    slowest: Duration,
}

impl Measures {
    pub const HEAD: &str = "acknowledged  failed  lost  doubled  never sent  Postgres away  spooled  slowest answer";
}

impl fmt::Display for Measures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { findings, away, spooled, slowest } = self;
        write!(formatter, "{:12}  {:6}  {:4}", findings.acknowledged, findings.failed(), findings.lost)?;
        write!(formatter, "  {:7}  {:10}  {:11.1} s", findings.doubled, findings.strange, away.as_secs_f32())?;
        write!(formatter, "  {spooled:7}  {:12.2} s", slowest.as_secs_f32())
    }
}

/// One scenario: what it did to the deliveries. Afterwards the cluster is whole again.
pub fn play(cluster: &mut Cluster, number: u32, scenario: &Scenario) -> Measures {
    let primary = cluster.wait_until_whole();
    let drained = || REPLICAS.iter().map(|replica| cluster.stack.drained(replica)).sum::<u64>();
    let (before, probe) = (drained(), Probe::start(cluster.stack.database_url("database")));
    let load = Load::start(number, cluster.stack.address(), scenario.clients);
    let some = BEFORE_AND_AFTER * u64::from(scenario.clients);
    load.acknowledges(some);
    (scenario.happen)(cluster, &primary, &load);
    (scenario.heal)(cluster, &primary);
    let primary = cluster.wait_until_whole();
    load.acknowledges(some);
    let sent = load.finish();
    cluster.stack.wait_until_drained();
    let (away, spooled) = (probe.finish(), drained() - before);
    assert_all_have_the_same(cluster, &primary);
    cluster.stack.set_database(&primary);
    let findings = compare(&sent, &cluster.stack.recorded(number));
    let is_proper = findings.is_clean() && findings.failed() == 0;
    assert!(is_proper, "{}: {findings:#?}\n{}", scenario.name, cluster.stack.logs());
    let slowest = sent.iter().map(|sent| sent.took).max().unwrap_or_default();
    Measures { findings, away, spooled, slowest }
}

/// Nothing is left of what a former primary committed alone.
fn assert_all_have_the_same(cluster: &Cluster, primary: &str) {
    let rows = |member: &str| {
        let hashes = "select count(*), sum(hashtext(ticket_events::text)::bigint) from ticket_events";
        cluster.query(member, hashes)
    };
    for member in MEMBERS {
        wait_until("a standby has all of the primary, and nothing else", || rows(member) == rows(primary));
    }
}
