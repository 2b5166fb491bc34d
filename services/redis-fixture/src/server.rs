//! One server.

use redis::FromRedisValue;
use rustix::process::Signal;

use crate::{
    RedisUser,
    process::{Process, free_port},
    users,
};

/// One `redis-server` that keeps nothing on disk. Killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    tls_port: Option<u16>,
}

impl RedisServer {
    /// Starts a server on a free loopback port and waits until it answers.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub async fn start() -> Self {
        Self { process: Process::start(&[], |_| {}).await, tls_port: None }
    }

    /// Starts a server with the users of `deploy/redis/users.acl`.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub async fn start_with_users() -> Self {
        let args = ["--aclfile", "users.acl"].map(str::to_owned);
        let process = Process::start(&args, |directory| {
            std::fs::write(directory.join("users.acl"), users::file())
                .expect("the temporary directory can be written");
        });
        Self { process: process.await, tls_port: None }
    }

    /// Starts a server that also answers over TLS, at [`tls_port`](Self::tls_port): with this certificate and key, in PEM. Clients need
    /// no certificate.
    ///
    /// # Panics
    /// When `redis-server` is not installed, or is built without TLS.
    pub async fn start_with_tls(certificate: &str, key: &str) -> Self {
        let mut args = Vec::new();
        let tls_port = free_port();
        args.extend(["--tls-port".to_owned(), tls_port.to_string()]);
        args.extend(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"].map(str::to_owned));
        args.extend(["--tls-auth-clients", "no"].map(str::to_owned));
        let process = Process::start(&args, |directory| {
            for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
                std::fs::write(directory.join(name), text).expect("the temporary directory can be written");
            }
        });
        Self { process: process.await, tls_port: Some(tls_port) }
    }

    /// The port on which it answers over TLS.
    ///
    /// # Panics
    /// When it was started without TLS.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("it was started with TLS")
    }

    /// Where it answers, for a user of [`start_with_users`](Self::start_with_users).
    pub fn url_as(&self, user: RedisUser) -> String {
        format!("redis://{}@127.0.0.1:{}", user.login(), self.port())
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The port on which it answers.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The id of its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
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
