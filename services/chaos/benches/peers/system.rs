//! What the benchmark needs of a system that runs a bot's shards.

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use crate::verdict::{Question, Said};

/// The privileged intents are on in the simulator.
pub(crate) const INTENTS: &str = "GUILDS,GUILD_MEMBERS,GUILD_MESSAGES,GUILD_VOICE_STATES";

/// The simulator accepts any token.
pub(crate) const TOKEN: &str = "a-token-of-the-tests";

/// How long a question may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What is the same for all systems.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: u32,
    pub(crate) guilds: u32,
    pub(crate) identify_interval: Duration,
    /// Where bots write what they handle, and programs their logs.
    pub(crate) folder: PathBuf,
}

/// An answer, and how long the caller waited for it.
pub(crate) struct Asked {
    pub(crate) said: Said,
    pub(crate) took: Duration,
}

/// Asks a system; cheap to clone, and usable while the system is changed.
pub(crate) type Asker = Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Asked> + Send>> + Send + Sync>;

/// A process that runs shards.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) pid: u32,
    pub(crate) shards: Vec<u32>,
}

/// A system that is prepared: what must run before shards runs. All of them are ended when it is dropped.
pub(crate) trait System {
    /// Starts all shards; returns when they have been told to start, or later.
    async fn start(&mut self) -> Result<(), String>;

    /// Waits until the system itself says that all shards are ready with their guilds.
    async fn until_ready(&mut self);

    /// Returns the processes that run no shards: managers, the coordinator, Redis.
    fn others(&self) -> Vec<u32>;

    /// Returns the processes that run shards.
    async fn parts(&mut self) -> Result<Vec<Part>, String>;

    fn asker(&self) -> Asker;

    /// Sends SIGKILL to a process that runs shards, and restarts it at once if the system leaves that to a supervisor.
    async fn kill(&mut self, part: &Part) -> Result<(), String>;

    /// Restarts everything that runs shards and bot code, as the system's documentation recommends.
    async fn deploy(&mut self) -> Result<(), String>;
}
