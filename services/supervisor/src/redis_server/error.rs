//! What can go wrong with the server, and what an operator does about it.

use std::{io, path::PathBuf, time::Duration};

/// The fleet's `redis-server` can't be started, adopted or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RedisServerError {
    /// No program in `PATH`.
    #[error(
        "no redis-server or valkey-server in PATH: install one (apt-get install redis-server, dnf install valkey, brew install \
         redis), or set REDIS_URL to your own Redis"
    )]
    NotInstalled,
    /// Its version is below 6.2.
    #[error("{program} is version {version}: install 6.2 or newer, or set REDIS_URL to your own Redis")]
    TooOld {
        /// The program's path.
        program: String,
        /// Major and minor version.
        version: String,
    },
    /// The program can't be executed.
    #[error("cannot run {program}: {problem}")]
    CannotRun {
        /// The program's path.
        program: String,
        /// The system's or the program's words.
        problem: String,
    },
    /// The folder or a file in it can't be written.
    #[error("cannot write {}, the folder of redis-server: {problem}", folder.display())]
    Folder {
        /// The server's folder.
        folder: PathBuf,
        /// The system's words.
        problem: io::Error,
    },
    /// Another process has the port.
    #[error(
        "port {port} of redis-server is taken by another process: end that process, or start the fleet again"
    )]
    PortTaken {
        /// The port on the loopback.
        port: u16,
    },
    /// The system has no port to offer.
    #[error("no free port on 127.0.0.1 for redis-server: {0}")]
    NoPort(io::Error),
    /// The append-only file is damaged, or of a newer version.
    #[error(
        "redis-server cannot read its data in {}: {line}. Copy that folder, then repair it with redis-check-aof --fix; or move it \
         away, and each shard identifies once", folder.display()
    )]
    Unreadable {
        /// The server's folder.
        folder: PathBuf,
        /// The server's words.
        line: String,
    },
    /// It ended before it answered.
    #[error("redis-server ended when it started: {exit}; its log is {}", log.display())]
    Ended {
        /// Exit status, and the server's last warning.
        exit: String,
        /// The server's log.
        log: PathBuf,
    },
    /// It runs but does not answer, or loads its data for too long.
    #[error("redis-server (process {pid}) did not get ready within {} s", waited.as_secs())]
    Silent {
        /// Its process.
        pid: i32,
        /// How long was waited.
        waited: Duration,
    },
    /// A process works in the folder and does not answer as its server. A second one would destroy the data.
    #[error(
        "process {pid} runs in {}, the folder of redis-server, and does not answer there: end it (kill {pid}), then start again",
        folder.display()
    )]
    StillRuns {
        /// The process.
        pid: i32,
        /// The server's folder.
        folder: PathBuf,
    },
    /// It did not end at SIGTERM.
    #[error("redis-server (process {pid}) still runs {} s after SIGTERM: left alone", waited.as_secs())]
    DoesNotStop {
        /// Its process.
        pid: i32,
        /// How long was waited.
        waited: Duration,
    },
}

impl RedisServerError {
    pub(super) fn silent(pid: i32, waited: Duration) -> Self {
        Self::Silent { pid, waited }
    }
}
