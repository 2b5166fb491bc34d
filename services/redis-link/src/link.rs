//! Commands with a deadline over one shared connection, which is made again when it is lost.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs, Value, aio::PubSub};
use rustls::crypto::CryptoProvider;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    LinkError, LinkOptions, RedisUrl, Script, backoff,
    connect::{self, Connection},
};

/// A link to Redis. Clones share one connection, on which commands do not wait for each other.
///
/// Connects with the first command, and again when the connection is lost. While Redis is away a command waits out the
/// back-off (at most half a second), sees one try, and fails; never later than the deadline. A command is sent once: if the
/// connection breaks before the answer comes, it is not known whether Redis ran the command, and the error says so. (The
/// cluster client may send it again to another node.)
#[derive(Clone)]
pub struct RedisLink {
    shared: Arc<Shared>,
}

struct Shared {
    url: RedisUrl,
    options: LinkOptions,
    current: Mutex<Option<Current>>,
    /// Held by the task that connects.
    connecting: tokio::sync::Mutex<Failures>,
    /// Tries to connect that have ended.
    tries: AtomicU64,
}

#[derive(Clone)]
struct Current {
    /// Tells this connection from the one after it.
    number: u64,
    connection: Connection,
}

#[derive(Default)]
struct Failures {
    in_a_row: u32,
    not_before: Option<Instant>,
    last: Option<LinkError>,
}

impl RedisLink {
    /// Makes the link. Connects to nothing yet.
    pub fn new(url: RedisUrl, options: LinkOptions) -> Self {
        if url.uses_tls() && CryptoProvider::get_default().is_none() {
            // Without one rustls would panic. If another was installed just now, that is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let shared = Shared {
            url,
            options,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            tries: AtomicU64::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Where the link leads to.
    pub fn url(&self) -> &RedisUrl {
        &self.shared.url
    }

    /// How long a command may take.
    pub fn deadline(&self) -> Duration {
        self.shared.options.deadline
    }

    /// Sends a command.
    ///
    /// # Errors
    /// [`LinkError::Away`] at the deadline at the latest; the others when Redis answers, but not with a `T`.
    pub async fn command<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, LinkError> {
        self.send(cmd).await.and_then(parsed)
    }

    /// Runs a script. On a cluster all its keys have to be in one slot. Arguments are texts or bytes.
    ///
    /// # Errors
    /// As for [`command`](Self::command).
    pub async fn script<T: FromRedisValue, A: ToRedisArgs + Sync>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[A],
    ) -> Result<T, LinkError> {
        self.run(script, script.by_hash(keys, args)).await.and_then(parsed)
    }

    /// Boxed, as [`run`](Self::run) is, so that sending is compiled once, and not for each type of an answer in each crate.
    fn send<'a>(&'a self, cmd: &'a Cmd) -> BoxFuture<'a, Result<Value, LinkError>> {
        Box::pin(self.with_connection(async move |connection| connection.send(cmd).await))
    }

    /// Sends a script by its hash, and by its text if the server does not know it.
    fn run<'a>(&'a self, script: &'a Script, by_hash: Cmd) -> BoxFuture<'a, Result<Value, LinkError>> {
        Box::pin(self.with_connection(async move |connection| match connection.send(&by_hash).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.send(&script.by_text(&by_hash)).await
            }
            answer => answer,
        }))
    }

    /// A new connection for subscriptions alone: to the server, to the Sentinels' master, or to any node of a cluster. It
    /// belongs to the caller, who must connect again when it breaks.
    ///
    /// # Errors
    /// [`LinkError`] when there is no connection by the deadline.
    pub async fn pub_sub(&self) -> Result<PubSub, LinkError> {
        let deadline = self.deadline();
        timeout(deadline, Box::pin(connect::connect_pub_sub(&self.shared.url, &self.shared.options)))
            .await
            .unwrap_or_else(|_| Err(LinkError::late(deadline)))
    }

    pub(crate) async fn with_connection<T>(
        &self,
        send: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, LinkError> {
        let deadline = Instant::now() + self.deadline();
        let late = |_| LinkError::late(self.deadline());
        let mut current =
            tokio::time::timeout_at(deadline, self.shared.connection()).await.map_err(late).flatten()?;
        match tokio::time::timeout_at(deadline, send(&mut current.connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if connect::is_lost(&error) {
                    self.shared.drop_connection(current.number, &error.to_string());
                }
                Err(error.into())
            }
            Err(elapsed) => {
                self.shared.drop_connection(current.number, "no answer");
                Err(late(elapsed))
            }
        }
    }
}

/// Reads the answer as a `T`.
fn parsed<T: FromRedisValue>(answer: Value) -> Result<T, LinkError> {
    redis::from_redis_value(answer).map_err(|error| RedisError::from(error).into())
}

impl Shared {
    async fn connection(&self) -> Result<Current, LinkError> {
        let tries_before = self.tries.load(Ordering::Acquire);
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut failures = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let tries = self.tries.load(Ordering::Acquire);
        if let Some(error) = failures.last.as_ref().filter(|_| tries != tries_before) {
            return Err(error.clone());
        }
        if let Some(not_before) = failures.not_before {
            sleep_until(not_before).await;
        }
        let limit = self.options.connect_timeout;
        // Boxed: a rare and big future inside each command's small one.
        let connected =
            timeout(limit, Box::pin(connect::connect(&self.url, &self.options))).await.unwrap_or_else(|_| {
                Err(LinkError::Away(format!("no connection within {} ms", limit.as_millis())))
            });
        let number = self.tries.fetch_add(1, Ordering::AcqRel) + 1;
        match connected {
            Ok(connection) => {
                *failures = Failures::default();
                let current = Current { number, connection };
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(current.clone());
                tracing::debug!(redis = %self.url, "connected to redis");
                Ok(current)
            }
            Err(error) => {
                let in_a_row = failures.in_a_row.saturating_add(1);
                let not_before = Some(Instant::now() + backoff::wait_after(in_a_row));
                *failures = Failures { in_a_row, not_before, last: Some(error.clone()) };
                Err(error)
            }
        }
    }

    fn current(&self) -> Option<Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets a connection that broke, unless it was replaced already.
    fn drop_connection(&self, number: u64, why: &str) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.number == number) {
            *current = None;
            tracing::debug!(redis = %self.url, why, "lost the connection to redis");
        }
    }
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLink").field("url", &self.shared.url).finish_non_exhaustive()
    }
}
