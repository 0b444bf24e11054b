//! Puts the commit into `--version`: that of the git checkout, else that of the variable `TICKET_WEBHOOKS_COMMIT` (for
//! builds without `.git`, such as the image), else none.

use std::{env, path::PathBuf, process::Command};

/// How much of the commit's hash is shown.
const HASH_LENGTH: usize = 7;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TICKET_WEBHOOKS_COMMIT");
    let commit = commit_of_checkout().or_else(|| env::var("TICKET_WEBHOOKS_COMMIT").ok());
    let commit = commit.map(|commit| commit.trim().chars().take(HASH_LENGTH).collect::<String>());
    let commit = commit.filter(|commit| !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = commit.map_or_else(|| version.clone(), |commit| format!("{version} ({commit})"));
    println!("cargo::rustc-env=TICKET_WEBHOOKS_VERSION={version}");
}

fn commit_of_checkout() -> Option<String> {
    // not empty when this is a directory inside of another project's checkout
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    // --git-path: in a worktree these are not all in the same directory
    let path_of = |name: &str| git(&["rev-parse", "--git-path", name]).map(PathBuf::from);
    // a branch is a line in packed-refs until its next commit creates its file
    let mut watched: Vec<PathBuf> = ["HEAD", "packed-refs"].into_iter().filter_map(path_of).collect();
    watched.extend(branch.and_then(|branch| path_of(&branch)).map(|file| match file.parent() {
        Some(directory) if !file.exists() => directory.to_owned(),
        _ => file,
    }));
    // cargo would run this script at each build if one of them did not exist
    for path in watched.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    git(&["rev-parse", "HEAD"])
}

/// What git prints; `None` where there is no git, or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
