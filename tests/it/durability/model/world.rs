//! Two replicas over one database, and the reference beside them.

use std::time::{Duration, Instant};

use proptest::test_runner::TestCaseError;
use tempfile::TempDir;
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use super::{
    Step,
    deliveries::Sent,
    link::Link,
    reference::{REJECTING, Reference},
};
use crate::support::{Answer, Command, Database, PROVIDERS, Service, settings};

/// How long a spool may take to be drained.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

pub const EVENTS: &str = "select provider, environment, booking_ref, revision, account, late, status, previous_status, \
                          payload ->> 'note' as note, delivery_count from ticket_events \
                          order by provider, environment, booking_ref, revision";

pub const UNPROCESSED: &str = "select account, reason, delivery_count, count(*) as rows \
                               from (select concat_ws(' ', provider, account, environment) as account, reason, \
                               delivery_count from unprocessed_deliveries) as kept \
                               group by account, reason, delivery_count \
                               order by account collate \"C\", reason collate \"C\", delivery_count";

pub struct World {
    database: Database,
    replicas: [Replica; 2],
    /// What may be true, one or more.
    possible: Vec<Reference>,
}

struct Replica {
    link: Link,
    spool: TempDir,
    /// Taken while it is started again.
    service: Option<Service>,
}

impl World {
    pub async fn start() -> Self {
        let database = Database::new().await;
        // the reference reprocesses nothing: without its reference, a delivery is not found when its booking is announced
        let forget = "create function forget() returns trigger language plpgsql as $$ begin new.booking_ref := null; \
                      return new; end $$; create trigger forget before insert on unprocessed_deliveries \
                      for each row execute function forget()";
        database.execute(forget).await;
        let [first, second] = [Replica::new(&database), Replica::new(&database)];
        let mut world = Self { database, replicas: [first, second], possible: vec![Reference::default()] };
        for replica in 0..2 {
            world.start_service(replica).await;
        }
        world
    }

