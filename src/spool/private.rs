//! Nobody but the service's user may read what is in a spool: it holds names and documents of travellers.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

const DIRECTORY_MODE: u32 = 0o700;

const FILE_MODE: u32 = 0o600;

/// Everything in a mode that speaks of the group and of others.
const OTHERS: u32 = 0o077;

/// Makes a directory that is missing, and mends one that others may read or enter.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    mend(path, DIRECTORY_MODE)
}

/// The same for a file, which is open then. One that is made is empty.
pub(super) fn file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    mend(path, FILE_MODE)?;
    Ok(file)
}

/// What belongs to another user, as the root of a volume may, cannot be mended and is used as it is.
fn mend(path: &Path, mode: u32) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    let found = permissions.mode() & 0o777;
    if found & OTHERS == 0 {
        return Ok(());
    }
    permissions.set_mode(mode);
    let mended = fs::set_permissions(path, permissions);
    let (path, found) = (path.display(), format!("{found:o}"));
    match mended {
        Ok(()) => tracing::warn!(%path, found, mended = format!("{mode:o}"), "others could read the spool"),
        Err(error) => tracing::warn!(%path, found, %error, "others may read the spool, and that cannot be changed"),
    }
    Ok(())
}
