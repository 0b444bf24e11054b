//! The embedded Postgres, with real servers in directories of their own.
//!
//! Where a test needs the process which started a server to be killed, this test binary runs
//! itself once more, with `acts_as_the_parent` as its only test.

use std::env;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, getpgid, getpgrp, kill_process};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tempfile::TempDir;
use ticket_webhooks::embedded_postgres::{EmbeddedPostgres, Error, Options, Programs};

const DIRECTORY: &str = "EMBEDDED_POSTGRES_TEST_DIRECTORY";
const EPHEMERAL: &str = "EMBEDDED_POSTGRES_TEST_EPHEMERAL";

/// An ordinary user every system has; the test does not need it to have a name.
const NOBODY: u32 = 65534;

/// A directory everybody may enter, below the one for temporary files.
fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("embedded-postgres-").permissions(Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// A fast server whose data are kept.
fn fast(directory: &Path) -> Options {
    Options { durable: false, ..Options::new(directory) }
}

fn is_root() -> bool {
    geteuid().is_root()
}

fn signal(process_id: u32, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process_id).unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

fn until(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// The server holds this lock with each of its processes, whoever their parent was.
fn is_server_alive(directory: &Path) -> bool {
    File::open(directory.join("lock")).unwrap().try_lock().is_err()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    options.connect().await.unwrap()
}

fn commit_a_row(server: &EmbeddedPostgres) {
    block_on(async {
        let mut connection = connect(&server.connect_options("postgres")).await;
        connection.execute("create table if not exists kept (id int); insert into kept values (1)").await.unwrap();
        connection.close().await.unwrap();
    });
}

fn one<T>(options: &PgConnectOptions, query: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    block_on(async {
        let mut connection = connect(options).await;
        let row = connection.fetch_one(query).await.unwrap();
        connection.close().await.unwrap();
        row.get(0)
    })
}

fn rows(server: &EmbeddedPostgres) -> i64 {
    one(&server.connect_options("postgres"), "select count(*) from kept")
}

fn setting(server: &EmbeddedPostgres, query: &'static str) -> String {
    one(&server.connect_options("postgres"), query)
}

/// Another process which runs a server; killed when dropped.
struct Parent {
    process: Child,
    server_id: u32,
}

impl Parent {
    /// Ready once its server has a committed row.
    fn spawn(command: &mut Command, directory: &Path) -> Self {
        let mut process = Self::spawn_only(command, directory);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let server_id = lines
            .find_map(|line| line.unwrap().strip_prefix("READY ")?.parse().ok())
            .expect("the other process could not start a server");
        Self { process, server_id }
    }

    /// Not waited for.
    fn spawn_only(command: &mut Command, directory: &Path) -> Child {
        let module = module_path!().split_once("::").map_or("", |(_, module)| module);
        command
            .arg("--exact")
            .arg(format!("{module}::acts_as_the_parent"))
            .args(["--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            // What a person's environment may hold must not matter.
            .env("PGHOST", "nowhere.invalid")
            .env("PGPORT", "1")
            .env("PGUSER", "nobody")
            .env("PGDATA", "/nowhere")
            .env("PGSSLMODE", "verify-full")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn this_binary() -> Command {
    Command::new(env::current_exe().unwrap())
}

/// No test by itself: what the other process of the tests below does.
#[test]
fn acts_as_the_parent() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let options =
        if env::var_os(EPHEMERAL).is_some() { Options::ephemeral(directory) } else { fast(Path::new(&directory)) };
    let server = EmbeddedPostgres::start(&options).unwrap();
    commit_a_row(&server);
    println!("\nREADY {}", server.process_id());
    // Until the test is gone, should it not kill this process.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_restart_keeps_committed_rows() {
    let scratch = scratch();
    let directory = scratch.path().join("made/when/missing");
    for expected in 1..=2 {
        let begin = Instant::now();
        let server = EmbeddedPostgres::start(&fast(&directory)).unwrap();
        println!("start {expected}: {:?}", begin.elapsed());
        commit_a_row(&server);
        assert_eq!(rows(&server), expected);
        let begin = Instant::now();
        server.stop().unwrap();
        println!("stop {expected}: {:?}", begin.elapsed());
        assert!(!is_server_alive(&directory));
    }
}

#[test]
fn dropping_it_stops_the_server() {
    let scratch = scratch();
    drop(EmbeddedPostgres::start(&fast(scratch.path())).unwrap());
    assert!(!is_server_alive(scratch.path()));
}

#[test]
fn a_killed_parent_takes_the_server_with_it() {
    let scratch = scratch();
    let mut parent = Parent::spawn(&mut this_binary(), scratch.path());
    assert!(is_server_alive(scratch.path()));
    parent.kill();
    let begin = Instant::now();
    until("the server is gone", 5, || !is_server_alive(scratch.path()));
    println!("server gone: {:?}", begin.elapsed());
}

#[test]
fn after_a_killed_parent_the_next_start_works_at_once_and_has_every_committed_row() {
    let scratch = scratch();
    let mut parent = Parent::spawn(&mut this_binary(), scratch.path());
    parent.kill();
    let begin = Instant::now();
    let server = EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
    println!("start after kill -9: {:?}", begin.elapsed());
    assert_eq!(rows(&server), 1);
}

#[test]
fn a_start_waits_for_a_server_whose_parent_and_watcher_were_both_killed() {
    let scratch = scratch();
    let mut parent = Parent::spawn(&mut this_binary(), scratch.path());
    let server = Pid::from_raw(i32::try_from(parent.server_id).unwrap());
    let watcher = getpgid(server).unwrap();
    assert_ne!(Some(watcher), server);
    kill_process(watcher, Signal::KILL).unwrap();
    parent.kill();
    // Nobody is left to stop it, and it keeps the lock.
    assert!(is_server_alive(scratch.path()));

    let options = fast(scratch.path());
    let next = thread::spawn(move || EmbeddedPostgres::start(&options));
    until("the next start owns the directory", 5, || {
        let owner = fs::read_to_string(scratch.path().join("owner"));
        owner.is_ok_and(|id| id.trim() == std::process::id().to_string())
    });
    assert!(is_server_alive(scratch.path()) && !next.is_finished());
    signal(parent.server_id, Signal::INT);
    let server = next.join().unwrap().unwrap();
    assert_eq!(rows(&server), 1);
}

#[test]
fn a_second_start_is_refused_and_the_first_is_unharmed() {
    let scratch = scratch();
    let parent = Parent::spawn(&mut this_binary(), scratch.path());
    let error = EmbeddedPostgres::start(&fast(scratch.path())).unwrap_err();
    assert!(matches!(error, Error::AlreadyRunning { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("already running"), "{text}");
    assert!(text.contains(&parent.process.id().to_string()), "{text}");
    assert!(is_server_alive(scratch.path()));

    // In one process as well, where the first can be asked whether it is well.
    let directory = scratch.path().join("in-process");
    let first = EmbeddedPostgres::start(&fast(&directory)).unwrap();
    let error = EmbeddedPostgres::start(&fast(&directory)).unwrap_err();
    assert!(matches!(error, Error::AlreadyRunning { .. }), "{error}");
    commit_a_row(&first);
    assert_eq!(rows(&first), 1);
}

#[test]
fn half_a_cluster_of_a_killed_first_start_is_replaced() {
    let scratch = scratch();
    let half = scratch.path().join("data.new");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    fs::create_dir(half.join("base")).unwrap();
    let server = EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
    commit_a_row(&server);
    assert!(!half.exists());
}

#[test]
fn a_parent_killed_in_its_first_start_does_not_hinder_the_next() {
    let scratch = scratch();
    let mut parent = Parent::spawn_only(&mut this_binary(), scratch.path());
    let half = scratch.path().join("data.new/PG_VERSION");
    until("initdb is at work", 10, || half.exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    let server = EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
    commit_a_row(&server);
}

#[test]
fn the_end_of_the_server_is_noticed_and_the_next_start_recovers() {
    let scratch = scratch();
    let server = EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
    commit_a_row(&server);
    let exited = server.exited();
    signal(server.process_id(), Signal::KILL);
    let error = block_on(async { tokio::time::timeout(Duration::from_secs(5), exited).await.expect("nobody noticed") });
    let text = error.to_string();
    assert!(text.contains("signal: 9"), "{text}");
    assert!(text.contains("ready to accept connections"), "{text}");
    assert!(matches!(server.stop(), Err(Error::Ended { .. })));
    assert!(scratch.path().join("data/postmaster.pid").exists());

    let server = EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
    assert_eq!(rows(&server), 1);
}

#[test]
fn a_stale_pid_file_whose_id_was_given_to_another_program_is_no_obstacle() {
    let scratch = scratch();
    let server = EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
    let pid_file = scratch.path().join("data/postmaster.pid");
    let content = fs::read_to_string(&pid_file).unwrap();
    let id = server.process_id().to_string();
    server.stop().unwrap();

    // A program of the server's user: another's would not worry Postgres.
    let owner = fs::metadata(scratch.path().join("data")).unwrap();
    let mut other = Command::new("sleep");
    if is_root() {
        other.uid(owner.uid());
    }
    let mut other = other.arg("60").spawn().unwrap();
    fs::write(&pid_file, content.replacen(&id, &other.id().to_string(), 1)).unwrap();
    let started = EmbeddedPostgres::start(&fast(scratch.path()));
    other.kill().unwrap();
    other.wait().unwrap();
    started.unwrap();
}

#[test]
fn a_directory_too_long_for_a_socket_works() {
    let scratch = scratch();
    let directory = scratch.path().join("long".repeat(20));
    let server = EmbeddedPostgres::start(&fast(&directory)).unwrap();
    commit_a_row(&server);
    assert_eq!(rows(&server), 1);
    let sockets = server.connect_options("x").get_socket().unwrap().clone();
    let mode = fs::metadata(&sockets).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(server);
    assert!(!sockets.exists());
}

#[test]
fn a_directory_with_odd_characters_works_for_sqlx_and_psql() {
    let scratch = scratch();
    // libpq would take the comma for the end of a host: that socket goes elsewhere.
    for (name, is_inside) in [("a \"b\" 'c' %20&?#ü", true), ("a,b", false)] {
        let directory = scratch.path().join(name);
        let server = EmbeddedPostgres::start(&fast(&directory)).unwrap();
        commit_a_row(&server);
        let options = PgConnectOptions::from_str(&server.url("postgres")).unwrap();
        assert_eq!(one::<i64>(&options, "select count(*) from kept"), 1);
        let socket = options.get_socket().unwrap();
        assert_eq!(socket.starts_with(&directory), is_inside, "{socket:?}");
        if let Some(output) = psql(&server) {
            assert_eq!(output, "ticket_webhooks\n");
        }
    }
}

/// The command as pasted into a shell; nothing where there is no psql.
fn psql(server: &EmbeddedPostgres) -> Option<String> {
    Command::new("psql").arg("--version").output().ok()?;
    let line = server.psql_command("postgres");
    let line = format!("{line} --no-psqlrc -At -c 'select current_user'");
    let output = Command::new("/bin/sh").args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_server_is_in_a_process_group_of_its_own_and_has_no_privileges() {
    let scratch = scratch();
    let server = EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
    let id = server.process_id();
    let group = getpgid(Pid::from_raw(i32::try_from(id).unwrap())).unwrap();
    assert_ne!(group, getpgrp());

    let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) else {
        return; // not Linux
    };
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert!(!line("Uid:").contains(&"0"));
    assert!(!line("Gid:").contains(&"0"));
    if is_root() {
        assert!(line("Groups:").is_empty(), "{:?}", line("Groups:"));
        assert_eq!(line("CapEff:"), ["0000000000000000"]);
    }
}

#[test]
fn as_root_a_directory_the_servers_user_cannot_enter_is_replaced_by_a_shared_one() {
    if !is_root() {
        return;
    }
    let scratch = scratch();
    let closed = scratch.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let options = Options { shared_directory: scratch.path().join("shared"), ..fast(&closed.join("below")) };
    for expected in 1..=2 {
        let server = EmbeddedPostgres::start(&options).unwrap();
        commit_a_row(&server);
        assert_eq!(rows(&server), expected);
        assert!(server.log().starts_with(&options.shared_directory));
    }
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
    let mode = fs::metadata(&closed).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let options = Options { shared_directory: closed.join("shared"), ..options };
    let error = EmbeddedPostgres::start(&options).unwrap_err();
    assert!(matches!(error, Error::NotEnterable { .. }), "{error}");
    let text = error.to_string();
    let advice = format!("chmod o+x {}", fs::canonicalize(&closed).unwrap().display());
    assert!(text.ends_with(&advice), "{text}");
    assert!(text.contains("the user postgres") || text.contains("the user nobody"), "{text}");
}

/// For another user: the binary itself may be where that user cannot reach it.
///
/// Copied by a process of its own: a file that this process has open for writing may be inherited by a child of another
/// test, and cannot be executed as long as that child has not started its program ("Text file busy").
fn copy_of_this_binary(directory: &Path) -> PathBuf {
    let copy = directory.join("tests");
    let binary = env::current_exe().unwrap();
    let copied = Command::new("install").args(["-m", "755"]).args([&binary, &copy]).status().unwrap();
    assert!(copied.success());
    copy
}

#[test]
fn it_runs_as_an_ordinary_user() {
    if !is_root() {
        return; // then every test shows it
    }
    let scratch = scratch();
    let binary = copy_of_this_binary(scratch.path());
    let directory = scratch.path().join("nobody");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let as_nobody = || {
        let mut command = Command::new(&binary);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    };
    let mut parent = Parent::spawn(&mut as_nobody(), &directory);
    assert!(is_server_alive(&directory));
    parent.kill();
    let mut parent = Parent::spawn(&mut as_nobody(), &directory);
    parent.kill();

    // Root who starts it there leaves it to its owner.
    let server = EmbeddedPostgres::start(&fast(&directory)).unwrap();
    assert_eq!(rows(&server), 2);
    server.stop().unwrap();
    let mut parent = Parent::spawn(&mut as_nobody(), &directory);
    parent.kill();
}

#[test]
fn data_of_another_user_are_refused() {
    if !is_root() {
        return;
    }
    let scratch = scratch();
    let binary = copy_of_this_binary(scratch.path());
    let directory = scratch.path().join("of-root");
    drop(EmbeddedPostgres::start(&fast(&directory)).unwrap());
    let mut command = Command::new(&binary);
    command.uid(NOBODY - 1).gid(NOBODY - 1).current_dir("/");
    command.stderr(Stdio::piped());
    let output = Parent::spawn_only(&mut command, &directory).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("OtherOwner"), "{text}");
}

#[test]
fn data_of_a_version_which_is_not_installed_are_refused_with_both_versions() {
    let scratch = scratch();
    let data = scratch.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "12\n").unwrap();
    let error = EmbeddedPostgres::start(&fast(scratch.path())).unwrap_err();
    assert!(matches!(error, Error::OtherVersion { .. }), "{error}");
    let text = error.to_string();
    let installed = Programs::find().unwrap().major();
    assert!(text.contains("made by PostgreSQL 12"), "{text}");
    assert!(text.contains(&format!("version {installed}")), "{text}");
    assert!(data.join("PG_VERSION").exists());
}

/// Programs which tell a version and can do nothing else.
fn fake_programs(directory: &Path, version: &str) -> PathBuf {
    fs::create_dir(directory).unwrap();
    for program in ["initdb", "postgres"] {
        let path = directory.join(program);
        // Written by a shell: a file that this process has written may still be open for writing
        // in a child another test is just starting, and then it cannot be run.
        let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n");
        let status = Command::new("/bin/sh")
            .args(["-c", r#"printf %s "$1" > "$2" && chmod 755 "$2""#, "sh"])
            .arg(script)
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success());
    }
    directory.to_path_buf()
}

#[test]
fn data_are_run_by_the_installed_programs_of_their_version() {
    let scratch = scratch();
    let directory = scratch.path().join("database");
    drop(EmbeddedPostgres::start(&fast(&directory)).unwrap());
    let real = Programs::find().unwrap();
    let other = fake_programs(&scratch.path().join("other"), "99.1");
    let directories = vec![other.clone(), real.directory().to_path_buf()];
    assert_eq!(Programs::find_in(&directories).unwrap().directory(), other);
    let options = Options { program_directories: Some(directories), ..fast(&directory) };
    let server = EmbeddedPostgres::start(&options).unwrap();
    commit_a_row(&server);
}

#[test]
fn without_programs_the_error_names_the_command_which_installs_them() {
    let scratch = scratch();
    let text = Programs::find_in(&[scratch.path().to_path_buf()]).unwrap_err().to_string();
    assert!(text.contains("version 14 or later"), "{text}");
    let commands = ["apt-get install", "dnf install", "apk add", "brew install"];
    let is_here = |command: &&str| {
        let program = command.split(' ').next().unwrap();
        let path = env::var_os("PATH").unwrap();
        env::split_paths(&path).any(|directory| directory.join(program).exists())
    };
    let expected = commands.iter().find(|command| is_here(command));
    let expected = expected.unwrap_or(&"https://www.postgresql.org/download/");
    assert!(text.contains(*expected), "{text}");

    let old = fake_programs(&scratch.path().join("old"), "13.4");
    let text = Programs::find_in(&[old]).unwrap_err().to_string();
    assert!(text.contains("only version 13 in"), "{text}");
    assert!(text.contains(*expected), "{text}");
}

#[test]
fn a_directory_which_only_links_to_initdb_leads_to_the_real_directory() {
    let scratch = scratch();
    let real = Programs::find().unwrap();
    symlink(real.directory().join("initdb"), scratch.path().join("initdb")).unwrap();
    let found = Programs::find_in(&[scratch.path().to_path_buf()]).unwrap();
    assert_eq!(found, real);
    assert!(found.directory().join("postgres").exists());
}

#[test]
fn an_ephemeral_directory_is_gone_after_stop() {
    let scratch = scratch();
    let directory = scratch.path().join("ephemeral");
    let server = EmbeddedPostgres::start(&Options::ephemeral(&directory)).unwrap();
    commit_a_row(&server);
    assert!(directory.exists());
    server.stop().unwrap();
    assert!(!directory.exists());
}

#[test]
fn an_ephemeral_directory_is_gone_after_its_process_was_killed() {
    let scratch = scratch();
    // Too long for a socket: that has a directory of its own, which must go as well.
    let directory = scratch.path().join("ephemeral-".repeat(10));
    let mut command = this_binary();
    let mut parent = Parent::spawn(command.env(EPHEMERAL, "1"), &directory);
    let pid_file = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
    let sockets = Path::new(pid_file.lines().nth(4).unwrap());
    assert!(sockets.starts_with("/tmp") && sockets.exists());
    parent.kill();
    until("the directory is gone", 10, || !directory.exists());
    until("the socket is gone", 10, || !sockets.exists());
}

#[test]
fn an_ephemeral_directory_is_gone_after_its_process_was_killed_in_initdb() {
    let scratch = scratch();
    let directory = scratch.path().join("ephemeral");
    let mut command = this_binary();
    let mut parent = Parent::spawn_only(command.env(EPHEMERAL, "1"), &directory);
    let half = directory.join("data.new/PG_VERSION");
    until("initdb is at work", 10, || half.exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the directory is gone", 10, || !directory.exists());
}

#[test]
fn an_ephemeral_server_never_takes_a_directory_with_other_files() {
    let scratch = scratch();
    let precious = scratch.path().join("precious");
    fs::write(&precious, "").unwrap();
    let error = EmbeddedPostgres::start(&Options::ephemeral(scratch.path())).unwrap_err();
    assert!(matches!(error, Error::ForeignFiles { .. }), "{error}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn a_data_directory_that_is_no_cluster_is_refused_and_left_alone() {
    let scratch = scratch();
    let precious = scratch.path().join("data/precious");
    fs::create_dir(scratch.path().join("data")).unwrap();
    fs::write(&precious, "").unwrap();
    let error = EmbeddedPostgres::start(&fast(scratch.path())).unwrap_err();
    assert!(matches!(error, Error::ForeignFiles { .. }), "{error}");
    assert!(precious.exists());
}

#[test]
fn a_server_which_cannot_start_tells_the_end_of_its_log() {
    let scratch = scratch();
    let options =
        Options { settings: vec![("shared_buffers".to_owned(), "nonsense".to_owned())], ..fast(scratch.path()) };
    let error = EmbeddedPostgres::start(&options).unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(error.to_string().contains("shared_buffers"), "{error}");
    // It leaves nothing running that would be in the way.
    EmbeddedPostgres::start(&fast(scratch.path())).unwrap();
}

#[test]
fn only_a_server_which_need_not_be_durable_trades_safety_for_speed() {
    let scratch = scratch();
    let query = "select concat_ws(' ', current_setting('fsync'), \
                 current_setting('synchronous_commit'), current_setting('full_page_writes'), \
                 current_setting('max_connections'), current_setting('listen_addresses'), \
                 current_setting('server_encoding'), current_setting('lc_collate'))";
    let begin = Instant::now();
    let durable = EmbeddedPostgres::start(&Options::new(scratch.path())).unwrap();
    println!("durable first start: {:?}", begin.elapsed());
    assert_eq!(setting(&durable, query), "on on on 100  UTF8 C");
    durable.stop().unwrap();

    let options = Options { settings: vec![("max_connections".to_owned(), "17".to_owned())], ..fast(scratch.path()) };
    let fast = EmbeddedPostgres::start(&options).unwrap();
    assert_eq!(setting(&fast, query), "off on off 17  UTF8 C");
}

#[test]
fn a_tcp_port_is_served_beside_the_socket_when_asked_for() {
    let scratch = scratch();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = Options { tcp_port: Some(port), ..fast(scratch.path()) };
    let server = EmbeddedPostgres::start(&options).unwrap();
    commit_a_row(&server);
    let over_tcp = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("ticket_webhooks")
        .database("postgres");
    assert_eq!(one::<i64>(&over_tcp, "select count(*) from kept"), 1);
}
