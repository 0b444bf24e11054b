//! Finds the installed PostgreSQL server programs. It installs nothing.
//!
//! A directory qualifies when it has both `initdb` and `postgres`, symlinks resolved (a directory of the `PATH` often
//! links to some of them), and its `postgres` runs and prints a supported version.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// Older versions are out of support and untested here.
const OLDEST_MAJOR: u32 = 14;

/// The server programs of one installed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    directory: PathBuf,
    major: u32,
}

impl Programs {
    /// Those of the `PATH`, else of `pg_config --bindir`, else the newest in the directories of Linux distributions and
    /// Homebrew.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrograms`]
    pub fn find() -> Result<Self, Error> {
        Self::find_in(&usual_directories())
    }

    /// The first programs of version 14 or later in `directories`.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrograms`]
    pub fn find_in(directories: &[PathBuf]) -> Result<Self, Error> {
        let mut too_old = None;
        for programs in directories.iter().filter_map(|directory| Self::at(directory)) {
            if programs.major >= OLDEST_MAJOR {
                return Ok(programs);
            }
            too_old = Some(format!("version {} in {}", programs.major, programs.directory.display()));
        }
        let is_installed = |program: &str| on_path(program).is_some();
        Err(Error::NoPrograms { too_old, install: install_command(is_installed, rustix::process::geteuid().is_root()) })
    }

    /// The programs of exactly this major version, in `directories` or the usual ones.
    pub(super) fn of_version(major: u32, directories: Option<&[PathBuf]>) -> Option<Self> {
        let directories = directories.map_or_else(usual_directories, <[PathBuf]>::to_vec);
        directories.iter().filter_map(|directory| Self::at(directory)).find(|programs| programs.major == major)
    }

    /// The directory with the programs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// 17 for 17.2.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.directory.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    /// psql as a person calls it; with its path when it is not on the `PATH`, as with Homebrew.
    pub(super) fn psql(&self) -> PathBuf {
        let beside = self.directory.join("psql");
        if on_path("psql").is_none() && beside.is_file() { beside } else { PathBuf::from("psql") }
    }

    fn at(directory: &Path) -> Option<Self> {
        let real = fs::canonicalize(directory.join("initdb")).ok()?;
        let directory = [real.parent()?, directory]
            .into_iter()
            .find(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file())?
            .to_path_buf();
        let output = Command::new(directory.join("postgres")).arg("--version").env_clear().output().ok()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { directory, major })
    }
}

/// In the order of preference.
fn usual_directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = path_directories().collect();
    directories.extend(pg_config_bindir());
    directories.extend(versions_below("/usr/lib/postgresql", "")); // Debian, Ubuntu
    directories.extend(versions_below("/usr", "pgsql-")); // Fedora and Red Hat, packages of the PGDG
    directories.extend(versions_below("/opt/homebrew/opt", "postgresql@")); // Homebrew, Apple silicon
    directories.extend(versions_below("/usr/local/opt", "postgresql@")); // Homebrew, Intel
    directories
}

fn path_directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // The result must not depend on the current directory.
    env::split_paths(&path).filter(|directory| directory.is_absolute()).collect::<Vec<_>>().into_iter()
}

fn on_path(program: &str) -> Option<PathBuf> {
    path_directories().map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new(on_path("pg_config")?).arg("--bindir").output().ok()?;
    let bindir = String::from_utf8(output.stdout).ok()?;
    (!bindir.trim().is_empty()).then(|| PathBuf::from(bindir.trim()))
}

/// The `bin` directories of `parent/prefix<version>`, newest version first.
fn versions_below(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let major = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Parses `postgres (PostgreSQL) 17.2 (Debian 17.2-1)`, also with `18beta1` or `16devel`.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().ok()
}

/// The system's own package manager comes before Homebrew, which exists on Linux as well.
fn install_command(is_installed: impl Fn(&str) -> bool, is_root: bool) -> String {
    let sudo = if is_root { "" } else { "sudo " };
    if is_installed("apt-get") {
        format!("{sudo}apt-get install postgresql")
    } else if is_installed("dnf") {
        format!("{sudo}dnf install postgresql-server")
    } else if is_installed("apk") {
        format!("{sudo}apk add postgresql")
    } else if is_installed("brew") {
        "brew install postgresql@17".to_owned() // it refuses to be run as root
    } else {
        "the package of the PostgreSQL server of this system (https://www.postgresql.org/download/)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_previews() {
        let read = |version: &str| major_version(&format!("postgres (PostgreSQL) {version}\n"));
        assert_eq!(read("15.13 (Debian 15.13-0+deb12u1)"), Some(15));
        assert_eq!(read("18beta1"), Some(18));
        assert_eq!(read("9.6.24"), Some(9));
        assert_eq!(major_version("something else 15"), None);
    }

    #[test]
    fn the_install_command_is_the_one_of_this_system() {
        let with =
            |installed: &'static [&str], is_root| install_command(|program| installed.contains(&program), is_root);
        assert_eq!(with(&["apt-get", "brew"], false), "sudo apt-get install postgresql");
        assert_eq!(with(&["apt-get"], true), "apt-get install postgresql");
        assert_eq!(with(&["dnf"], true), "dnf install postgresql-server");
        assert_eq!(with(&["apk"], true), "apk add postgresql");
        assert_eq!(with(&["brew"], false), "brew install postgresql@17");
        assert!(with(&[], false).contains("https://www.postgresql.org/download/"));
    }
}
