//! What happens to replicas and databases in operation.

use super::{
    load::Load,
    stack::{REPLICAS, Stack, wait_until},
};

/// Deliveries that are acknowledged while something is away.
const MEANWHILE: u64 = 1500;

pub struct Scenario {
    pub name: &'static str,
    /// Before there is a load.
    pub prepare: fn(&mut Stack),
    /// Under load.
    pub happen: fn(&mut Stack, &Load),
    /// The most deliveries that may fail; a figure is needed only where it is more than luck.
    pub may_fail: Option<u64>,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "rolling restart of all replicas",
        prepare: |_| {},
        happen: |stack, load| {
            for replica in REPLICAS {
                stack.replace(replica);
                load.acknowledges(MEANWHILE);
            }
        },
        may_fail: Some(0),
    },
    Scenario {
        name: "a replica killed",
        prepare: |_| {},
        happen: |stack, load| {
            stack.kill("replica-1");
            load.acknowledges(MEANWHILE);
            stack.start("replica-1");
            stack.wait_until_ready();
        },
        // what it had taken in and not answered
        may_fail: None,
    },
    Scenario {
        name: "a replica cut off from Postgres",
        prepare: |_| {},
        happen: |stack, load| {
            let (network, replica) = (stack.network("back"), stack.id("replica-1"));
            stack.docker(&["network", "disconnect", &network, &replica]);
            wait_until("the replica spools", || stack.says("replica-1", "the spool is in use"));
            load.acknowledges(MEANWHILE);
            stack.docker(&["network", "connect", &network, &replica]);
            wait_until("the spool is drained", || stack.says("replica-1", "the spool is empty again"));
        },
        may_fail: Some(0),
    },
    Scenario {
        name: "PgBouncer in transaction mode",
        prepare: |stack| stack.lay_over(Some("tests/it/operation/containers/pgbouncer/compose.yaml")),
        happen: |stack, load| {
            load.acknowledges(2 * MEANWHILE);
            for replica in REPLICAS {
                assert!(!stack.says(replica, "the spool is in use"), "{replica} writes through the pooler");
            }
        },
        may_fail: Some(0),
    },
    Scenario {
        name: "Postgres failed over to its standby",
        prepare: |stack| {
            stack.lay_over(None);
            add_standby(stack);
        },
        happen: |stack, load| {
            stack.docker(&["kill", "-s", "KILL", stack.database()]);
            wait_until("a replica spools", || REPLICAS.iter().any(|it| stack.says(it, "the spool is in use")));
            load.acknowledges(MEANWHILE);
            let (network, standby) = (stack.network("back"), stack.take_standby());
            stack.query("select pg_promote()");
            // the name goes to the new primary
            stack.docker(&["network", "disconnect", &network, &standby]);
            stack.docker(&["network", "connect", "--alias", "postgres", &network, &standby]);
            load.acknowledges(MEANWHILE);
        },
        may_fail: Some(0),
    },
];

/// A standby that has each commit before it is acknowledged.
fn add_standby(stack: &mut Stack) {
    stack.docker(&[
        "exec",
        "-u",
        "postgres",
        stack.database(),
        "bash",
        "-c",
        "echo 'host replication all all scram-sha-256' >> \"$PGDATA/pg_hba.conf\"",
    ]);
    stack.query("select pg_reload_conf()");
    let script = "install -d -o postgres -g postgres -m 700 /var/lib/postgresql/standby && \
                  exec setpriv --reuid=postgres --regid=postgres --init-groups bash -ec ' \
                  export PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/standby; \
                  pg_basebackup -N -c fast -h postgres -U tickets -D $PGDATA -R -X stream -C -S standby; \
                  exec postgres -c listen_addresses=* -c synchronous_standby_names='";
    let standby = stack.run_beside(
        "standby",
        &[
            &["-e", "PGPASSWORD=demo-postgres-password", "-v", "/var/lib/postgresql/standby"][..],
            &["--entrypoint", "bash", "postgres:15.18-bookworm", "-c", script],
        ]
        .concat(),
    );
    let state = |stack: &Stack| {
        stack.query(
            "select sync_state from pg_stat_replication where application_name = 'walreceiver' and state = 'streaming'",
        )
    };
    wait_until("the standby follows", || !state(stack).is_empty());
    stack.query("alter system set synchronous_standby_names = '*'");
    stack.query("select pg_reload_conf()");
    wait_until("the standby is synchronous", || state(stack) == ["sync"]);
    stack.set_standby(standby);
}
