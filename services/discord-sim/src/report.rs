//! What the simulator tells about itself: plain records, the bodies of the control API's answers.
//!
//! Times are milliseconds since the simulator started.

mod rest;

pub use rest::{
    CallerReport, CommandReport, InteractionReport, InteractionState, MessageReport, RequestCount,
    RequestsReport,
};

use crate::{Shard, Snowflake};
use serde::{Deserialize, Serialize};

/// A run of sequences that one connection was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// To which connection.
    pub connection: u64,
    /// First sequence.
    pub from: u64,
    /// Last sequence.
    pub to: u64,
    /// Whether a RESUME asked for them.
    pub replayed: bool,
}

/// One session, open or ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionReport {
    /// As in READY.
    pub session_id: String,
    /// As in its IDENTIFY.
    pub shard: Shard,
    /// As in its IDENTIFY.
    pub intents: u64,
    /// When it identified.
    pub opened_at_ms: u64,
    /// When it ended; `None` while it can be used or resumed.
    pub ended_at_ms: Option<u64>,
    /// What ended it.
    pub ended_why: Option<String>,
    /// The connection that its events go to now.
    pub connection: Option<u64>,
    /// The last sequence given to an event.
    pub sequence: u64,
    /// The last sequence handed to the present or last connection.
    pub sent: u64,
    /// The highest sequence that one of its heartbeats or RESUMEs named.
    pub acknowledged: u64,
    /// How the client wants the bot to be shown: `since`, `activities`, `status`, `afk`; null when it never said.
    pub presence: serde_json::Value,
    /// The first sequence that can still be replayed.
    pub kept_from: u64,
    /// Guilds of READY that have had no GUILD_CREATE or GUILD_DELETE yet.
    pub guilds_to_come: usize,
    /// How often it was resumed.
    pub resumes: u32,
    /// The sequences that its RESUMEDs took: events to a client that counts, but nothing that can be lost.
    pub resumed_at: Vec<u64>,
    /// What was written to sockets, in order; the last 1,024 runs.
    pub deliveries: Vec<Delivery>,
    /// Older runs that are no longer listed.
    pub deliveries_dropped: u64,
}

/// The ledger: what was sent to which session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerReport {
    /// When the simulator started, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Now.
    pub now_ms: u64,
    /// Messages written so far, whoever got them: the highest `sim-N` nonce.
    pub messages: u64,
    /// Those of them that at least one session was given: a bot that lost nothing has seen so many nonces.
    pub messages_dispatched: u64,
    /// Open sessions and the last 4,096 that ended.
    pub sessions: Vec<SessionReport>,
    /// Ended sessions that are no longer listed.
    pub sessions_dropped: u64,
}

/// One sequence of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceReport {
    /// Whose.
    pub session_id: String,
    /// Its shard.
    pub shard: Shard,
    /// The sequence.
    pub sequence: u64,
    /// The event's name, as long as it can be replayed.
    pub event: Option<String>,
    /// To which connections it was written, in order.
    pub sent: Vec<SentTo>,
    /// A heartbeat or RESUME named this sequence or a later one.
    pub acknowledged: bool,
}

/// One writing of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTo {
    /// To which connection.
    pub connection: u64,
    /// Whether a RESUME asked for it.
    pub replayed: bool,
}

/// A preset for the fault `preset`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PresetReport {
    /// Its name.
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
    /// More IDENTIFYs than the day allows (token reset).
    IdentifyBudget,
    /// A second IDENTIFY or RESUME on one connection (4005).
    AlreadyAuthenticated,
    /// Something before IDENTIFY or RESUME (4003).
    NotAuthenticated,
    /// A token that is not the bot's (4004).
    BadToken,
    /// A shard that can't be (4010).
    InvalidShard,
    /// Too many guilds on the shard (4011).
    ShardingRequired,
    /// Another gateway version or encoding (4012).
    InvalidVersion,
    /// Intents that don't exist (4013).
    InvalidIntents,
    /// Privileged intents that the application has not switched on (4014).
    DisallowedIntents,
    /// An opcode that clients don't send (4001).
    UnknownOpcode,
    /// Not JSON, not its shape, or more than 4,096 bytes (4002).
    DecodeError,
    /// RESUME with a sequence that the session never reached (4007).
    InvalidSequence,
    /// More than 120 sends in 60 s (4008).
    RateLimited,
    /// More than 5 presence updates in 20 s (ignored).
    PresenceLimit,
    /// A request that Discord does not answer: a guild of another shard, an intent that is missing.
    UnansweredRequest,
    /// A heartbeat had no ACK, and the client went on (nothing: it is frozen).
    ZombieKept,
    /// No heartbeat for twice the interval.
    MissedHeartbeat,
    /// A REST call without the bot's token (401).
    RestUnauthorized,
    /// More REST calls than a limit allows (429); one that was made up does not count.
    RestRateLimited,
    /// So many REST calls with 401, 403 and 429 that the address is banned.
    RestBanned,
    /// An answer to an interaction after its time (404), or a follow-up after the token's (401).
    InteractionLate,
    /// A second first answer to an interaction (400).
    InteractionAnsweredTwice,
}

