//! Real `redis-server` processes for tests: one server, a cluster, a Sentinel set-up.
//!
//! For tests alone: every failure here is a panic that says what is needed. Nothing is kept on disk, every process
//! listens on the loopback and ends when its handle is dropped.

mod cluster;
mod contract;
mod process;
mod sentinel;
mod server;
mod users;

pub use cluster::RedisCluster;
pub use redis::Value;
pub use sentinel::RedisSentinel;
pub use server::RedisServer;
pub use users::RedisUser;

use std::{future::Future, time::Duration};

use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisResult, aio::MultiplexedConnection};
use tokio::time::{Instant, sleep};

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects with time limits that suit a busy machine: the library's own are half a second for an answer and one for a connection.
///
/// # Errors
/// As [`Client::get_multiplexed_async_connection`].
pub async fn connect(to: impl IntoConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(PATIENCE))
        .set_connection_timeout(Some(PATIENCE));
    Client::open(to)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Asks again until the answer is there.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
