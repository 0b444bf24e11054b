//! Creates files and directories that only the service's user may read: a spool holds travellers' names and documents.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

const DIRECTORY_MODE: u32 = 0o700;

const FILE_MODE: u32 = 0o600;

/// The bits of group and others.
const OTHERS_MASK: u32 = 0o077;

/// Creates the directory if it is missing, and restricts one that others may read or enter.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    restrict(path, DIRECTORY_MODE)
}

/// Opens the file or creates an empty one, and restricts one that others may read or write.
pub(super) fn file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    restrict(path, FILE_MODE)?;
    Ok(file)
}

/// A path of another user, such as the root of a volume, cannot be restricted and is used as it is.
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    let found = permissions.mode() & 0o777;
    if found & OTHERS_MASK == 0 {
        return Ok(());
    }
    permissions.set_mode(mode);
    let restricted = fs::set_permissions(path, permissions);
    let (path, found) = (path.display(), format!("{found:o}"));
    match restricted {
        Ok(()) => tracing::warn!(%path, found, restricted_to = format!("{mode:o}"), "others could read the spool"),
        Err(error) => tracing::warn!(%path, found, %error, "others may read the spool, and that cannot be changed"),
    }
    Ok(())
}
