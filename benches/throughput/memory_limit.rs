//! A limit on the memory of processes and of the files that they read and write: a control group of Linux, of either version.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::fs::{Advice, fadvise};

/// For its processes to end.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct MemoryLimit {
    directory: PathBuf,
}

impl MemoryLimit {
    /// A group without processes. The error says why there can be none.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let groups = Path::new("/sys/fs/cgroup");
        let is_unified = groups.join("cgroup.controllers").exists();
        let (parent, limit) = match is_unified {
            true => (groups.to_path_buf(), "memory.max"),
            false => (groups.join("memory"), "memory.limit_in_bytes"),
        };
        if is_unified {
            // as a rule it is there already
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let group = Self { directory: parent.join(format!("ticket-webhooks-bench-{}", process::id())) };
        fs::create_dir(&group.directory).with_context(|| format!("no control group in {}", parent.display()))?;
        fs::write(group.directory.join(limit), bytes.to_string()).with_context(|| format!("no {limit}"))?;
        // swap would be more memory; where there is none, there is no such file
        let _ = fs::write(group.directory.join("memory.swap.max"), "0");
        Ok(group)
    }

    /// Processes that they start afterwards belong to it as well.
    pub fn add(&self, processes: &[u32]) -> io::Result<()> {
        processes.iter().try_for_each(|id| fs::write(self.directory.join("cgroup.procs"), id.to_string()))
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let deadline = Instant::now() + TIMEOUT;
        while fs::remove_dir(&self.directory).is_err() && Instant::now() < deadline {
            sleep(Duration::from_millis(100));
        }
    }
}

/// Removes the files of a directory from the page cache: pages that are there count for whoever has read them first.
pub fn drop_from_page_cache(directory: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            drop_from_page_cache(&entry.path())?;
        } else if kind.is_file() {
            let file = fs::File::open(entry.path())?;
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}
