//! A compose file, up under a project name of its own, and what can be done to its containers.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::ledger::Row;

pub const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];

/// What Compose labels everything with that belongs to a project.
const PROJECT_LABEL: &str = "com.docker.compose.project";

/// For what takes seconds: a container that starts, a spool that drains.
const TIMEOUT: Duration = Duration::from_secs(120);

/// From ready to known as ready: the load balancer checks once a second.
const NOTICED: Duration = Duration::from_secs(2);

pub struct Stack {
    project: String,
    file: &'static str,
    /// Laid over it.
    overlay: Option<&'static str>,
    /// The container with the database that is written to.
    database: String,
    /// The container with the database that follows it.
    standby: Option<String>,
}

/// Whether there is an engine, and Compose.
pub fn engine_answers() -> bool {
    let works = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    works("docker", "info") && (works("docker-compose", "version") || is_compose_a_plugin())
}

fn is_compose_a_plugin() -> bool {
    Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success())
}

/// What a command printed; both of its streams.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {text}");
    text
}

/// Asks again until the answer is yes.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

impl Stack {
    /// Everything of a compose file, ready.
    pub fn up(file: &'static str) -> Self {
        let project = format!("ticket-webhooks-test-{}", std::process::id());
        let mut stack = Self { project, file, overlay: None, database: String::new(), standby: None };
        stack.compose(&["up", "-d", "--no-build"]);
        stack.set_database("postgres");
        stack.wait_until_ready();
        stack
    }

    /// Lays another file over it, or none, and makes anew what it changes.
    pub fn lay_over(&mut self, overlay: Option<&'static str>) {
        self.overlay = overlay;
        self.compose(&["up", "-d", "--no-build"]);
        self.wait_until_ready();
    }

    /// As an upgrade does it: stops the container in order and makes a new one.
    pub fn replace(&self, replica: &str) {
        self.compose(&["up", "-d", "--no-build", "--no-deps", "--force-recreate", replica]);
        self.wait_until_ready();
    }

    fn compose(&self, arguments: &[&str]) -> String {
        let mut command = if is_compose_a_plugin() {
            let mut command = Command::new("docker");
            command.arg("compose");
            command
        } else {
            Command::new("docker-compose")
        };
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("TICKET_WEBHOOKS_PORT", "0");
        // not a line for each delivery
        command.env("RUST_LOG", "info,ticket_webhooks::receive=off");
        command.args(["-p", &self.project, "-f", self.file]);
        command.args(self.overlay.iter().flat_map(|overlay| ["-f", overlay]));
        run(command.args(arguments))
    }

    pub fn docker(&self, arguments: &[&str]) -> String {
        run(Command::new("docker").args(arguments))
    }

    /// Another container on the replicas' way to the database, with a name there and this project's label.
    pub fn run_beside(&self, name: &str, arguments: &[&str]) -> String {
        let (label, network) = (format!("{PROJECT_LABEL}={}", self.project), self.network("back"));
        let mut all = vec!["run", "-d", "--label", &label, "--network", &network, "--network-alias", name];
        all.extend(arguments);
        self.docker(&all).trim().to_owned()
    }

    /// The container of a service.
    pub fn id(&self, service: &str) -> String {
        let project = format!("label={PROJECT_LABEL}={}", self.project);
        let service = format!("label=com.docker.compose.service={service}");
        self.docker(&["ps", "-aq", "--filter", &project, "--filter", &service]).trim().to_owned()
    }

    /// Kills a service's container, as a crash does.
    pub fn kill(&self, service: &str) {
        self.docker(&["kill", "-s", "KILL", &self.id(service)]);
    }

    /// Starts the container of a service that was killed.
    pub fn start(&self, service: &str) {
        self.docker(&["start", &self.id(service)]);
    }

    pub fn network(&self, name: &str) -> String {
        format!("{}_{name}", self.project)
    }

    /// Where the providers come in.
    pub fn address(&self) -> SocketAddr {
        self.docker(&["port", &self.id("haproxy"), "8080"]).lines().next().unwrap().parse().unwrap()
    }

    /// Waits until every replica says that it is ready, and the load balancer knows.
    pub fn wait_until_ready(&self) {
        for replica in REPLICAS {
            let id = self.id(replica);
            let mut command = Command::new("docker");
            command.args(["exec", &id, "ticket-webhooks", "healthcheck"]);
            wait_until("the replica is ready", || command.output().unwrap().status.success());
        }
        thread::sleep(NOTICED);
    }

    /// Of what a replica logged since its last start, whether it contains this.
    pub fn says(&self, replica: &str, text: &str) -> bool {
        self.log_since_start(replica).contains(text)
    }

