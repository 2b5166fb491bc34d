//! Which process is the server of a folder: only that one is asked with the password, adopted and signalled.

use std::path::{Path, PathBuf};

use super::{files::Folder, watched::Watched};

/// A process of that id lives, and may be the server of this folder. Where the system shows working directories, it is: the server
/// changes to its folder.
pub(super) fn may_be_server_of(pid: i32, folder: &Folder) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    match std::fs::read_link(process.join("cwd")) {
        Ok(cwd) => cwd == folder.path(),
        // Another user's process, one that has ended, or a system without /proc.
        Err(_) if Path::new("/proc/self/cwd").exists() => false,
        Err(_) => Watched::open(pid).is_some(),
    }
}

/// A process that may be the server of this folder. On a full disk the server starts without a pid file, so where the system shows
/// working directories all processes are looked at.
pub(super) fn server_of(folder: &Folder) -> Option<i32> {
    let noted = folder.read_pid().filter(|pid| may_be_server_of(*pid, folder));
    noted.or_else(|| {
        let processes = std::fs::read_dir("/proc").ok()?;
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| is_redis(*pid)).find(|pid| may_be_server_of(*pid, folder))
    })
}

/// An operator's shell may be in the folder too.
fn is_redis(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| ["redis-server", "valkey-server", "setsid"].contains(&name.trim_end()))
}
