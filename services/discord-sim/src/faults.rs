//! Faults: what tests can inject while the simulator runs.

use crate::{
    Dispatched, Snowflake,
    odd::{Patch, RestAnswer, Script},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fault to inject. In JSON an object whose `kind` is the variant's name in snake_case.
///
/// `shards` are shard numbers; `None`, or a missing field, means every connection that has identified or resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Sends op 7; a connection that is still open after [`Switches::reconnect_grace`](crate::Switches) is closed.
    Reconnect {
        /// Target shards.
        shards: Option<Vec<u32>>,
    },
    /// Sends op 9. Unless resumable, the session ends, even if a frozen connection does not get op 9.
    InvalidSession {
        /// Target shards.
        shards: Option<Vec<u32>>,
        /// The value of `d`.
        resumable: bool,
    },
    /// Closes connections with a code; the sessions can be resumed.
    Close {
        /// Target shards.
        shards: Option<Vec<u32>>,
        /// The close code, 1000 to 4999.
        code: u16,
        /// The close reason.
        #[serde(default)]
        reason: String,
    },
    /// Resets TCP connections without a close frame; the sessions can be resumed.
    Abort {
        /// Target shards.
        shards: Option<Vec<u32>>,
    },
    /// Stops or resumes sending, including ACKs, on connections that are open now.
    Freeze {
        /// Target shards.
        shards: Option<Vec<u32>>,
        /// Whether to stop sending.
        on: bool,
    },
    /// Sends op 1: the client must send a heartbeat at once.
    RequestHeartbeat {
        /// Target shards.
        shards: Option<Vec<u32>>,
    },
    /// Answers every RESUME with op 9 `false`, which ends the session.
    DenyResumes {
        /// On or off.
        on: bool,
    },
    /// Accepts the next WebSocket connections and resets them before HELLO.
    AcceptThenClose {
        /// Number of connections; 0 turns it off.
        connections: u32,
    },
    /// Starts (GUILD_DELETE with `unavailable`) or ends (GUILD_CREATE) a guild's outage.
    GuildOutage {
        /// The guild.
        guild_id: Snowflake,
        /// Whether to start the outage.
        on: bool,
    },
    /// Removes the bot from a guild.
    GuildLeave {
        /// The guild.
        guild_id: Snowflake,
    },
    /// Makes the bot join a guild.
    GuildJoin {
        /// A guild that it left; `None` is one that it was never in.
        guild_id: Option<Snowflake>,
    },
    /// Writes a person's message in a guild.
    Message {
        /// The guild.
        guild_id: Snowflake,
        /// The text; `None` is a text with the message's serial.
        content: Option<String>,
    },
    /// Moves a member into, between or out of voice channels.
    Voice {
        /// The guild.
        guild_id: Snowflake,
        /// The member.
        user_id: Snowflake,
        /// A voice channel of the guild that the bot can see; `None` leaves.
        channel_id: Option<Snowflake>,
    },
    /// Sends any dispatch event to the sessions whose intents allow it.
    Event {
        /// The name in `t`, such as `GUILD_BAN_ADD`.
        name: String,
        /// The guild whose shard gets it; without one, shard 0.
        guild_id: Option<Snowflake>,
        /// The body, unchecked.
        d: Value,
        /// Shards that get the event instead of the guild's.
        #[serde(default)]
        shards: Option<Vec<u32>>,
    },
    /// Sets the message rate over all guilds.
    EventRate {
        /// Messages per second, from 0 to 1,000,000.
        per_second: f64,
    },
    /// Rejects every token: 4004 for IDENTIFY and RESUME, 401 for REST. Open sessions stay.
    RejectToken {
        /// On or off.
        on: bool,
    },
    /// Answers every REST call with 503.
    RestDown {
        /// On or off.
        on: bool,
    },
    /// Delays every REST answer; the call takes effect before the delay.
    RestDelay {
        /// Delay in milliseconds; 0 turns it off.
        ms: u64,
    },
    /// Answers the next REST calls with 429. First answers to interactions, `/gateway` and unknown paths are exempt, and with scope
    /// `global` follow-ups too.
    RateLimit {
        /// Number of calls; 0 turns it off.
        count: u32,
        /// Value of X-RateLimit-Scope.
        scope: LimitScope,
        /// Seconds to wait, at most a day.
        retry_after: f64,
    },
    /// Starts an interaction: a person uses a command, a component or a modal.
    Interaction(NewInteraction),
    /// Runs actions on gateway connections at a given moment.
    Script(Script),
    /// Changes events before they are sent.
    Patch(Patch),
    /// Replaces or changes REST answers.
    RestAnswer(RestAnswer),
    /// Applies a named oddity.
    Preset(NewPreset),
    /// Clears oddities.
    ClearOddities {
        /// Only oddities with this name, such as a preset's; all without a name.
        #[serde(default)]
        name: Option<String>,
    },
    /// Changes the answer of `/gateway/bot` and the limits on IDENTIFY. Missing fields stay unchanged.
    SessionLimit {
        /// Identify buckets.
        #[serde(default)]
        max_concurrency: Option<u16>,
        /// IDENTIFYs left today.
        #[serde(default)]
        remaining: Option<u32>,
        /// The recommended shard total.
        #[serde(default)]
        shards: Option<u32>,
    },
    /// Sends a guild's GUILD_CREATE before READY in the next sessions.
    GuildBeforeReady {
        /// Number of sessions; 0 stops it.
        sessions: u32,
    },
}

