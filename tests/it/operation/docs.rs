//! The documentation is true: what its pages name exists, and what must be documented is.
//!
//! Checked are links, paths of files, metrics, configuration keys, commands, targets of `make` and alerts. Whether a
//! sentence is right is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use crate::support::{Command, Database, SECRET, Scrape, Service};

const SECTIONS: [&str; 8] = ["server.", "admin.", "database.", "inbox.", "spool.", "log.", "forward.", "providers."];

const DIRECTORIES: [&str; 10] =
    [".ci/", ".github/", "benches/", "config/", "docs/", "fuzz/", "migrations/", "ops/", "src/", "tests/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

struct Page {
    path: PathBuf,
    text: String,
}

/// Code on one line of a page: a line of a block, or the spans between backticks.
struct Line {
    place: String,
    code: Vec<String>,
}

impl Page {
    fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> = ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(PathBuf::from).into();
        let docs =
            fs::read_dir(root().join("docs")).unwrap().map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
        paths.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
        paths.into_iter().map(|path| Self { text: read(&path), path }).collect()
    }

    /// The lines with their numbers, and whether each is in a block of code. Programs are left out: their words are their own.
    fn lines(&self) -> impl Iterator<Item = (String, &str, bool)> {
        let (mut in_block, mut in_program) = (false, false);
        self.text.lines().enumerate().filter_map(move |(number, line)| {
            let is_fence = line.starts_with("```");
            in_block ^= is_fence;
            in_program = ["```python", "```sql"].contains(&line) || (in_program && in_block);
            (!in_program).then(|| (format!("{}:{}", self.path.display(), number + 1), line, in_block || is_fence))
        })
    }

    fn code(&self) -> Vec<Line> {
        let code = |(place, line, in_block): (String, &str, bool)| {
            let code = if in_block {
                vec![line.to_owned()]
            } else {
                let parts: Vec<_> = line.split('`').collect();
                assert!(parts.len() % 2 == 1, "{place}: a code span goes beyond its line");
                parts.into_iter().skip(1).step_by(2).map(str::to_owned).collect()
            };
            Line { place, code }
        };
        self.lines().map(code).collect()
    }

    /// As GitHub makes the anchors of headings.
    fn anchors(&self) -> Vec<String> {
        let headings = self.lines().filter(|(_, line, in_block)| line.starts_with('#') && !in_block);
        let anchor = |heading: &str| {
            let kept = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|char| char.is_alphanumeric() || "-_ ".contains(*char));
            kept.map(|char| if char == ' ' { '-' } else { char }).collect()
        };
        headings.map(|(_, line, _)| anchor(line)).collect()
    }
}

/// Every word of code in the pages, with its place.
fn words() -> Vec<(String, String)> {
    let separators = |char: char| char.is_whitespace() || "=,;()[]{}\"'<>|".contains(char);
    let words = |line: Line| {
        let words = line.code.iter().flat_map(|code| code.split(separators)).filter(|word| !word.is_empty());
        words.map(|word| (line.place.clone(), word.trim_end_matches([':', '.']).to_owned())).collect::<Vec<_>>()
    };
    Page::all().iter().flat_map(Page::code).flat_map(words).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for page in Page::all() {
        let directory = page.path.parent().unwrap();
        for (place, line, _) in page.lines().filter(|(.., in_block)| !in_block) {
            for target in line.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
                if target.contains("://") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { page.path.clone() } else { directory.join(path) };
                assert!(root().join(&path).exists(), "{place}: there is no {target}");
                if !anchor.is_empty() {
                    let linked = Page { text: read(&path), path };
                    assert!(linked.anchors().iter().any(|one| one == anchor), "{place}: there is no {target}");
                }
            }
        }
    }
}

#[test]
fn every_file_that_is_named_exists() {
    let paths = words().into_iter().filter(|(_, word)| DIRECTORIES.iter().any(|directory| word.starts_with(directory)));
    for (place, path) in paths.filter(|(_, path)| !path.contains(['*', '…']) && !path.contains("NAME")) {
        assert!(root().join(&path).exists(), "{place}: there is no {path}");
    }
}

#[test]
fn every_page_of_docs_says_who_it_is_for_and_is_in_the_summary() {
    let summary = read("docs/README.md");
    for page in Page::all().iter().filter(|page| page.path.starts_with("docs")) {
        let first = page.text.lines().skip(1).find(|line| !line.is_empty()).unwrap();
        assert!(first.starts_with("For "), "{}: {first}", page.path.display());
        let name = page.path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || summary.contains(&format!("]({name})")), "docs/README.md does not link {name}");
    }
    assert!(read("README.md").lines().count() <= 100);
}

