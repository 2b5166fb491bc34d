//! The result of a run, to attach to an issue: no token, no session id, no content; ids of guilds only when asked for.

use serde::Serialize;
use serde_json::Value;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// Discord does what the fleet assumes.
    AsAssumed,
    /// Discord does something else.
    Differs,
    /// Nothing came by which to tell.
    NotObserved,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name, which never changes.
    pub check: &'static str,
    /// How it ended.
    pub result: CheckResult,
    /// What was seen, for people.
    pub found: String,
    /// What the fleet and discord-sim assume.
    pub assumed: &'static str,
    /// What was seen, for programs.
    pub detail: Value,
}

/// The IDENTIFYs of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Identifies {
    /// Sent.
    pub spent: u32,
    /// Left today before the run, as Discord says.
    pub left_before: Option<u32>,
    /// Left today after the run, as Discord says. The difference tells whether refused ones count.
    pub left_after: Option<u32>,
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeReport {
    /// The version of this program.
    pub version: &'static str,
    /// When the run began, in seconds since the Unix epoch.
    pub began_unix_s: u64,
    /// Whether the gateway was Discord's own, and not a stand-in.
    pub real_discord: bool,
    /// Number and total of the shard.
    pub shard: (u32, u32),
    /// Intents, as bits.
    pub intents: u64,
    /// Discord's `max_concurrency`.
    pub max_concurrency: u32,
    /// How many were spent.
    pub identifies: Identifies,
    /// The table.
    pub checks: Vec<Check>,
    /// Why the run ended early; `None` for a whole run.
    pub ended_early: Option<String>,
}
