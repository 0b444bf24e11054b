//! svix-server, which takes in the same bodies as messages that it would send on. Nobody subscribes to them.
//!
//! It has its own database in the same Postgres, its queue and its cache in memory. Its binary is given:
//! `make bench ARGS="--svix /path/to/svix-server"`.

use std::{env, net::TcpStream, path::PathBuf, process::Command, sync::Arc};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use ticket_webhooks::providers::PROVIDERS;
use ureq::Agent;

use crate::{
    deliveries::{ACCOUNT, Deliveries, next_number},
    fastapi::unused_address,
    load::{Load, Run},
    measure::{Bench, Figures, WARM_UP},
    requests::{NUMBER, Request, sample},
    service::Service,
};

const DATABASE: &str = "bench_svix";

const JWT_SECRET: &str = "bench-jwt-secret-of-svix-server";

/// Its binary, if it is given.
pub struct Svix {
    binary: PathBuf,
}

/// A running one with an application.
pub struct Running {
    service: Service,
    requests: Vec<Request>,
}

impl Svix {
    /// The error says how to give it.
    pub fn given() -> anyhow::Result<Self> {
        let binary = env::args().skip_while(|argument| argument != "--svix").nth(1);
        Ok(Self { binary: binary.map(PathBuf::from).context("give its binary with --svix /path/to/svix-server")? })
    }

    /// Starts it with an empty database.
    pub fn start(&self, bench: &Bench) -> anyhow::Result<Running> {
        bench.server.create_empty_database(DATABASE)?;
        let address = unused_address()?;
        let mut variables = vec![
            ("SVIX_DB_DSN", bench.server.url(DATABASE)?),
            ("SVIX_JWT_SECRET", JWT_SECRET.to_owned()),
            ("SVIX_LISTEN_ADDRESS", address.to_string()),
        ];
        let fixed = [("SVIX_QUEUE_TYPE", "memory"), ("SVIX_CACHE_TYPE", "memory")];
        variables.extend(fixed.map(|(name, value)| (name, value.to_owned())));
        let command = || {
            let mut command = Command::new(&self.binary);
            command.current_dir(&bench.directory).env_clear().envs(variables.iter().cloned());
            command
        };
        let output = command().args(["jwt", "generate"]).output().context("svix-server cannot be run")?;
        ensure!(output.status.success(), "svix-server: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let token =
            text.trim().rsplit(' ').next().filter(|token| token.contains('.')).context("svix-server gives no token")?;
        let mut server = command();
        server.arg("--run-migrations");
        let listens = |_: &str| TcpStream::connect(address).ok().map(|_| address);
        let service = Service::spawn(server, &bench.directory.join("svix.log"), listens)?;
        let authorization = format!("Bearer {token}");
        let application = create_application(&format!("http://{address}/api/v1/app"), &authorization)?;
        let path = format!("/api/v1/app/{application}/msg");
        let requests = PROVIDERS.iter().map(|provider| {
            let payload = sample(*provider, ACCOUNT, &format!("BENCH-{NUMBER}")).body;
            let message = format!(r#"{{"eventType":"{}","payload":{payload}}}"#, provider.name());
            Request::post(&path, &[("authorization", &authorization)], message.as_bytes())
        });
        Ok(Running { service, requests: requests.collect() })
    }
}

impl Running {
    /// Measures from no messages on.
    pub fn measure(&self, bench: &Bench, connections: usize) -> anyhow::Result<Figures> {
        let load = |duration| -> anyhow::Result<Run> {
            let deliveries = || Deliveries::of(self.requests.clone(), next_number);
            Load::new(connections, duration).run_with(deliveries, self.service.address, &Arc::default())
        };
        let warm_up = load(WARM_UP)?;
        ensure!(warm_up.refused == 0, "svix-server refuses messages");
        bench.server.execute(DATABASE, "truncate message cascade; checkpoint")?;
        let recorded = || Ok(bench.number(DATABASE, "select count(*) from message")? as u64);
        bench.measure_with(&self.service, connections, || load(bench.duration), recorded)
    }
}

/// The id of a new one.
fn create_application(url: &str, authorization: &str) -> anyhow::Result<String> {
    let request = Agent::new_with_defaults().post(url).header("authorization", authorization);
    let answer = request.header("content-type", "application/json").send(json!({"name": "bench"}).to_string())?;
    let answer: Value = serde_json::from_str(&answer.into_body().read_to_string()?)?;
    Ok(answer["id"].as_str().context("svix-server tells no id")?.to_owned())
}
