//! Deadlines of a link.

use std::time::Duration;

/// Deadlines of a link's commands and connections.
#[derive(Clone, Copy, Debug)]
pub struct LinkOptions {
    /// For a command, including the time to connect. Default 2 s.
    pub deadline: Duration,
    /// For one attempt to connect. Default 1.5 s.
    pub connect_timeout: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(2), connect_timeout: Duration::from_millis(1500) }
    }
}
