//! The same deliveries received with FastAPI and asyncpg (`fastapi/app.py`), in an environment of its own from PyPI.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use ticket_webhooks::providers::PROVIDERS;

use crate::{
    deliveries::ACCOUNT,
    measure::{Bench, DATABASE},
    requests::credentials,
    service::Service,
};

/// Processes: each has one processor at most, and two are all that a machine of two has.
const WORKERS: usize = 2;

const APPLICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput/fastapi");

/// The environment with the packages that it needs.
pub struct FastApi {
    environment: PathBuf,
}

impl FastApi {
    /// Installs the packages, unless an earlier run has. The error says why it cannot be done.
    pub fn install(directory: &Path) -> anyhow::Result<Self> {
        let environment = directory.join("fastapi");
        let wanted = Path::new(APPLICATION).join("requirements.txt");
        let installed = environment.join("requirements.txt");
        if fs::read(&installed).ok() != Some(fs::read(&wanted)?) {
            eprintln!("installing FastAPI and asyncpg");
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
            let mut pip = Command::new(environment.join("bin/pip"));
            pip.args(["install", "--quiet", "--only-binary=:all:", "--retries=1", "--timeout=20", "--requirement"]);
            run(pip.arg(&wanted))?;
            // only now: it is complete
            fs::copy(wanted, installed)?;
        }
        Ok(Self { environment })
    }

    /// Starts it over the database of the service.
    pub fn start(&self, bench: &Bench) -> anyhow::Result<Service> {
        let address = unused_address()?;
        let mut command = Command::new(self.environment.join("bin/uvicorn"));
        command
            .args(["app:app", "--app-dir", APPLICATION, "--loop=uvloop", "--http=httptools"])
            .args(["--no-access-log", "--no-use-colors", "--host=127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--workers={WORKERS}"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DATABASE_URL", bench.server.url(DATABASE)?);
        for provider in PROVIDERS {
            for (credential, value) in provider.credentials().iter().zip(credentials(*provider, ACCOUNT)) {
                command.env(format!("{}_{}", provider.name(), credential.key).to_uppercase(), value);
            }
        }
        let started = |log: &str| log.matches("Application startup complete").count() == WORKERS;
        Service::spawn(command, &bench.directory.join("fastapi.log"), |log| started(log).then_some(address))
    }
}

/// On which nothing listens yet.
pub fn unused_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} cannot be run"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", text.lines().last().unwrap_or("it failed"));
    Ok(())
}
