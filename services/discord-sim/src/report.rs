//! Reports: plain records that are the bodies of control API answers.
//!
//! Times are milliseconds since the simulator started.

mod rest;

pub use rest::{
    CallerReport, CommandReport, InteractionReport, InteractionState, MessageReport, RequestCount,
    RequestsReport,
};

use crate::{Shard, Snowflake};
use serde::{Deserialize, Serialize};

/// A range of sequences sent to one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The connection.
    pub connection: u64,
    /// First sequence.
    pub from: u64,
    /// Last sequence.
    pub to: u64,
    /// Whether they were a replay after RESUME.
    pub replayed: bool,
}

/// A session, open or ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionReport {
    /// Session id from READY.
    pub session_id: String,
    /// Shard from IDENTIFY.
    pub shard: Shard,
    /// Intents from IDENTIFY.
    pub intents: u64,
    /// Time of its IDENTIFY.
    pub opened_at_ms: u64,
    /// Time when it ended; `None` while it can be used or resumed.
    pub ended_at_ms: Option<u64>,
    /// Why it ended.
    pub ended_why: Option<String>,
    /// The connection that gets its events.
    pub connection: Option<u64>,
    /// Sequence of the last event.
    pub sequence: u64,
    /// Last sequence handed to the current or last connection.
    pub sent: u64,
    /// Highest sequence in a heartbeat or RESUME.
    pub acknowledged: u64,
    /// The bot's presence: `since`, `activities`, `status`, `afk`; null if the client never set it.
    pub presence: serde_json::Value,
    /// First sequence that can still be replayed.
    pub kept_from: u64,
    /// Guilds of READY without a GUILD_CREATE or GUILD_DELETE so far.
    pub guilds_to_come: usize,
    /// Number of RESUMEs.
    pub resumes: u32,
    /// Sequences of RESUMED, which carry no data that could be lost.
    pub resumed_at: Vec<u64>,
    /// Sequences written to sockets, in order; the last 1,024 ranges.
    pub deliveries: Vec<Delivery>,
    /// Number of older ranges no longer listed.
    pub deliveries_dropped: u64,
}

/// The ledger: the events sent to each session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerReport {
    /// Start of the simulator, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Current time.
    pub now_ms: u64,
    /// Messages written so far, dispatched or not: the highest `sim-N` nonce.
    pub messages: u64,
    /// Messages dispatched to at least one session: a bot that lost nothing has seen this many nonces.
    pub messages_dispatched: u64,
    /// Open sessions and the last 4,096 ended ones.
    pub sessions: Vec<SessionReport>,
    /// Number of ended sessions no longer listed.
    pub sessions_dropped: u64,
}

/// A sequence of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceReport {
    /// The session.
    pub session_id: String,
    /// The session's shard.
    pub shard: Shard,
    /// The sequence.
    pub sequence: u64,
    /// Name of the event, while it can be replayed.
    pub event: Option<String>,
    /// Connections that it was written to, in order.
    pub sent: Vec<SentTo>,
    /// Whether a heartbeat or RESUME had this sequence or a later one.
    pub acknowledged: bool,
}

/// A delivery of an event to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTo {
    /// The connection.
    pub connection: u64,
    /// Whether it was a replay after RESUME.
    pub replayed: bool,
}

/// A preset for the fault `preset`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PresetReport {
    /// Name of the preset.
    pub name: String,
    /// The effect on a bot.
    pub what: String,
    /// The public report; null if operators reported it.
    pub source: Option<String>,
}

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// Two IDENTIFYs of one bucket within the interval (op 9).
    IdentifyConcurrency,
    /// More IDENTIFYs than the daily budget (token reset).
    IdentifyBudget,
    /// A second IDENTIFY or RESUME on one connection (4005).
    AlreadyAuthenticated,
    /// A request before IDENTIFY or RESUME (4003).
    NotAuthenticated,
    /// A wrong token (4004).
    BadToken,
    /// An invalid shard (4010).
    InvalidShard,
    /// Too many guilds on the shard (4011).
    ShardingRequired,
    /// Another gateway version or encoding (4012).
    InvalidVersion,
    /// Unknown intents (4013).
    InvalidIntents,
    /// Privileged intents that the application has not enabled (4014).
    DisallowedIntents,
    /// An unknown opcode (4001).
    UnknownOpcode,
    /// A payload that is malformed or longer than 4,096 bytes (4002).
    DecodeError,
    /// RESUME with a sequence beyond the session (4007).
    InvalidSequence,
    /// More than 120 sends in 60 s (4008).
    RateLimited,
    /// More than 5 presence updates in 20 s (ignored).
    PresenceLimit,
    /// A request that Discord does not answer: another shard's guild, or a missing intent.
    UnansweredRequest,
    /// A client that kept a connection without ACKs (no answer: the connection is frozen).
    ZombieKept,
    /// No heartbeat for twice the interval.
    MissedHeartbeat,
    /// A REST call without a valid token (401).
    RestUnauthorized,
    /// More REST calls than a limit allows (429). Injected 429s do not count.
    RestRateLimited,
    /// Too many REST calls with 401, 403 and 429: the address is banned.
    RestBanned,
    /// An answer after the interaction's deadline (404), or a follow-up after the token's end (401).
    InteractionLate,
    /// A second first answer to an interaction (400).
    InteractionAnsweredTwice,
}