/// A named oddity and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewPreset {
    /// Name; `GET /sim/presets` lists them.
    pub name: String,
    /// Only these shards, if the preset applies to shards.
    pub shards: Option<Vec<u32>>,
    /// The guild, if the preset applies to one; by default the first.
    pub guild_id: Option<Snowflake>,
    /// Number of applications; by default unlimited until cleared.
    pub times: Option<u32>,
}

/// The scope of a 429. [Source](https://docs.discord.com/developers/topics/rate-limits#header-format).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// The bot, on this route.
    User,
    /// The bot, on all routes.
    Global,
    /// All users of the resource; it does not count as an invalid request.
    Shared,
}

impl LimitScope {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Global => "global",
            Self::Shared => "shared",
        }
    }
}

/// An interaction to start. It needs exactly one of `command`, `component` and `modal`; other fields are optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewInteraction {
    /// The guild; by default any available one.
    pub guild_id: Option<Snowflake>,
    /// The channel; by default the guild's first text channel.
    pub channel_id: Option<Snowflake>,
    /// The user; by default any member.
    pub user_id: Option<Snowflake>,
    /// Whether it happens in the direct channel with the user.
    pub dm: bool,
    /// The command's name. A registered command with this name supplies id and type.
    pub command: Option<String>,
    /// The command's options, each `{"name": ..., "value": ...}`. A missing `type` comes from the registered command or the value.
    pub options: Vec<Value>,
    /// Whether the command is still being typed: in its last option, or the one with `focused`.
    pub autocomplete: bool,
    /// `custom_id` of a component of the bot's message `message_id`.
    pub component: Option<String>,
    /// The message of a component or of a message command.
    pub message_id: Option<Snowflake>,
    /// Selected values; without them the component is a button.
    pub values: Vec<String>,
    /// `custom_id` of a submitted modal.
    pub modal: Option<String>,
    /// The modal's `components` with the typed text.
    pub components: Vec<Value>,
}

impl Fault {
    /// Returns whether it starts something that another fault ends.
    pub(crate) const fn begins(&self) -> bool {
        matches!(
            self,
            Self::Freeze { on: true, .. }
                | Self::GuildOutage { on: true, .. }
                | Self::RestDown { on: true }
                | Self::Preset(_)
        )
    }
}

/// The immediate effect of a fault.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FaultOutcome {
    /// Number of affected connections.
    pub connections: usize,
    /// The affected guild.
    pub guild_id: Option<Snowflake>,
    /// The message's serial; its nonce is `sim-SERIAL`.
    pub serial: Option<u64>,
    /// The interaction that it started.
    pub interaction_id: Option<Snowflake>,
    /// The sessions that get its events, with the sequences.
    pub dispatched: Vec<Dispatched>,
}

/// An injected fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Time of the injection.
    pub at_ms: u64,
    /// The fault.
    pub fault: Fault,
    /// Whether the schedule injected it, not the control API.
    pub scheduled: bool,
    /// Number of affected connections.
    pub connections: usize,
    /// Why it failed.
    pub error: Option<String>,
}

/// Faults that stay on until they are turned off.
#[derive(Debug, Default)]
pub(crate) struct ActiveFaults {
    pub(crate) deny_resumes: bool,
    pub(crate) accept_then_close: u32,
    pub(crate) reject_token: bool,
    pub(crate) rest_down: bool,
    /// Remaining sessions that get a GUILD_CREATE before READY.
    pub(crate) guild_before_ready: u32,
}
