//! The real binary, as an operator runs it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{self, Child, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;

use super::{Answer, Database, Provider};

const BINARY: &str = env!("CARGO_BIN_EXE_ticket-webhooks");

/// Limit for everything that normally takes moments.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The credentials of the account `main` of each provider, and those of `other`, by their keys in the configuration.
pub fn credentials(provider: &str, account: &str) -> Vec<(&'static str, &'static str)> {
    match (provider, account) {
        ("ticket_status_update", "main") => vec![("api_key", "tsu-Key_7f3a9c\"51\\x")],
        ("ticket_status_update", "other") => vec![("api_key", "tsu-Key_second-00b2")],
        ("booking_callback", "main") => {
            vec![("client_id", "10001"), ("user_name", "agency-api"), ("password", "Pa\"ss\\wörd-41")]
        }
        ("booking_callback", "other") => {
            vec![("client_id", "10002"), ("user_name", "agency-two"), ("password", "second-Pass-77")]
        }
        ("order_ticketed", "main") => vec![("cid", "AG_TEST_cid_90c4e1")],
        ("order_ticketed", "other") => vec![("cid", "AG_TEST_cid_second")],
        _ => panic!("no account {account} of {provider}"),
    }
}

/// The variables with which a service is started that has two accounts of each provider, `main` for live bookings and
/// `other` for tests, and listens on free ports of the loopback.
pub fn settings(database_url: &str) -> Vec<(String, String)> {
    let mut variables = vec![
        ("DATABASE_URL".to_owned(), database_url.to_owned()),
        ("TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS".to_owned(), "127.0.0.1:0".to_owned()),
        ("TICKET_WEBHOOKS__SERVER__ADMIN_ADDRESS".to_owned(), "127.0.0.1:0".to_owned()),
        ("TICKET_WEBHOOKS__SERVER__DRAIN_DELAY_MS".to_owned(), "0".to_owned()),
    ];
    for provider in ["ticket_status_update", "booking_callback", "order_ticketed"] {
        for (account, environment) in [("main", "live"), ("other", "test")] {
            let key = format!("TICKET_WEBHOOKS__PROVIDERS__{provider}__ACCOUNTS__{account}").to_uppercase();
            variables.push((format!("{key}__ENVIRONMENT"), environment.to_owned()));
            for (name, value) in credentials(provider, account) {
                variables.push((format!("{key}__{}", name.to_uppercase()), value.to_owned()));
            }
        }
    }
    variables
}

/// Arguments of `unshare` for a mount namespace; others than root have to map themselves to root in it.
fn namespace() -> &'static [&'static str] {
    if rustix::process::getuid().is_root() { &["--mount"] } else { &["--mount", "--map-root-user"] }
}

/// A command of the binary with an environment of its own.
pub struct Command(process::Command);

impl Command {
    pub fn new(arguments: &[&str]) -> Self {
        Self::with(process::Command::new(BINARY), arguments)
    }

    fn with(mut command: process::Command, arguments: &[&str]) -> Self {
        command.args(arguments).env_clear().stdin(Stdio::null());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        Self(command)
    }

    /// With this soft limit for open files, which the process may raise.
    pub fn with_open_files(limit: u32, arguments: &[&str]) -> Self {
        let mut command = process::Command::new("sh");
        command.args(["-c", r#"ulimit -Sn "$0" && exec "$@""#, &limit.to_string(), BINARY]);
        Self::with(command, arguments)
    }

    /// With this hard limit for open files, which the process cannot raise.
    pub fn with_at_most_open_files(limit: u32, arguments: &[&str]) -> Self {
        let mut command = process::Command::new("sh");
        command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &limit.to_string(), BINARY]);
        Self::with(command, arguments)
    }