/// A broken rule with its circumstances.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// Time of the violation.
    pub at_ms: u64,
    /// The rule.
    pub kind: ViolationKind,
    /// The shard, if known.
    pub shard: Option<Shard>,
    /// The gateway connection; 0 for a REST call.
    pub connection: u64,
    /// What the client did.
    pub detail: String,
}

/// An IDENTIFY.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdentifyRecord {
    /// Arrival time.
    pub at_ms: u64,
    /// The shard.
    pub shard: Shard,
    /// The connection.
    pub connection: u64,
    /// The session that it opened.
    pub session_id: Option<String>,
    /// Why it was rejected.
    pub refused: Option<String>,
}

/// A gateway request of an identified client (ops 3, 4, 8, 31 and 43).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AskedRecord {
    /// Arrival time.
    pub at_ms: u64,
    /// The session's shard.
    pub shard: Shard,
    /// The connection.
    pub connection: u64,
    /// Opcode of the request.
    pub op: u64,
    /// The guild, if the request has one.
    pub guild_id: Option<Snowflake>,
    /// Nonce of the request (op 8).
    pub nonce: Option<String>,
}

/// A bounded list: the newest 10,000.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed<T> {
    /// Oldest first.
    pub items: Vec<T>,
    /// Number of older records no longer listed.
    pub dropped: u64,
}

/// An open connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// Number of the connection.
    pub connection: u64,
    /// Time when it was opened.
    pub opened_at_ms: u64,
    /// The shard, after IDENTIFY or RESUME.
    pub shard: Option<Shard>,
}

/// The connections of one shard over time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShardReport {
    /// The shard.
    pub shard: Shard,
    /// Connections that are open now.
    pub open: u32,
    /// Maximum of connections open at the same time. A closing connection has 50 ms before its successor counts.
    pub open_max: u32,
    /// IDENTIFYs that opened a session.
    pub identifies: u32,
    /// Successful RESUMEs.
    pub resumes: u32,
    /// Rejected RESUMEs.
    pub resumes_refused: u32,
    /// Successful RESUMEs while the session's last connection was still open.
    pub takeovers: u32,
}

/// Connections and sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionsReport {
    /// WebSocket requests of clients, including rejected ones.
    pub dials: u64,
    /// Open connections.
    pub connections: Vec<ConnectionReport>,
    /// Sessions that are in use or can be resumed.
    pub sessions: Vec<SessionReport>,
    /// Every shard seen so far.
    pub shards: Vec<ShardReport>,
}

/// The state of a guild for the bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuildState {
    /// The bot is in the guild.
    Available,
    /// The bot is in the guild, which has an outage.
    Outage,
    /// The bot is not in the guild.
    Absent,
}

/// A guild.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuildReport {
    /// Id of the guild.
    pub id: Snowflake,
    /// Name of the guild.
    pub name: String,
    /// Members, including the bot.
    pub member_count: u64,
    /// The guild's shard for the requested total.
    pub shard: Shard,
    /// State of the guild.
    pub state: GuildState,
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserReport {
    /// Id of the user.
    pub id: Snowflake,
    /// Unique name.
    pub username: String,
    /// Available guilds of which the user is a member.
    pub guilds: Vec<Snowflake>,
    /// Guilds where the user is in voice, which every session sees even without privileged intents.
    pub in_voice: Vec<Snowflake>,
}

/// Totals that a bot should report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Available guilds.
    pub guilds: u64,
    /// Guilds with an outage, which the other figures exclude.
    pub unavailable_guilds: u64,
    /// Sum of `member_count`.
    pub users: u64,
    /// Channels, including hidden ones, without threads.
    pub channels: u64,
    /// People in voice.
    pub voice_connections: u64,
}

/// The totals of the bot and of each shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatsReport {
    /// The whole bot.
    #[serde(flatten)]
    pub total: Totals,
    /// Per shard, for the requested total.
    pub shards: Vec<Totals>,
}

/// An event dispatched to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatched {
    /// The session.
    pub session_id: String,
    /// The session's shard.
    pub shard: Shard,
    /// Sequence of the event.
    pub sequence: u64,
}
