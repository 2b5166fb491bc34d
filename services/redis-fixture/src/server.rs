//! One server.

use redis::FromRedisValue;
use rustix::process::Signal;

use crate::process::Process;

/// One `redis-server` that keeps nothing on disk. Killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
}

impl RedisServer {
    /// Starts a server on a free loopback port and waits until it answers.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub async fn start() -> Self {
        Self { process: Process::start(&[], |_| {}).await }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The port on which it answers.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Kills it: SIGKILL, no goodbye.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, empty, and waits until it answers. Kills it first when it still runs.
    pub async fn restart(&mut self) {
        self.process.restart().await;
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Sends a command over a connection of its own.
    ///
    /// # Panics
    /// When the server does not answer, or not with a `T`.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.process.command(words).await
    }
}