    fn log_since_start(&self, replica: &str) -> String {
        let log = self.docker(&["logs", &self.id(replica)]);
        let start = log.rfind("the spool is open").unwrap_or(0);
        log[start..].to_owned()
    }

    /// How many deliveries a replica has recorded from its spool since its last start.
    pub fn drained(&self, replica: &str) -> u64 {
        let log = self.log_since_start(replica);
        let counts = log.split("\"spool.drained\":").skip(1);
        counts.map(|rest| rest.split([',', '}']).next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Waits until every spool is empty. Nobody delivers any more, or Postgres keeps up.
    pub fn wait_until_drained(&self) {
        for replica in REPLICAS {
            wait_until("the spool is empty", || {
                let log = self.log_since_start(replica);
                let count = |text: &str| log.matches(text).count();
                count("the spool is in use") == count("the spool is empty again")
            });
        }
    }

    /// From the start of the process to the line that it serves, as the engine's clock has both.
    pub fn start_to_ready(&self, replica: &str) -> Duration {
        let id = self.id(replica);
        let started = self.docker(&["inspect", "-f", "{{.State.StartedAt}}", &id]);
        let log = self.docker(&["logs", "--timestamps", &id]);
        let serving = log.lines().find(|line| line.contains("\"serving\"")).expect("it serves");
        let moment = |text: &str| OffsetDateTime::parse(text.trim(), &Rfc3339).unwrap();
        (moment(serving.split(' ').next().unwrap()) - moment(&started)).unsigned_abs()
    }

    pub fn image_size(&self) -> String {
        let image = self.docker(&["inspect", "-f", "{{.Image}}", &self.id(REPLICAS[0])]);
        let sizes = self.docker(&["image", "inspect", "-f", "{{.Size}}", image.trim()]);
        let bytes: f64 = sizes.trim().parse().unwrap();
        format!("{:.1} MB", bytes / 1e6)
    }

    /// From now on this service has the database.
    pub fn set_database(&mut self, service: &str) {
        self.database = self.id(service);
    }

    /// Where a service is reached on the replicas' way to the database, from here. Empty while it is down.
    pub fn address_of(&self, service: &str) -> String {
        let network = self.network("back");
        let address = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        self.docker(&["inspect", "-f", &address, &self.id(service)]).trim().to_owned()
    }

    /// The replicas' URL of the database. `service`: what the name in it leads to.
    pub fn database_url(&self, service: &str) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/demo-secrets/database-url");
        let url = fs::read_to_string(path).unwrap();
        url.trim().replace("@postgres:", &format!("@{}:", self.address_of(service)))
    }

    /// From now on this container follows the database.
    pub fn set_standby(&mut self, container: String) {
        self.standby = Some(container);
    }

    /// The container that follows the database; from now on it has the database.
    pub fn take_standby(&mut self) -> String {
        let standby = self.standby.take().expect("there is a standby");
        self.database.clone_from(&standby);
        standby
    }

    /// The container with the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The lines of an answer of the database.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let answer = self.docker(&["exec", &self.database, "psql", "-U", "tickets", "-d", "tickets", "-Atc", sql]);
        answer.lines().map(str::to_owned).collect()
    }

    /// What is recorded of a scenario.
    pub fn recorded(&self, scenario: u32) -> Vec<Row> {
        let sql = format!(
            "select booking_ref, case when booking_ref like '%revised%' then remark else '0' end, late, delivery_count \
             from ticket_events where starts_with(booking_ref, '{scenario}-')"
        );
        let row = |line: &String| {
            let [booking, says, late, delivery_count] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
            Row {
                booking: booking.to_owned(),
                says: says.parse().unwrap(),
                late: late == "t",
                delivery_count: delivery_count.parse().unwrap(),
            }
        };
        self.query(&sql).iter().map(row).collect()
    }

    /// The end of what each container logged.
    pub fn logs(&self) -> String {
        self.compose(&["logs", "--tail", "60"])
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let filter = format!("label={PROJECT_LABEL}={}", self.project);
        let list = |arguments: &[&str]| {
            let output = Command::new("docker").args(arguments).args(["--filter", &filter]).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            text.lines().map(PathBuf::from).collect::<Vec<_>>()
        };
        for (listing, removal) in [
            (&["ps", "-aq"][..], &["rm", "-f", "-v"][..]),
            (&["network", "ls", "-q"], &["network", "rm"]),
            (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
        ] {
            let names = list(listing);
            if !names.is_empty() {
                let _ = Command::new("docker").args(removal).args(names).output();
            }
        }
    }
}
