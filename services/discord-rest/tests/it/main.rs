//! The budget over every keeper there is, and the proxy over real sockets, against an in-process server that does as a test says,
//! discord-sim, and discord.js's own REST client.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod bench;
mod contract;
mod discord;
mod judge;
mod limits;
mod odd_answers;
mod passing;
mod redis_faults;
mod refused;
mod rules;
mod shares;
mod sim;

use std::time::Duration;

/// How long anything may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until it is so.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "gave up waiting: {what}");
}