/// One broken rule with its circumstances.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// When.
    pub at_ms: u64,
    /// Which rule.
    pub kind: ViolationKind,
    /// Whose, as far as known.
    pub shard: Option<Shard>,
    /// On which connection to the gateway; 0 for a REST call.
    pub connection: u64,
    /// In words.
    pub detail: String,
}

/// One IDENTIFY.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdentifyRecord {
    /// When it arrived.
    pub at_ms: u64,
    /// For which shard.
    pub shard: Shard,
    /// On which connection.
    pub connection: u64,
    /// The session that it opened.
    pub session_id: Option<String>,
    /// Why it opened none.
    pub refused: Option<String>,
}

/// What an identified client asked the gateway for (ops 3, 4, 8, 31 and 43).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AskedRecord {
    /// When it arrived.
    pub at_ms: u64,
    /// By which shard's session.
    pub shard: Shard,
    /// On which connection.
    pub connection: u64,
    /// Its opcode.
    pub op: u64,
    /// The guild that it is about.
    pub guild_id: Option<Snowflake>,
    /// Its nonce (op 8).
    pub nonce: Option<String>,
}

/// A bounded list: the newest 10,000.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed<T> {
    /// Oldest first.
    pub items: Vec<T>,
    /// How many older ones are no longer listed.
    pub dropped: u64,
}

/// An open connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// Its number.
    pub connection: u64,
    /// When it was opened.
    pub opened_at_ms: u64,
    /// Its shard, once it has identified or resumed.
    pub shard: Option<Shard>,
}

/// The connections of one shard over time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShardReport {
    /// Which.
    pub shard: Shard,
    /// Connections that are open now.
    pub open: u32,
    /// The most that were ever open at one time. A closing connection has 50 ms to go before its successor counts.
    pub open_max: u32,
    /// IDENTIFYs that opened a session.
    pub identifies: u32,
    /// RESUMEs that worked.
    pub resumes: u32,
    /// RESUMEs that were refused.
    pub resumes_refused: u32,
    /// RESUMEs that worked while the session's last connection was still open.
    pub takeovers: u32,
}

/// Who is connected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionsReport {
    /// Number of WebSocket requests from clients, refused ones included.
    pub dials: u64,
    /// Open connections.
    pub connections: Vec<ConnectionReport>,
    /// Sessions that are in use or can be resumed.
    pub sessions: Vec<SessionReport>,
    /// Every shard that was ever seen.
    pub shards: Vec<ShardReport>,
}

/// Whether the bot is in a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuildState {
    /// In it.
    Available,
    /// In it, but it has an outage.
    Outage,
    /// Not in it.
    Absent,
}

/// One guild.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuildReport {
    /// Its id.
    pub id: Snowflake,
    /// Its name.
    pub name: String,
    /// Members, the bot included.
    pub member_count: u64,
    /// Where it lives with the total that was asked for.
    pub shard: Shard,
    /// How it is.
    pub state: GuildState,
}

/// One user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserReport {
    /// Its id.
    pub id: Snowflake,
    /// Its unique name.
    pub username: String,
    /// The available guilds that it is a member of.
    pub guilds: Vec<Snowflake>,
    /// Those where it is in voice: there every session sees it, whatever its privileged intents.
    pub in_voice: Vec<Snowflake>,
}

/// Totals that a bot should come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Available guilds.
    pub guilds: u64,
    /// Guilds with an outage; the other figures leave them out.
    pub unavailable_guilds: u64,
    /// Sum of `member_count`.
    pub users: u64,
    /// Channels, with those that the bot can't see and without threads.
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
    /// By shard number, with the total that was asked for.
    pub shards: Vec<Totals>,
}

/// One event as one session got it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatched {
    /// Which session.
    pub session_id: String,
    /// Its shard.
    pub shard: Shard,
    /// The event's sequence there.
    pub sequence: u64,
}
