//! The Redis that the supervisor started: a task that restarts it when it ends.

use std::{path::Path, time::Instant};

use backoff::{Backoff, Policy};
use process::settings::Secret;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{LONGEST_WAIT, STEADY, Supervisor};
use crate::redis_server::{KnownServer, RedisServer, RedisServerError};

/// Waits before a restart.
const AGAIN: Policy =
    Policy { first: std::time::Duration::from_millis(200), longest: LONGEST_WAIT, steady: STEADY, free: 1 };

/// The running server.
pub(super) struct OwnRedis {
    pub(super) url: Secret,
    pub(super) port: u16,
    pub(super) pid: i32,
    news: mpsc::Receiver<i32>,
    stop: oneshot::Sender<oneshot::Sender<Result<(), RedisServerError>>>,
}

impl OwnRedis {
    /// Starts or adopts the server of the folder, and watches it.
    pub(super) async fn start(folder: &Path) -> Result<Self, RedisServerError> {
        let server = RedisServer::start_or_adopt(folder).await?;
        let (url, port, pid) = (server.url().clone(), server.port(), server.pid());
        Ok(Self::watched(url, port, pid, Server::Started(Box::new(server))))
    }

    /// Watches the server that the fleet of an earlier image knows. It may be away for a while, as after any other end of it: a fleet that
    /// runs does not end for that.
    pub(super) async fn take_over(folder: &Path) -> Result<Self, RedisServerError> {
        match KnownServer::find(folder)? {
            Some(known) => Ok(Self::watched(known.url(), known.port(), 0, Server::Known(known))),
            None => Self::start(folder).await,
        }
    }

    fn watched(url: Secret, port: u16, pid: i32, server: Server) -> Self {
        let (told, news) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(watch(server, told, stopped));
        Self { url, port, pid, news, stop }
    }

    /// Stops the server.
    pub(super) async fn stop(self) -> Result<(), RedisServerError> {
        let (answer, answered) = oneshot::channel();
        // The task ends only by this request.
        if self.stop.send(answer).is_err() {
            return Ok(());
        }
        answered.await.unwrap_or(Ok(()))
    }
}

/// The server of the fleet.
enum Server {
    Started(Box<RedisServer>),
    /// An earlier image has started it.
    Known(KnownServer),
}

impl Server {
    /// Starts it again, or adopts the one of an earlier image. Returns its pid.
    async fn start(&mut self) -> Result<i32, RedisServerError> {
        let server = match self {
            Self::Started(server) => {
                server.restart().await?;
                tracing::info!(
                    redis.port = server.port(),
                    process.pid = server.pid(),
                    "redis-server runs again"
                );
                return Ok(server.pid());
            }
            Self::Known(known) => known.adopt_or_start().await?,
        };
        let pid = server.pid();
        *self = Self::Started(Box::new(server));
        Ok(pid)
    }

    async fn stop(&mut self) -> Result<(), RedisServerError> {
        match self {
            Self::Started(server) => server.stop().await,
            Self::Known(known) => match known.adopt().await? {
                Some(mut server) => server.stop().await,
                None => Ok(()),
            },
        }
    }
}

/// Restarts the server whenever it ends, until it is to stop. `told` gets its new pid.
async fn watch(
    mut server: Server,
    told: mpsc::Sender<i32>,
    mut stop: oneshot::Receiver<oneshot::Sender<Result<(), RedisServerError>>>,
) {
    let mut backoff = Backoff::new(AGAIN);
    let mut running = matches!(server, Server::Started(_));
    backoff.succeeded(Instant::now());
    loop {
        let wait = backoff.wait(0.75);
        let step = async {
            match &mut server {
                Server::Started(server) if running => {
                    let exit = server.wait_exit().await;
                    tracing::error!(%exit, "redis-server ended; it is restarted");
                    None
                }
                server => {
                    sleep(wait).await;
                    let started = server.start().await;
                    started.inspect_err(|error| tracing::error!(%error, "redis-server not restarted")).ok()
                }
            }
        };
        let started = tokio::select! {
            answer = &mut stop => {
                let Ok(answer) = answer else { return };
                // The receiver may have given up.
                let _ = answer.send(server.stop().await);
                return;
            }
            started = step => started,
        };
        running = started.is_some();
        let now = Instant::now();
        match started {
            Some(pid) => {
                backoff.succeeded(now);
                // Only the newest pid matters.
                let _ = told.try_send(pid);
            }
            None => backoff.failed(now),
        }
    }
}

/// Waits until the server has another pid. Never without a server.
pub(super) async fn changed(redis: &mut Option<OwnRedis>) {
    match redis {
        Some(redis) => match redis.news.recv().await {
            Some(pid) => redis.pid = pid,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Supervisor<'_> {
    /// The server runs again.
    pub(super) fn take_redis_news(&mut self) {
        if let Some(redis) = &self.redis {
            tracing::debug!(process.pid = redis.pid, "redis-server noted");
        }
    }
}