#[tokio::test]
async fn every_metric_that_is_named_exists_and_every_metric_is_documented() {
    let database = Database::new().await;
    let forward = [
        ("TICKET_WEBHOOKS__FORWARD__BACK__URL", "http://127.0.0.1:1/"),
        ("TICKET_WEBHOOKS__FORWARD__BACK__SECRETS", SECRET),
    ];
    let service = Service::start(&database, &forward).await;
    Scrape::until(&service, |scrape| {
        scrape.series.iter().any(|series| series.name == "ticket_webhooks_forward_active")
    })
    .await;
    let scrape = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let exposed: BTreeSet<_> = types.map(str::to_owned).collect();
    let mut documented = BTreeSet::new();
    for (place, word) in words() {
        if word.starts_with("ticket_webhooks_") {
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(&word);
            assert!(exposed.contains(name), "{place}: there is no {name}");
        }
        documented.insert(word);
    }
    let missing: Vec<_> = exposed.difference(&documented).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
}

/// The keys of `config/default.toml` with their defaults; a key without one is a comment there. A forward is a comment as a
/// whole, in which such a key is empty.
fn keys() -> BTreeMap<String, Option<String>> {
    let mut keys = BTreeMap::new();
    let mut section = String::new();
    for line in read("config/default.toml").lines() {
        let (line, is_comment) = line.strip_prefix("# ").map_or((line, false), |line| (line, true));
        let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| is_key(key)) {
            let value = value.split("  ").next().unwrap();
            let has_default = if section == "forward.NAME" { value != "\"\"" } else { !is_comment };
            let default = has_default.then(|| value.to_owned());
            assert_eq!(keys.insert(format!("{section}.{key}"), default), None);
        }
    }
    keys
}

#[test]
fn every_configuration_key_that_is_named_exists() {
    let keys = keys();
    let names: BTreeSet<_> = keys.keys().flat_map(|key| key.rsplit('.').next()).collect();
    let of_a_provider = |key: &str| key.replacen(&format!(".{}.", key.split('.').nth(1).unwrap()), ".NAME.", 1);
    let any_provider: BTreeSet<_> =
        keys.keys().filter(|key| key.starts_with("providers.")).map(|key| of_a_provider(key)).collect();
    let exists = |key: &str| {
        let key = key.strip_suffix("_file").unwrap_or(key);
        let is_table_of_a_forward = key.starts_with("forward.") && key.split('.').count() == 2;
        keys.contains_key(key) || any_provider.contains(key) || is_table_of_a_forward
    };
    for (place, word) in words() {
        if let Some(variable) = word.strip_prefix("TICKET_WEBHOOKS__").filter(|rest| !rest.is_empty()) {
            let mut parts: Vec<_> = variable.split("__").map(str::to_lowercase).collect();
            if parts.get(2).is_some_and(|part| part == "accounts") {
                "NAME".clone_into(&mut parts[3]);
            }
            assert!(exists(&parts.join(".")), "{place}: there is no {word}");
        } else if SECTIONS.iter().any(|section| word.starts_with(section)) {
            assert!(exists(&word), "{place}: there is no {word}");
        }
    }
    for line in Page::all().iter().flat_map(Page::code) {
        for (key, _) in line.code.iter().filter_map(|code| code.split_once(" = ")) {
            let name = key.rsplit(['.', ' ']).next().unwrap();
            let name = name.strip_suffix("_file").unwrap_or(name);
            assert!(names.contains(name), "{}: there is no key {name}", line.place);
        }
    }
}

#[test]
fn every_configuration_key_is_documented_with_its_default() {
    let page = read("docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let documented: BTreeMap<_, _> = rows
        .map(|(key, rest)| {
            let default = rest.split(" | ").next().unwrap();
            (key.to_owned(), (default != "none").then(|| default.trim_matches('`').to_owned()))
        })
        .collect();
    assert_eq!(documented, keys());
}

/// The commands in a help text.
fn commands(help: &str) -> Vec<String> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// The help of every command, by its words: `spool inspect`. That of the program is under no words.
fn helps() -> BTreeMap<String, String> {
    let mut helps = BTreeMap::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(command) = open.pop() {
        let arguments: Vec<_> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, help, _) = Command::new(&arguments).run();
        assert_eq!(code, 0, "{arguments:?}");
        open.extend(commands(&help).into_iter().map(|name| command.iter().cloned().chain([name]).collect()));
        helps.insert(command.join(" "), help);
    }
    helps
}

