//! What can be made to happen while the simulator runs.

use crate::{
    Dispatched, Snowflake,
    odd::{Patch, RestAnswer, Script},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something to make happen. In JSON an object whose `kind` is the variant's name in snake_case.
///
/// `shards` are shard numbers; `None`, or left out, means every connection that has identified or resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Sends op 7; a connection that is still open after [`Switches::reconnect_grace`](crate::Switches) is closed.
    Reconnect {
        /// Whose.
        shards: Option<Vec<u32>>,
    },
    /// Sends op 9. When not resumable the session ends, also where a frozen connection is not told.
    InvalidSession {
        /// Whose.
        shards: Option<Vec<u32>>,
        /// The value of `d`.
        resumable: bool,
    },
    /// Closes with a code; the session can be resumed.
    Close {
        /// Whose.
        shards: Option<Vec<u32>>,
        /// The close code, 1000 to 4999.
        code: u16,
        /// The close reason.
        #[serde(default)]
        reason: String,
    },
    /// Resets TCP connections without a close frame; the sessions can be resumed.
    Abort {
        /// Whose.
        shards: Option<Vec<u32>>,
    },
    /// Stops or starts sending anything, ACKs included, on connections that are open now.
    Freeze {
        /// Whose.
        shards: Option<Vec<u32>>,
        /// Stop or start.
        on: bool,
    },
    /// Sends op 1: the client shall send a heartbeat at once.
    RequestHeartbeat {
        /// Whose.
        shards: Option<Vec<u32>>,
    },
    /// Answers every RESUME with op 9 `false`, which ends its session.
    DenyResumes {
        /// On or off.
        on: bool,
    },
    /// Accepts the next WebSocket connections and resets them before HELLO.
    AcceptThenClose {
        /// How many; 0 ends it.
        connections: u32,
    },
    /// Starts (GUILD_DELETE with `unavailable`) or ends (GUILD_CREATE) a guild's outage.
    GuildOutage {
        /// Which guild.
        guild_id: Snowflake,
        /// Start or end.
        on: bool,
    },
    /// Removes the bot from a guild.
    GuildLeave {
        /// Which guild.
        guild_id: Snowflake,
    },
    /// Lets the bot join a guild.
    GuildJoin {
        /// One that it left; `None` takes one that it was never in.
        guild_id: Option<Snowflake>,
    },
    /// Lets somebody write a message in a guild.
    Message {
        /// Which guild.
        guild_id: Snowflake,
        /// The text; `None` names the message's serial.
        content: Option<String>,
    },
    /// Somebody joins, changes or leaves a voice channel.
    Voice {
        /// In which guild.
        guild_id: Snowflake,
        /// Which member.
        user_id: Snowflake,
        /// A voice channel of the guild that the bot can see; `None` is to leave.
        channel_id: Option<Snowflake>,
    },
    /// Sends any dispatch event, to those sessions that its name's intents let it through to.
    Event {
        /// The name in `t`, such as `GUILD_BAN_ADD`.
        name: String,
        /// The guild whose shard gets it; without one it goes to shard 0.
        guild_id: Option<Snowflake>,
        /// The body. Nothing checks it.
        d: Value,
        /// Shards that get the event instead of the guild's.
        #[serde(default)]
        shards: Option<Vec<u32>>,
    },
    /// Sets how many messages a second are written over all guilds.
    EventRate {
        /// 0 to 1,000,000.
        per_second: f64,
    },
    /// Refuses every token: 4004 for IDENTIFY and RESUME, 401 for REST. Open sessions stay.
    RejectToken {
        /// On or off.
        on: bool,
    },
    /// Answers every REST call with 503.
    RestDown {
        /// On or off.
        on: bool,
    },
    /// Lets every REST answer come later; its call has had its effect by then.
    RestDelay {
        /// By so many milliseconds; 0 ends it.
        ms: u64,
    },
    /// Answers the next REST calls with 429. First answers to interactions, `/gateway` and unknown paths are left alone, and
    /// follow-ups for the scope `global`.
    RateLimit {
        /// How many; 0 ends it.
        count: u32,
        /// What X-RateLimit-Scope says.
        scope: LimitScope,
        /// Seconds to wait, at most a day.
        retry_after: f64,
    },
    /// Lets somebody use a command, a component or a modal: INTERACTION_CREATE.
    Interaction(NewInteraction),
    /// Acts on gateway connections at a given moment.
    Script(Script),
    /// Changes events before they are sent.
    Patch(Patch),
    /// Replaces or changes REST answers.
    RestAnswer(RestAnswer),
    /// Applies a named oddity.
    Preset(NewPreset),
    /// Ends oddities.
    ClearOddities {
        /// Oddities with this name, such as a preset's; all without a name.
        #[serde(default)]
        name: Option<String>,
    },
    /// Changes the answer of `/gateway/bot` and the limits on IDENTIFY. Fields left out stay.
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
    /// Its name; `GET /sim/presets` lists them.
    pub name: String,
    /// Only these shards, if the preset uses shards.
    pub shards: Option<Vec<u32>>,
    /// The guild, if the preset uses one; by default the first.
    pub guild_id: Option<Snowflake>,
    /// How often it applies; by default until cleared.
    pub times: Option<u32>,
}

