//! The directory of a database, and the user that runs its server.
//!
//! Postgres refuses to run as root. Started by root, the server and `initdb` run as the owner of existing data, else as
//! `postgres`, else as `nobody`, and without root's groups.
//!
//! Invariants:
//!
//! - The server's user owns `data/` only. The directory around it, with the log and the locks, stays root's, so that root
//!   never follows a link that another user has planted.
//! - The mode of a directory that was not created here is never changed: where the server's user may not enter, another
//!   directory is used.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use super::Error;

/// The longest path of a unix socket on macOS; Linux allows four bytes more.
const SOCKET_PATH_BYTES: usize = 103;

/// The longest name of a socket in its directory.
const SOCKET_NAME: &str = "/.s.PGSQL.65535";

/// The user that runs the server instead of root.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

/// The directory of a database, and the user that runs its server.
#[derive(Debug)]
pub(super) struct DataDirectory {
    /// Absolute, symlinks resolved. Holds `data/`, the log and the locks.
    pub(super) path: PathBuf,
    /// `None`: the user of this process.
    user: Option<ServerUser>,
}

impl DataDirectory {
    /// `wanted`, or a subdirectory of `shared` when this is root and the server's user may not enter `wanted`. Creates
    /// nothing.
    pub(super) fn choose(wanted: &Path, shared: &Path) -> Result<Self, Error> {
        let home = resolved(wanted)?;
        if !geteuid().is_root() {
            refuse_other_owner(
                &home.join("data"),
                geteuid().as_raw(),
                "run this as its owner, or use another directory",
            )?;
            return Ok(Self { path: home, user: None });
        }

        let user = ServerUser::of(&home.join("data"))?;
        let Some(closed) = first_closed(&home, &user) else {
            return Ok(Self { path: home, user: Some(user) });
        };
        let shared = resolved(shared)?.join(format!("dev-{}", short_hash(&home)));
        let shared_user = ServerUser::of(&shared.join("data"))?;
        if let Some(shared_closed) = first_closed(&shared, &shared_user) {
            return Err(Error::NotEnterable { closed, user: user.name, shared, shared_closed });
        }
        tracing::info!(
            "PostgreSQL does not run as root, and the user {}, which runs it instead, cannot enter {}: the database of {} is \
             in {}",
            user.name,
            closed.display(),
            home.display(),
            shared.display()
        );
        Ok(Self { path: shared, user: Some(shared_user) })
    }

    /// Creates the directory when it is missing.
    pub(super) fn create(&self) -> Result<(), Error> {
        let mut missing: Vec<&Path> = self.path.ancestors().take_while(|path| !path.exists()).collect();
        while let Some(path) = missing.pop() {
            let created = DirBuilder::new().create(path);
            // Another process may create it at the same time.
            if created.is_err() && path.is_dir() {
                continue;
            }
            created.map_err(Error::io(format!("create {}", path.display())))?;
            if self.user.is_some() {
                // Whatever root's umask, the server's user has to enter it.
                fs::set_permissions(path, PermissionsExt::from_mode(0o755))
                    .map_err(Error::io(format!("set the mode of {}", path.display())))?;
            }
        }
        Ok(())
    }

    /// The data directory of Postgres.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The data directory, which only the server's user and root may enter, if a socket's address can hold its path and
    /// every client understands it; else a directory in `/tmp`, created here and just as private.
    pub(super) fn socket_directory(&self) -> Result<PathBuf, Error> {
        let data = self.data();
        // sqlx and URLs need UTF-8, and libpq splits hosts at commas.
        let is_plain = data.to_str().is_some_and(|path| !path.contains(','));
        if is_plain && data.as_os_str().len() + SOCKET_NAME.len() <= SOCKET_PATH_BYTES {
            return Ok(data);
        }
        let name = format!("ticket-webhooks-{}", short_hash(&self.path));
        let directory = Path::new("/tmp").join(name);
        match self.create_private(&directory) {
            // Everybody may write to /tmp: another user could own the directory and wait for connections.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let advice = "remove it: it is the directory of this database's socket";
                refuse_other_owner(&directory, self.server_uid(), advice)?;
                fs::set_permissions(&directory, PermissionsExt::from_mode(0o700))
            }
            made => made,
        }
        .map_err(Error::io(format!("create {}", directory.display())))?;
        Ok(directory)
    }

    /// Creates a directory that only the server's user may enter.
    pub(super) fn create_private(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        match &self.user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    /// A command that runs as the server's user, in this directory, with an environment that passes on no `PG*` variables,
    /// no locale and no secrets.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(&self.path);
        if let Some(user) = &self.user {
            // For root, `uid` also drops the supplementary groups.
            command.gid(user.gid).uid(user.uid);
        }
        command
    }

    fn server_uid(&self) -> u32 {
        self.user.as_ref().map_or_else(|| geteuid().as_raw(), |user| user.uid)
    }
}

impl ServerUser {
    fn of(data: &Path) -> Result<Self, Error> {
        if let Ok(metadata) = fs::metadata(data)
            && metadata.uid() != 0
        {
            let name = id(&["-un", &metadata.uid().to_string()]);
            return Ok(Self {
                name: name.unwrap_or_else(|| format!("with the id {}", metadata.uid())),
                uid: metadata.uid(),
                gid: metadata.gid(),
            });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| {
                let number = |option| id(&[option, name])?.parse().ok();
                Some(Self { name: name.to_owned(), uid: number("-u")?, gid: number("-g")? })
            })
            .ok_or_else(|| Error::Io {
                action: "find a user to run PostgreSQL, which does not run as root".to_owned(),
                source: io::Error::other("neither postgres nor nobody exists on this system"),
            })
    }

    /// By the mode bits alone, without access lists.
    fn may_enter(&self, directory: &fs::Metadata) -> bool {
        let bit = if directory.uid() == self.uid {
            0o100
        } else if directory.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        directory.mode() & bit != 0
    }
}

/// Runs `id`, which knows the users of every directory service, not only those of `/etc/passwd`.
fn id(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| text.trim().to_owned())
}

/// The first directory from the root to `path` that `user` may not enter. Missing ones are created with access for
/// everybody.
fn first_closed(path: &Path, user: &ServerUser) -> Option<PathBuf> {
    let ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors
        .into_iter()
        .rev()
        .find(|directory| fs::metadata(directory).is_ok_and(|metadata| !user.may_enter(&metadata)))
        .map(Path::to_path_buf)
}

/// A missing path is fine; a symlink is not followed.
fn refuse_other_owner(path: &Path, expected: u32, advice: &'static str) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.uid() != expected || !metadata.is_dir() => Err(Error::OtherOwner {
            path: path.to_path_buf(),
            owner: metadata.uid(),
            expected: format!("{expected}"),
            advice,
        }),
        _ => Ok(()),
    }
}

/// Absolute, with the symlinks of the part that exists resolved.
fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let cannot = || Error::io(format!("use the directory {}", path.display()));
    let absolute = std::path::absolute(path).map_err(cannot())?;
    for existing in absolute.ancestors() {
        match fs::canonicalize(existing) {
            Ok(real) => {
                let rest = absolute.strip_prefix(existing).expect("an ancestor is a prefix");
                return Ok(real.join(rest));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot()(error)),
        }
    }
    Ok(absolute)
}

/// FNV-1a: the same in every build, which std's hasher does not promise. It only tells one developer's directories apart.
fn short_hash(path: &Path) -> String {
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