    /// Does a step and compares what can be seen of it.
    pub async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Deliver(replica, sent) => {
                let status = deliver(self.service(*replica), sent).await;
                let may_be = self.each(|reference| reference.deliver(*replica, sent));
                self.narrow(&may_be, status, step)?;
            }
            Step::DeliverAtOnce(times, sent) => self.deliver_at_once(*times, sent, step).await?,
            Step::Cut(replica) => {
                self.replicas[*replica].link.cut();
                self.each(|reference| reference.cut(*replica));
            }
            Step::Mend(replica) if self.possible[0].is_cut(*replica) => {
                self.replicas[*replica].link.mend();
                self.drained(*replica).await;
                self.each(|reference| reference.mend(*replica));
                self.compare().await?;
            }
            Step::Mend(_) => {}
            Step::Kill(replica) => {
                self.kill(*replica).await;
                self.start_service(*replica).await;
            }
            Step::KillDuring(replica, sent, micros) => self.kill_during(*replica, sent, *micros, step).await?,
            Step::Restart(replica) => {
                let service = self.replicas[*replica].service.take().expect("it runs");
                service.stop().await;
                self.start_service(*replica).await;
            }
            Step::Expect(sent) => {
                let statement = format!(
                    "insert into bookings (provider, environment, booking_ref) values ('{}', '{}', '{}') \
                     on conflict do nothing",
                    sent.provider().name,
                    sent.environment(),
                    sent.booking_ref()
                );
                self.database.execute(&statement).await;
                self.each(|reference| reference.expect(sent));
            }
        }
        if (0..2).any(|replica| self.possible[0].is_cut(replica)) { Ok(()) } else { self.compare().await }
    }

    /// Holds the tables against the reference.
    pub async fn compare(&mut self) -> Result<(), TestCaseError> {
        let events = self.database.rows(EVENTS).await;
        let unprocessed = self.database.rows(UNPROCESSED).await;
        let is_true = |reference: &Reference| reference.events() == events && reference.unprocessed() == unprocessed;
        // several may be true as long as what tells them apart waits in a spool
        if self.possible.iter().any(is_true) {
            self.possible.retain(is_true);
            return Ok(());
        }
        let mut differences = format!("the tables are\n{events:#?}\n{unprocessed:#?}");
        for reference in &self.possible {
            differences += &format!("\nand should be\n{:#?}\n{:#?}", reference.events(), reference.unprocessed());
        }
        Err(TestCaseError::fail(differences))
    }

    async fn deliver_at_once(&mut self, times: usize, sent: &Sent, step: &Step) -> Result<(), TestCaseError> {
        let connected: Vec<_> = (0..2).filter(|replica| !self.possible[0].is_cut(*replica)).collect();
        let mut answers = JoinSet::new();
        for time in 0..times {
            let Some(replica) = connected.get(time % connected.len().max(1)) else { return Ok(()) };
            answers.spawn(Answer::of(request(self.service(*replica), sent)));
        }
        let statuses: Vec<_> = answers.join_all().await.into_iter().map(|answer| answer.status).collect();
        for status in statuses {
            let may_be = self.each(|reference| reference.deliver(connected[0], sent));
            self.narrow(&may_be, status, step)?;
        }
        Ok(())
    }

    async fn kill_during(
        &mut self,
        replica: usize,
        sent: &Sent,
        micros: u64,
        step: &Step,
    ) -> Result<(), TestCaseError> {
        let request = request(self.service(replica), sent);
        let answered = tokio::spawn(async move { request.send().await.ok().map(|answer| answer.status().as_u16()) });
        sleep(Duration::from_micros(micros)).await;
        self.kill(replica).await;
        let status = answered.await.unwrap();
        let without = self.possible.clone();
        let may_be = self.each(|reference| reference.deliver(replica, sent));
        match status {
            Some(status) => self.narrow(&may_be, status, step)?,
            None => self.possible.extend(without),
        }
        self.start_service(replica).await;
        Ok(())
    }

    /// Does the same to everything that may be true.
    fn each<T>(&mut self, change: impl FnMut(&mut Reference) -> T) -> Vec<T> {
        self.possible.iter_mut().map(change).collect()
    }

    /// What gave another answer is not true.
    fn narrow(&mut self, may_be: &[u16], status: u16, step: &Step) -> Result<(), TestCaseError> {
        let mut may_be_this = may_be.iter().map(|expected| *expected == status);
        self.possible.retain(|_| may_be_this.next() == Some(true));
        if self.possible.is_empty() {
            return Err(TestCaseError::fail(format!("{step:?} is answered {status}, expected {may_be:?}")));
        }
        Ok(())
    }

    fn service(&self, replica: usize) -> &Service {
        self.replicas[replica].service.as_ref().expect("it runs")
    }

    async fn kill(&mut self, replica: usize) {
        let mut service = self.replicas[replica].service.take().expect("it runs");
        let killed = spawn_blocking(move || {
            service.process.signal("KILL");
            service.process.wait();
        });
        killed.await.unwrap();
    }

    async fn start_service(&mut self, replica: usize) {
        let command = self.replicas[replica].command(&self.database);
        let started = spawn_blocking(move || Service::over(command.start()));
        self.replicas[replica].service = Some(started.await.unwrap());
        if self.possible.iter().all(|reference| !reference.is_cut(replica)) {
            self.drained(replica).await;
        }
    }

    /// Waits until Postgres takes writes and the spool is empty: from then on deliveries are recorded at once.
    async fn drained(&self, replica: usize) {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        loop {
            let page = reqwest::get(format!("{}/metrics", self.service(replica).admin)).await.unwrap();
            let page = page.text().await.unwrap();
            let mut counts = page.lines().filter(|line| line.starts_with("ticket_webhooks_spool_records{"));
            let is_up = page.lines().any(|line| line == "ticket_webhooks_database_up 1");
            if is_up && counts.all(|line| line.ends_with(" 0")) {
                return;
            }
            assert!(Instant::now() < deadline, "the spool is not drained:\n{}", self.service(replica).process.output());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Replica {
    fn new(database: &Database) -> Self {
        let options = database.connect_options();
        let link = Link::to(options.get_socket().expect("the tests' server listens on a socket"));
        Self { link, spool: TempDir::new().unwrap(), service: None }
    }

    fn command(&self, database: &Database) -> Command {
        let options = database.connect_options();
        let url = format!(
            "postgres:///{}?host={}&user={}",
            options.get_database().unwrap(),
            self.link.directory().display(),
            options.get_username()
        );
        let mut settings = settings(&url);
        let rejecting = format!("TICKET_WEBHOOKS__PROVIDERS__{}__UNKNOWN_BOOKING", PROVIDERS[REJECTING].name);
        settings.push((rejecting.to_uppercase(), "reject".to_owned()));
        settings.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), self.spool.path().display().to_string()));
        Command::new(&["serve", "--no-migrate"]).envs(&settings)
    }
}

fn request(service: &Service, sent: &Sent) -> reqwest::RequestBuilder {
    let request = service.request("POST", sent.provider().path).body(sent.body());
    match sent.authorization() {
        Some(authorization) => request.header("authorization", authorization),
        None => request,
    }
}

async fn deliver(service: &Service, sent: &Sent) -> u16 {
    Answer::of(request(service, sent)).await.status
}