#[test]
fn every_command_and_flag_that_is_named_exists_and_every_command_is_documented() {
    let helps = helps();
    let mut documented = BTreeSet::from([String::new(), "spool".to_owned()]);
    for line in Page::all().iter().flat_map(Page::code) {
        for rest in line.code.join(" ; ").split("ticket-webhooks ").skip(1) {
            let words: Vec<_> = rest.split_whitespace().collect();
            let is_name = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            let mut command = String::new();
            for word in words.iter().take_while(is_name).filter(|word| !word.starts_with('-')) {
                let longer = format!("{command} {word}").trim().to_owned();
                let has_more = !commands(&helps[&command]).is_empty();
                assert!(!has_more || helps.contains_key(&longer), "{}: there is no command {longer}", line.place);
                command = if has_more { longer } else { command };
            }
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                assert!(helps[&command].contains(flag), "{}: {command} has no {flag}", line.place);
            }
            documented.insert(command);
        }
    }
    assert_eq!(documented, helps.into_keys().collect::<BTreeSet<_>>());
}

#[test]
fn every_target_of_make_that_is_named_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<_> = makefile.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    for line in Page::all().iter().flat_map(Page::code) {
        let words: Vec<_> = line.code.iter().flat_map(|code| code.split_whitespace()).collect();
        for target in words.windows(2).filter(|pair| pair[0] == "make" && pair[1] != "#").map(|pair| pair[1]) {
            assert!(targets.contains(target), "{}: make has no target {target}", line.place);
        }
    }
}

#[test]
fn every_alert_that_is_named_exists_and_every_alert_is_documented() {
    let rules = read("ops/alerts.yml");
    let alerts: BTreeSet<_> =
        rules.lines().filter_map(|line| line.split_once("- alert: ")).map(|(_, name)| name).collect();
    let words = words();
    let named = words.iter().filter(|(_, word)| word.starts_with("TicketWebhooks")).map(|(_, word)| word.as_str());
    assert_eq!(named.collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn every_module_of_the_tests_is_in_the_table_of_what_each_guards() {
    let main = read("tests/it/main.rs");
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.split([';', ' ']).next());
    let table = read("CONTRIBUTING.md");
    let table = table.split("| module | guards |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<BTreeSet<_>>(), modules.filter(|name| *name != "support").collect());
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let dockerfile = read("Dockerfile");
    let images: Vec<_> = dockerfile.lines().filter(|line| line.starts_with("FROM rust:")).collect();
    assert!(!images.is_empty() && images.iter().all(|line| line.contains(&format!("rust:{version}-"))), "{images:?}");
}

/// The delivery of the README, pasted twice.
#[tokio::test]
async fn the_delivery_of_the_readme_is_answered_and_recorded_as_it_says() {
    let database = Database::new().await;
    let account = "TICKET_WEBHOOKS__PROVIDERS__TICKET_STATUS_UPDATE__ACCOUNTS__DEMO";
    let (environment, key) = (format!("{account}__ENVIRONMENT"), format!("{account}__API_KEY"));
    let service = Service::start(&database, &[(&environment, "test"), (&key, "demo-api-key")]).await;
    let readme = read("README.md");
    let line = |start: &str| readme.lines().find(|line| line.starts_with(start)).unwrap().to_owned();

    let curl = line("curl ").replace("http://127.0.0.1:8080", &service.public);
    let (reply, again) = spawn_blocking(move || {
        let paste = || std::process::Command::new("bash").args(["-c", &curl]).output().unwrap().stdout;
        (paste(), paste())
    })
    .await
    .unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert_eq!((reply.trim_end(), reply.as_bytes()), (line("{\"code\":200").as_str(), again.as_slice()));

    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let (columns, shown) = (cells(&line("       provider")), cells(&line(" ticket_status_update")));
    let texts = columns.iter().map(|column| format!("{column}::text")).collect::<Vec<_>>().join(", ");
    let rows = database.rows(&format!("select {texts} from ticket_events")).await;
    let values = columns.iter().map(|column| rows[0][column].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((values, rows.len()), (shown.iter().map(String::as_str).collect(), 1));
}
