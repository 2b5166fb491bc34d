//! The whole platform: real processes, real Redis, real sockets, and discord-sim, which notes every broken rule.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test panics on what it did not expect")]

mod command_line;
mod deployment;
mod dev_mode;
mod faults;
mod http;
mod process;
mod proxy;
mod settings;
mod tour;
mod traces;

use std::time::Duration;

/// How long anything may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks again until the answer is there.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
