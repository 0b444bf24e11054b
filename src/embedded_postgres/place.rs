//! Where a database lives, and as which user its server runs.
//!
//! Postgres refuses to run as root. Started by root, the server and `initdb` run as the owner of
//! the data when there are any, else as `postgres`, else as `nobody`, and without root's groups.
//! Only what that user has to own is given to it (`data/`); the directory around it, with the log
//! and the locks, stays root's, so that root never follows a link which another user has planted.
//!
//! It never changes the mode of a directory it has not made: where the server's user may not
//! enter, the database goes elsewhere.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use super::Error;

/// What the address of a unix socket holds on macOS; Linux has four bytes more.
const SOCKET_PATH_BYTES: usize = 103;

/// The longest name that a socket gets in its directory.
const SOCKET_NAME: &str = "/.s.PGSQL.65535";

/// A user who runs the server instead of root.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

/// The directory of a database, and who runs its server.
#[derive(Debug)]
pub(super) struct Place {
    /// Absolute, symlinks resolved.
    pub(super) home: PathBuf,
    /// `None`: whoever runs this process.
    user: Option<ServerUser>,
}

impl Place {
    /// `wanted`; or a directory in `shared` when this is root and the server's user may not enter
    /// `wanted`. Nothing is made yet.
    pub(super) fn choose(wanted: &Path, shared: &Path) -> Result<Self, Error> {
        let home = resolved(wanted)?;
        if !geteuid().is_root() {
            refuse_other_owner(
                &home.join("data"),
                geteuid().as_raw(),
                "run this as its owner, or use another directory",
            )?;
            return Ok(Self { home, user: None });
        }

        let user = ServerUser::of(&home.join("data"))?;
        let Some(closed) = first_closed(&home, &user) else {
            return Ok(Self { home, user: Some(user) });
        };
        let shared = resolved(shared)?.join(format!("dev-{}", short_hash(&home)));
        let shared_user = ServerUser::of(&shared.join("data"))?;
        if let Some(shared_closed) = first_closed(&shared, &shared_user) {
            return Err(Error::NotEnterable { closed, user: user.name, shared, shared_closed });
        }
        tracing::info!(
            "PostgreSQL does not run as root, and the user {} who runs it instead cannot enter {}: \
             the database of {} is in {}",
            user.name,
            closed.display(),
            home.display(),
            shared.display()
        );
        Ok(Self { home: shared, user: Some(shared_user) })
    }

    /// Makes the directory when it is missing.
    pub(super) fn create(&self) -> Result<(), Error> {
        let mut missing: Vec<&Path> = self.home.ancestors().take_while(|path| !path.exists()).collect();
        while let Some(path) = missing.pop() {
            let created = DirBuilder::new().create(path);
            // Another process may make it at the same time.
            if created.is_err() && path.is_dir() {
                continue;
            }
            created.map_err(Error::io(format!("create {}", path.display())))?;
            if self.user.is_some() {
                // Whatever root's umask says, the server's user has to get through.
                fs::set_permissions(path, PermissionsExt::from_mode(0o755))
                    .map_err(Error::io(format!("set the mode of {}", path.display())))?;
            }
        }
        Ok(())
    }

    /// The data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Where the socket is: in the data directory, which only the server's user and root may
    /// enter, as long as the path fits a socket's address and every client; else in a directory
    /// under `/tmp`, made here, which is just as private.
    pub(super) fn socket_directory(&self) -> Result<PathBuf, Error> {
        let data = self.data();
        // sqlx and URLs take no other text than UTF-8, and libpq takes a comma for the end of a host.
        let is_plain = data.to_str().is_some_and(|path| !path.contains(','));
        if is_plain && data.as_os_str().len() + SOCKET_NAME.len() <= SOCKET_PATH_BYTES {
            return Ok(data);
        }
        let name = format!("ticket-webhooks-{}", short_hash(&self.home));
        let directory = Path::new("/tmp").join(name);
        match self.create_private(&directory) {
            // Everybody may write to /tmp, so it may be another's, who waits for connections.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let advice = "remove it, it is where this database's socket has to be";
                refuse_other_owner(&directory, self.server_uid(), advice)?;
                fs::set_permissions(&directory, PermissionsExt::from_mode(0o700))
            }
            made => made,
        }
        .map_err(Error::io(format!("create {}", directory.display())))?;
        Ok(directory)
    }

    /// Makes a directory which only the server's user may enter.
    pub(super) fn create_private(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        match &self.user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    /// A command which runs as the server's user, in the directory, in an environment that leaks
    /// nothing into the server: neither `PG*` variables nor a locale nor anybody's secrets.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(&self.home);
        if let Some(user) = &self.user {
            // For root, `uid` drops the supplementary groups as well.
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

    /// By the mode bits alone: access lists are not looked at.
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

/// Asks `id`, which knows the users of every directory service, and not only of `/etc/passwd`.
fn id(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| text.trim().to_owned())
}

/// The first directory on the way down to `path`, itself included, which `user` may not enter.
/// Those which do not exist yet will be made so that everybody may.
fn first_closed(path: &Path, user: &ServerUser) -> Option<PathBuf> {
    let way: Vec<&Path> = path.ancestors().collect();
    way.into_iter()
        .rev()
        .find(|directory| fs::metadata(directory).is_ok_and(|metadata| !user.may_enter(&metadata)))
        .map(Path::to_path_buf)
}

/// Missing paths are fine; symlinks are looked at themselves.
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

/// FNV-1a: the same in every build, which the hasher of std does not promise, and it only has to
/// keep one developer's directories apart.
fn short_hash(path: &Path) -> String {
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
