//! The gateway for unmodified Discord libraries over real processes: which guilds and events a client gets, and that it resumes at
//! another worker.

mod client;
mod commands;
mod fleet;
mod guilds;
mod judges;
mod losses;
mod members;
mod refused;
mod resume;
mod slow;

use self::client::Client;

/// A client with any token gets `guilds` guilds there.
pub(crate) async fn assert_serves(url: &str, guilds: usize) {
    let mut client = Client::identify(url, (0, 1), 1).await;
    client.until_ready().await;
    assert_eq!(client.guilds.len(), guilds);
}
