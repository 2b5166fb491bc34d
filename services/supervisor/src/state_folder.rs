//! The state folder: its lock, and the list of processes that an earlier supervisor may have left behind.
//!
//! Owns `lock` and `children.json`. One supervisor at a time uses a folder. When the disk is full, the list gets old and a warning says so;
//! nothing stops.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{Instant, sleep};

use crate::identity::{ProcessIdentity, boot_id};

/// How often a process that is to end is looked at; it is no child of ours, so its end is no event.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The folder can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateFolderError {
    /// Another supervisor uses it.
    #[error(
        "{} is in use by another `altergolden up`{}: stop that one, replace it (`altergolden up --replace`), or choose another folder (--state)",
        folder.display(), pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The pid of the other supervisor.
        pid: Option<i32>,
    },
    /// A file in it can't be used.
    #[error("cannot {what} {} (--state): {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
    lock: File,
    /// The last write failed.
    failing: bool,
}

/// Processes that run, for a later supervisor.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Children {
    boot_id: String,
    children: Vec<ListedChild>,
}

/// A process that runs.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct ListedChild {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) identity: ProcessIdentity,
}

impl StateFolder {
    /// Makes the folder if it is missing, takes other users' rights to it away, and locks it. Who may connect to the control socket in
    /// it may run any program as this user.
    pub(crate) fn open(path: &Path) -> Result<Self, StateFolderError> {
        let fail = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| StateFolderError::Io { what, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail("make the state folder", path))?;
        let mode = fs::metadata(path).map_err(fail("open the state folder", path))?.permissions().mode();
        if mode & 0o1000 != 0 {
            let shared = io::Error::other("all users share it; choose a folder of its own");
            return Err(fail("use as state folder", path)(shared));
        }
        if mode & 0o077 != 0 {
            let closed = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
            closed.map_err(fail("take the rights of other users from", path))?;
        }
        let file = path.join("lock");
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(fail("open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Without a pid the refusal is as clear.
                let _ = (&lock).take(32).read_to_string(&mut text);
                return Err(StateFolderError::InUse {
                    folder: path.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(fail("lock", &file)(source)),
        }
        let mut folder = Self { path: path.to_owned(), lock, failing: false };
        folder.write_pid();
        Ok(folder)
    }

    /// Takes over a folder that the image before has locked.
    pub(crate) fn inherit(path: &Path, lock: OwnedFd) -> Self {
        Self { path: path.to_owned(), lock: lock.into(), failing: false }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock, for the next image.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    fn write_pid(&mut self) {
        let mut write = || {
            self.lock.set_len(0)?;
            self.lock.rewind()?;
            writeln!(self.lock, "{}", std::process::id())
        };
        let written = write();
        self.note(written);
    }

    /// Writes down which processes run.
    pub(crate) fn list_children(&mut self, children: Vec<ListedChild>) {
        let list = Children { boot_id: boot_id().unwrap_or_default(), children };
        let write = || {
            let text = serde_json::to_vec(&list)?;
            let (next, file) = (self.path.join("children.json.next"), self.path.join("children.json"));
            fs::write(&next, text)?;
            fs::rename(next, file)
        };
        let written = write();
        self.note(written);
    }

    fn note(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(
                    folder = %self.path.display(), %error,
                    "cannot write the state folder; if the supervisor is killed now, it may leave processes behind"
                );
            }
            Err(_) => {}
        }
    }

    /// Ends the processes that an earlier supervisor has left behind: SIGTERM, and SIGKILL after `within`.
    pub(crate) async fn end_leftovers(&self, within: Duration) {
        let text = fs::read(self.path.join("children.json")).unwrap_or_default();
        let Ok(list) = serde_json::from_slice::<Children>(&text) else { return };
        if boot_id().is_none_or(|id| id != list.boot_id) {
            return;
        }
        let running = |child: &ListedChild| child.identity.running();
        let mut left: Vec<ListedChild> = list.children;
        left.retain(|child| running(child).is_some());
        for child in &left {
            tracing::warn!(
                program = child.name,
                pid = child.identity.pid(),
                "process of an earlier supervisor still runs; it is stopped first"
            );
            signal_group(running(child), Signal::TERM);
        }
        let (deadline, mut killed) = (Instant::now() + within, false);
        while !left.is_empty() {
            if !killed && Instant::now() >= deadline {
                killed = true;
                for child in &left {
                    tracing::warn!(
                        program = child.name,
                        pid = child.identity.pid(),
                        "process did not stop in time; it is killed"
                    );
                    signal_group(running(child), Signal::KILL);
                }
            }
            sleep(LOOK_EVERY).await;
            left.retain(|child| running(child).is_some());
        }
    }
}

/// The process group of a child has its pid as number.
fn signal_group(leader: Option<Pid>, signal: Signal) {
    if let Some(leader) = leader
        && let Err(error) = kill_process_group(leader, signal)
    {
        tracing::debug!(pid = leader.as_raw_nonzero().get(), %error, "process not signalled");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn second_supervisor_is_refused_with_the_first_ones_pid() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFolder::open(folder.path()).unwrap();
        let refused = StateFolder::open(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        drop(first);
        StateFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn folder_is_closed_to_other_users() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o775)).unwrap();
        StateFolder::open(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        StateFolder::open(folder.path()).unwrap_err();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o777);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn leftovers_end_and_strangers_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = StateFolder::open(folder.path()).unwrap();
        let start = || std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let (mut ours, mut stranger) = (start(), start());
        let identity = |child: &std::process::Child| ProcessIdentity::of(Pid::from_child(child)).unwrap();
        let listed = ListedChild { name: "ours".to_owned(), identity: identity(&ours) };
        // As if the pid had been another process's when the list was written.
        let mut text = serde_json::to_value(identity(&stranger)).unwrap();
        text["started"] = 1.into();
        let other = ListedChild { name: "other".to_owned(), identity: serde_json::from_value(text).unwrap() };
        state.list_children(vec![listed, other]);
        state.end_leftovers(Duration::from_secs(30)).await;
        assert!(ours.wait().unwrap().code().is_none(), "a signal ended it");
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
