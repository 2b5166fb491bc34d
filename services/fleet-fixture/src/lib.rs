//! Whole deployments for tests: our programs as real [processes](Process), Redis, discord-sim, and a [network](Proxy) that can
//! be cut.
//!
//! For tests alone: every failure here is a panic that says what is needed. It starts programs that are built already and
//! never builds one; every process listens on the loopback and ends when its handle is dropped. What a test wants to know it
//! asks the processes themselves, as an operator would: by gRPC, HTTP, signals and their logs.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod credentials;
mod deployment;
pub mod http;
mod process;
mod proxy;

pub use credentials::{CredentialsFolder, open_credentials};
pub use deployment::{
    Coordinator, DEADLINE, DEMANDED_INTERVAL, Deployment, IDENTIFY_INTERVAL, LEASE_TTL, Worker, all_ready,
    channel, humantime, is_ready, shares, sim_config,
};
pub use process::{Memory, Process, binary, command, cpu_time_with_children, signal};
pub use proxy::{Proxy, Traffic};
pub use rustix::process::Signal;

use std::time::Duration;

/// How long anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Asks again, each 20 ms, until the answer is there.
///
/// # Panics
/// After [`PATIENCE`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