    /// Whether [`Self::over_a_disk_of_its_own`] works: on Linux, as root or with user namespaces.
    pub fn can_mount() -> bool {
        let mut command = process::Command::new("unshare");
        command.args(namespace()).args(["mount", "-t", "tmpfs", "none", "/tmp"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// With an empty disk of this size mounted on a directory, visible to this command only and removed with it.
    pub fn over_a_disk_of_its_own(directory: &Path, size: &str, arguments: &[&str]) -> Self {
        let mut command = process::Command::new("unshare");
        let script = r#"mount -t tmpfs -o size="$1" none "$0" && shift && exec "$@""#;
        command.args(namespace()).args(["sh", "-c", script]).arg(directory).args([size, BINARY]);
        Self::with(command, arguments)
    }

    pub fn envs(mut self, variables: &[(String, String)]) -> Self {
        self.0.envs(variables.iter().map(|(name, value)| (name, value)));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn directory(mut self, directory: &Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// Runs it to its end: exit code, standard output, standard error.
    pub fn run(mut self) -> (i32, String, String) {
        let output = self.0.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    pub fn start(mut self) -> Process {
        let mut child = self.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let printed = Arc::new((Mutex::new(Printed { lines: Vec::new(), open: streams.len() }), Condvar::new()));
        for stream in streams {
            let printed = Arc::clone(&printed);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    printed.0.lock().unwrap().lines.push(line);
                    printed.1.notify_all();
                }
                printed.0.lock().unwrap().open -= 1;
                printed.1.notify_all();
            });
        }
        Process { child, printed: Output(printed) }
    }
}

/// A running command.
pub struct Process {
    child: Child,
    printed: Output,
}

/// The output of a running command, shared with the threads that read it.
#[derive(Clone)]
pub struct Output(Arc<(Mutex<Printed>, Condvar)>);

/// The output so far.
struct Printed {
    lines: Vec<String>,
    /// How many of its two streams are still open.
    open: usize,
}

impl Output {
    /// Waits for the first line that contains a text.
    pub fn line(&self, text: &str) -> String {
        self.line_with_any(&[text])
    }

    /// Waits for the first line that contains one of these texts.
    pub fn line_with_any(&self, texts: &[&str]) -> String {
        let is_it = |line: &&String| texts.iter().any(|text| line.contains(text));
        let found = |printed: &Printed| printed.lines.iter().find(is_it).cloned();
        let printed = self.once_not(|printed| found(printed).is_none());
        found(&printed).unwrap_or_else(|| panic!("no line with {texts:?} in {:#?}", printed.lines))
    }

    /// The output once the condition no longer holds, or at the timeout.
    fn once_not(&self, mut condition: impl FnMut(&Printed) -> bool) -> MutexGuard<'_, Printed> {
        let printed = self.0.0.lock().unwrap();
        self.0.1.wait_timeout_while(printed, TIMEOUT, |printed| condition(printed)).unwrap().0
    }
}

impl Process {
    /// The output, for another thread to wait on.
    pub fn printed(&self) -> Output {
        self.printed.clone()
    }

    /// Waits for the first line that contains a text.
    pub fn line(&self, text: &str) -> String {
        self.printed.line(text)
    }

    /// The output so far.
    pub fn output(&self) -> String {
        self.printed.0.0.lock().unwrap().lines.join("\n")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB; 0 without `/proc`.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
    }

    pub fn signal(&self, signal: &str) {
        let sent =
            process::Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the process has ended and its output has been read.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = std::time::Instant::now() + TIMEOUT;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => {
                    drop(self.printed.once_not(|printed| printed.open > 0));
                    return status;
                }
                None if std::time::Instant::now() > deadline => panic!("it does not end:\n{}", self.output()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running service that answers.
pub struct Service {
    pub process: Process,
    pub public: String,
    pub admin: String,
    client: reqwest::Client,
}

impl Service {
    /// Starts it over a database, with the accounts of [`settings`] and these variables.
    pub async fn start(database: &Database, variables: &[(&str, &str)]) -> Self {
        let mut settings = settings(&database.url());
        settings.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let command = Command::new(&["serve"]).envs(&settings);
        tokio::task::spawn_blocking(move || Self::over(command.start())).await.unwrap()
    }

    /// Waits until a started process serves.
    pub fn over(process: Process) -> Self {
        let line: Value = serde_json::from_str(&process.line("\"serving\"")).unwrap();
        let url = |key: &str| format!("http://{}", line[key].as_str().unwrap());
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
        Self { public: url("public.address"), admin: url("admin.address"), process, client }
    }

    /// A request to the public listener.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.public))
    }

    /// Posts a body, with the `Authorization` header of the account `main` where the provider uses one.
    pub async fn post(&self, provider: &Provider, body: impl Into<Vec<u8>>) -> Answer {
        let mut request = self.request("POST", provider.path).body(body.into());
        if let Some(authorization) = (provider.authorization)("main") {
            request = request.header("authorization", authorization.as_bytes());
        }
        Answer::of(request).await
    }

    /// Stops it by SIGTERM and returns its log.
    pub async fn stop(mut self) -> String {
        tokio::task::spawn_blocking(move || {
            self.process.signal("TERM");
            let status = self.process.wait();
            assert!(status.success(), "{status}: {}", self.process.output());
            self.process.output()
        })
        .await
        .unwrap()
    }
}
