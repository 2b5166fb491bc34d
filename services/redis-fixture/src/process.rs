//! One `redis-server` process: its port, its directory, its life.

use std::{
    io::ErrorKind,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use redis::FromRedisValue;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{PATIENCE, until};

/// A cluster node listens on this port above its own too.
const CLUSTER_BUS: u16 = 10_000;

/// Ports tried before giving up.
const TRIES: usize = 20;

/// A `redis-server` with its arguments; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    port: u16,
    args: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl Process {
    /// Starts a server on a free port and waits until it answers. Another process may take the port first: then the next.
    pub(crate) async fn start(args: &[String], prepare: impl Fn(&Path)) -> Self {
        for _ in 0..TRIES {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            prepare(directory.path());
            let mut process = Self { port: free_port(), args: args.to_vec(), directory, child: None };
            if process.spawn().await {
                return process;
            }
        }
        panic!("redis-server did not start on any of {TRIES} ports");
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Spawns the child; `false` when it ended before it answered.
    async fn spawn(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.args(&self.args);
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("this test needs redis-server, which is not installed: .ci/test installs it")
            }
            Err(error) => panic!("redis-server cannot be started: {error}"),
        };
        let pid = child.id();
        self.child = Some(child);
        let port = self.port;
        let mut ended = || {
            let child = self.child.as_mut().expect("spawned above");
            child.try_wait().expect("a child can be asked").is_some()
        };
        until("redis-server answers", || {
            let ended = ended();
            async move {
                if ended {
                    return Some(false);
                }
                // Only our own child's answer counts: the port may be another server's.
                let info: String = ask(port, &["INFO", "server"]).await?;
                info.lines().any(|line| line.trim() == format!("process_id:{pid}")).then_some(true)
            }
        })
        .await
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port, with nothing in it.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        for _ in 0..TRIES {
            if self.spawn().await {
                return;
            }
            self.kill();
        }
        panic!("redis-server did not start again on port {}", self.port);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
    }

    /// Sends a command over a connection of its own, and panics when that fails.
    pub(crate) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        ask(self.port, words).await.unwrap_or_else(|| panic!("{words:?} failed on port {}", self.port))
    }

    /// Sends a command that may fail.
    pub(crate) async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        ask(self.port, words).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn ask<T: FromRedisValue>(port: u16, words: &[&str]) -> Option<T> {
    let answer = async {
        let mut connection = crate::connect(("127.0.0.1", port)).await.ok()?;
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        cmd.query_async(&mut connection).await.ok()
    };
    timeout(PATIENCE, answer).await.ok().flatten()
}

/// A port that is free right now, and so is the one that a cluster node needs beside it.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1000 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let beside = port.checked_add(CLUSTER_BUS).map(|beside| TcpListener::bind(("127.0.0.1", beside)));
        if matches!(beside, Some(Ok(_))) {
            return port;
        }
    }
    panic!("no free port has another free one {CLUSTER_BUS} above it");
}