/// Whom a 429 is about. [Source](https://docs.discord.com/developers/topics/rate-limits#header-format).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// The bot, on this route.
    User,
    /// The bot, on all routes.
    Global,
    /// Everybody who uses the resource; it does not count as an invalid request.
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

/// What somebody does that the bot must answer. One of `command`, `component` and `modal` says what; the rest may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewInteraction {
    /// In which guild; without it in some guild that the bot is in.
    pub guild_id: Option<Snowflake>,
    /// In which channel; without it in the guild's first text channel.
    pub channel_id: Option<Snowflake>,
    /// Who; without it some member.
    pub user_id: Option<Snowflake>,
    /// In the direct channel with the user.
    pub dm: bool,
    /// Calls this command. It has the registered command's id and type when there is one of the name.
    pub command: Option<String>,
    /// The command's options, each `{"name": ..., "value": ...}`. A missing `type` is taken from the registered command, or
    /// from the value.
    pub options: Vec<Value>,
    /// The command is not called yet: its last option, or the one with `focused`, is being typed.
    pub autocomplete: bool,
    /// Uses the component with this `custom_id` of the bot's message `message_id`.
    pub component: Option<String>,
    /// The message of a component or of a message command.
    pub message_id: Option<Snowflake>,
    /// What was selected; without it the component is a button.
    pub values: Vec<String>,
    /// Sends the modal with this `custom_id`.
    pub modal: Option<String>,
    /// The modal's `components`, with what was typed.
    pub components: Vec<Value>,
}

impl Fault {
    /// Whether it begins something that another one ends.
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

/// What a fault did at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FaultOutcome {
    /// How many connections were told.
    pub connections: usize,
    /// The guild that it was about.
    pub guild_id: Option<Snowflake>,
    /// The message's number: its nonce is `sim-SERIAL`.
    pub serial: Option<u64>,
    /// The interaction that it began.
    pub interaction_id: Option<Snowflake>,
    /// The sessions that get an event of it, and as which sequence.
    pub dispatched: Vec<Dispatched>,
}

/// A fault that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultRecord {
    /// When.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
    /// By the schedule, not by the control API.
    pub scheduled: bool,
    /// How many connections were told.
    pub connections: usize,
    /// Why it could not be.
    pub error: Option<String>,
}

/// Faults that stay on until switched off.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) deny_resumes: bool,
    pub(crate) accept_then_close: u32,
    pub(crate) reject_token: bool,
    pub(crate) rest_down: bool,
    /// Sessions left that get a GUILD_CREATE before READY.
    pub(crate) guild_before_ready: u32,
}
