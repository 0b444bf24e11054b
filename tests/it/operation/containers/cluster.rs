//! ops/patroni/compose.yaml: who is the primary, whether the cluster is whole, and what can be done to its members.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::stack::{Stack, wait_until};

pub const FILE: &str = "ops/patroni/compose.yaml";

pub const MEMBERS: [&str; 3] = ["postgres-1", "postgres-2", "postgres-3"];

pub const ETCD: [&str; 3] = ["etcd-1", "etcd-2", "etcd-3"];

/// Members reach each other and etcd over it; clients do not use it.
const NETWORK: &str = "cluster";

/// Of an answer of Patroni.
const TIMEOUT: Duration = Duration::from_secs(2);

pub struct Cluster {
    pub stack: Stack,
}

/// A member as Patroni has it in etcd.
struct Member {
    name: String,
    role: String,
    is_running: bool,
    timeline: u64,
}

impl Cluster {
    /// Everything, with the tables, whole.
    pub fn up() -> Self {
        let cluster = Self { stack: Stack::up(FILE) };
        let primary = cluster.wait_until_whole();
        wait_until("a replica has made the tables", || {
            cluster.query(&primary, "select to_regclass('booking_states') is not null") == ["t"]
        });
        cluster
    }

    /// The lines of an answer of a member's database. None while it does not answer.
    pub fn query(&self, member: &str, sql: &str) -> Vec<String> {
        let container = self.stack.id(member);
        try_in(&container, &["psql", "-U", "postgres", "-d", "tickets", "-Atc", sql])
            .map(|answer| answer.lines().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    fn members(&self) -> Vec<Member> {
        // one may be down, frozen or cut off
        let cluster = MEMBERS.iter().find_map(|name| ask(&self.stack.address_of(name), "/cluster"));
        let member = |member: &Value| Member {
            name: member["name"].as_str().unwrap_or_default().to_owned(),
            role: member["role"].as_str().unwrap_or_default().to_owned(),
            is_running: member["state"] == "running",
            timeline: member["timeline"].as_u64().unwrap_or_default(),
        };
        let members = cluster.as_ref().and_then(|cluster| cluster["members"].as_array());
        members.into_iter().flatten().map(member).collect()
    }

    /// Waits until there are a primary, a synchronous standby that could be promoted, and another standby, all on one
    /// timeline. The primary.
    pub fn wait_until_whole(&self) -> String {
        let mut primary = String::new();
        wait_until("the cluster is whole", || {
            let members = self.members();
            let with = |role: &str| {
                let mut of_role = members.iter().filter(|member| member.role == role && member.is_running);
                of_role.next().map(|member| (member.name.clone(), member.timeline))
            };
            let (Some(leader), Some(standby), Some(other)) = (with("leader"), with("sync_standby"), with("replica"))
            else {
                return false;
            };
            primary.clone_from(&leader.0);
            // of the members themselves: what is in etcd may be some seconds old
            let standbys = "select count(*) from pg_stat_replication where state = 'streaming'";
            leader.1 == standby.1 && leader.1 == other.1 && self.query(&leader.0, standbys) == ["2"]
        });
        primary
    }

    /// Waits until another member than this one takes writes. It.
    pub fn wait_for_other_primary(&self, former: &str) -> String {
        let mut primary = None;
        wait_until("another member is the primary", || {
            let mut others = MEMBERS.iter().filter(|name| **name != former);
            primary = others.find(|name| self.query(name, "select pg_is_in_recovery()") == ["f"]);
            primary.is_some()
        });
        primary.map(|name| (*name).to_owned()).expect("it was waited for")
    }

    /// The member that would become the primary.
    pub fn synchronous_standby(&self) -> String {
        let members = self.members();
        let standby = members.into_iter().find(|member| member.role == "sync_standby");
        standby.expect("the cluster is whole").name
    }

    /// Neither the other members nor etcd are reached any more. Clients are.
    pub fn cut_off(&self, member: &str) {
        self.stack.docker(&["network", "disconnect", &self.stack.network(NETWORK), &self.stack.id(member)]);
    }

    pub fn reconnect(&self, member: &str) {
        let (network, container) = (self.stack.network(NETWORK), self.stack.id(member));
        let alias = format!("{member}.cluster");
        self.stack.docker(&["network", "connect", "--alias", &alias, &network, &container]);
    }

    pub fn switch_over(&self, from: &str, to: &str) {
        let container = self.stack.id(from);
        let switch = ["patronictl", "switchover", "--leader", from, "--candidate", to, "--force"];
        self.stack.docker(&[&["exec", &container][..], &switch].concat());
    }

    /// The member of etcd that leads the others. None while they elect one.
    pub fn leader_of_etcd(&self) -> Option<&'static str> {
        let leads = |name: &&&str| {
            let status = try_in(&self.stack.id(name), &["etcdctl", "endpoint", "status"]);
            // endpoint, id, version, size, whether it leads, …
            status.is_some_and(|status| status.split(", ").nth(4) == Some("true"))
        };
        ETCD.iter().find(leads).copied()
    }
}

/// What a program in a container printed, if it ran there and succeeded.
fn try_in(container: &str, program: &[&str]) -> Option<String> {
    let output = Command::new("docker").arg("exec").arg(container).args(program).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What Patroni's REST API answers, if it does.
fn ask(address: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect_timeout(&format!("{address}:8008").parse().ok()?, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}
