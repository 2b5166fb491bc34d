//! What a bot may tell Discord's gateway, checked before it goes on its way: Discord answers nonsense with a closed connection,
//! and many things with silence.
//!
//! Owns the checks. Where a command goes is the [bridge](crate::Bridge)'s; when it goes out, the shard's.

use fleet_model::{Classified, ErrorClass};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Discord closes the connection on a longer payload, with 4002
/// ([Sending Events](https://discord.com/developers/docs/events/gateway#sending-events)).
const PAYLOAD_BYTES: usize = 4_096;
/// Users in one request for members
/// ([Request Guild Members](https://discord.com/developers/docs/events/gateway-events#request-guild-members)).
const USERS: usize = 100;
/// Discord leaves a longer nonce out of its answer.
const NONCE_BYTES: usize = 32;
/// The highest type of an activity: competing.
const ACTIVITY_TYPES: u64 = 5;

/// A command that Discord takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayCommand {
    kind: CommandKind,
    text: String,
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// How the bot is shown (op 3).
    Presence,
    /// Where the bot is in voice (op 4).
    Voice {
        /// In which guild.
        guild: u64,
        /// It is in a channel afterwards.
        joins: bool,
    },
    /// A request for members (op 8).
    Members {
        /// Of which guild.
        guild: u64,
        /// For all of them, which needs the intent GUILD_MEMBERS.
        all: bool,
        /// With their presences, which needs the intent GUILD_PRESENCES.
        presences: bool,
    },
    /// A request for soundboard sounds (op 31).
    Sounds {
        /// The first of its guilds.
        first: u64,
    },
    /// A request for what is in voice channels (op 43).
    ChannelInfo {
        /// Of which guild.
        guild: u64,
    },
}

/// A request for members, read: what it asks for, and whether it is for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersQuery {
    /// The guild.
    pub guild: u64,
    /// How names begin; counts only without `users`.
    pub query: String,
    /// The most members; 0: all.
    pub limit: u32,
    /// These users.
    pub users: Vec<u64>,
    /// With their presences.
    pub presences: bool,
}

impl CommandKind {
    /// Every name.
    pub const NAMES: [&str; 5] = ["presence", "voice_state", "members", "soundboard_sounds", "channel_info"];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Voice { .. } => "voice_state",
            Self::Members { .. } => "members",
            Self::Sounds { .. } => "soundboard_sounds",
            Self::ChannelInfo { .. } => "channel_info",
        }
    }

    /// The guild that it is about; none if it is about the shard, or may be about several guilds.
    pub fn guild(self) -> Option<u64> {
        match self {
            Self::Presence | Self::Sounds { .. } => None,
            Self::Voice { guild, .. } | Self::Members { guild, .. } | Self::ChannelInfo { guild } => {
                Some(guild)
            }
        }
    }
}

/// Discord would not take it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidCommand(String);

impl From<serde_json::Error> for InvalidCommand {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl Classified for InvalidCommand {
    fn class(&self) -> ErrorClass {
        ErrorClass::InvalidInput
    }
}

/// Why a command did not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// The worker does not run the shard, or not any more.
    #[error("its shard is on the move")]
    NotMine,
    /// There was no connection to send it on by the deadline, or there will be none.
    #[error("{0}")]
    NotConnected(String),
    /// The connection was lost while it was being sent.
    #[error("the connection was lost while it was being sent: it may have gone out")]
    Lost,
    /// Too many commands wait, or it did not come to its turn by the deadline.
    #[error("{0}")]
    TooMany(String),
    /// A newer one took its place.
    #[error("a newer one took its place before it went out")]
    Replaced,
    /// The bot is not set up for it.
    #[error("{0}")]
    MissingIntent(String),
}

impl CommandRefused {
    /// Every name.
    pub const NAMES: [&str; 6] =
        ["not_mine", "not_connected", "lost", "too_many", "replaced", "missing_intent"];

    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotMine => "not_mine",
            Self::NotConnected(_) => "not_connected",
            Self::Lost => "lost",
            Self::TooMany(_) => "too_many",
            Self::Replaced => "replaced",
            Self::MissingIntent(_) => "missing_intent",
        }
    }
}

impl Classified for CommandRefused {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotMine | Self::NotConnected(_) | Self::Lost => ErrorClass::Unavailable,
            Self::TooMany(_) => ErrorClass::TooBusy,
            Self::Replaced => ErrorClass::Superseded,
            Self::MissingIntent(_) => ErrorClass::NotPermitted,
        }
    }
}

impl GatewayCommand {
    /// Reads a payload as bots send it: `op` 3, 4, 8, 31 or 43, and `d`. What Discord wants and its libraries may leave out is filled in.
    ///
    /// # Errors
    /// Discord would not take it: why.
    pub fn parse(payload: Value) -> Result<Self, InvalidCommand> {
        let Value::Object(mut payload) = payload else { return Err(invalid("a payload is a JSON object")) };
        let op = payload.get("op").and_then(Value::as_u64);
        let Some(Value::Object(mut d)) = payload.remove("d") else {
            return Err(invalid("d is missing, or no JSON object"));
        };
        let kind = match op {
            Some(3) => presence(&mut d)?,
            Some(4) => voice_state(&mut d)?,
            Some(8) => members(&d)?,
            Some(31) => sounds(&mut d)?,
            Some(43) => channel_info(&d)?,
            _ => {
                return Err(invalid(
                    "op takes 3 (presence), 4 (voice state), 8 (guild members), 31 (soundboard sounds) or 43 (channel info)",
                ));
            }
        };
        let text = json!({ "op": op, "d": d }).to_string();
        if text.len() > PAYLOAD_BYTES {
            return Err(invalid(format!(
                "the payload has {} bytes; Discord takes {PAYLOAD_BYTES}",
                text.len()
            )));
        }
        Ok(Self { kind, text })
    }

    /// Reads a payload out of its text.
    ///
    /// # Errors
    /// It is no JSON, or Discord would not take it: why.
    pub fn from_text(text: &str) -> Result<Self, InvalidCommand> {
        Self::parse(serde_json::from_str(text).map_err(|error| invalid(format!("it is no JSON: {error}")))?)
    }

    /// What a request for members asks for; `None` for other commands.
    pub fn members(&self) -> Option<MembersQuery> {
        #[derive(Deserialize)]
        struct Payload {
            d: Members,
        }
        let CommandKind::Members { guild, presences, .. } = self.kind else { return None };
        let Payload { d } = serde_json::from_str(&self.text).ok()?;
        let users = match &d.user_ids {
            Value::Null => Vec::new(),
            Value::Array(users) => users.iter().filter_map(|user| id("user_ids", user).ok()).collect(),
            one => vec![id("user_ids", one).ok()?],
        };
        let limit = u32::try_from(d.limit.unwrap_or(0)).unwrap_or(u32::MAX);
        Some(MembersQuery { guild, query: d.query.unwrap_or_default(), limit, users, presences })
    }

    /// A request for the soundboard sounds of these guilds, which are some of another request's.
    pub(crate) fn sounds(guilds: &[u64]) -> Self {
        let ids: Vec<String> = guilds.iter().map(u64::to_string).collect();
        let first = guilds.first().copied().unwrap_or_default();
        let text = json!({ "op": 31, "d": { "guild_ids": ids } }).to_string();
        Self { kind: CommandKind::Sounds { first }, text }
    }

    /// The guilds that it is about.
    pub fn guilds(&self) -> Vec<u64> {
        #[derive(Deserialize)]
        struct Payload {
            d: Sounds,
        }
        let CommandKind::Sounds { .. } = self.kind else { return self.kind.guild().into_iter().collect() };
        let payload: Option<Payload> = serde_json::from_str(&self.text).ok();
        let guilds = payload.into_iter().flat_map(|payload| payload.d.guild_ids);
        guilds.filter_map(|guild| id("guild_ids", &guild).ok()).collect()
    }

    /// What it is about.
    pub fn kind(&self) -> CommandKind {
        self.kind
    }

    /// The payload, as it goes out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The payload, as it goes out.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[derive(Deserialize)]
struct Presence {
    #[serde(default)]
    activities: Option<Vec<Activity>>,
    status: String,
    #[serde(default)]
    since: Option<u64>,
    #[serde(default)]
    afk: Option<bool>,
}

#[derive(Deserialize)]
struct Activity {
    name: String,
    #[serde(rename = "type")]
    kind: u64,
    // Only their types are looked at.
    #[serde(default, rename = "state")]
    _state: Option<String>,
    #[serde(default, rename = "url")]
    _url: Option<String>,
}

fn presence(d: &mut Map<String, Value>) -> Result<CommandKind, InvalidCommand> {
    let Presence { activities, status, since, afk } = read(d)?;
    if !["online", "dnd", "idle", "invisible", "offline"].contains(&status.as_str()) {
        return Err(invalid(format!("status takes online, dnd, idle, invisible or offline, not {status:?}")));
    }
    for Activity { name, kind, .. } in activities.iter().flatten() {
        if name.trim().is_empty() {
            return Err(invalid("an activity's name is empty"));
        }
        if *kind > ACTIVITY_TYPES {
            return Err(invalid(format!("an activity's type goes from 0 to {ACTIVITY_TYPES}, not {kind}")));
        }
    }
    // Discord closes the connection when one of these is left out.
    if activities.is_none() {
        d.insert("activities".to_owned(), json!([]));
    }
    d.insert("since".to_owned(), json!(since));
    d.insert("afk".to_owned(), json!(afk.unwrap_or(false)));
    Ok(CommandKind::Presence)
}

#[derive(Deserialize)]
struct VoiceState {
    guild_id: Value,
    #[serde(default)]
    channel_id: Value,
    #[serde(default)]
    self_mute: Option<bool>,
    #[serde(default)]
    self_deaf: Option<bool>,
}

fn voice_state(d: &mut Map<String, Value>) -> Result<CommandKind, InvalidCommand> {
    let VoiceState { guild_id, channel_id, self_mute, self_deaf } = read(d)?;
    let guild = id("guild_id", &guild_id)?;
    if !channel_id.is_null() {
        id("channel_id", &channel_id)?;
    }
    let joins = !channel_id.is_null();
    d.insert("channel_id".to_owned(), channel_id);
    d.insert("self_mute".to_owned(), json!(self_mute.unwrap_or(false)));
    d.insert("self_deaf".to_owned(), json!(self_deaf.unwrap_or(false)));
    Ok(CommandKind::Voice { guild, joins })
}

#[derive(Deserialize)]
struct Members {
    guild_id: Value,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    presences: Option<bool>,
    #[serde(default)]
    user_ids: Value,
    #[serde(default)]
    nonce: Option<String>,
}

fn members(d: &Map<String, Value>) -> Result<CommandKind, InvalidCommand> {
    let Members { guild_id, query, limit, presences, user_ids, nonce } = read(d)?;
    let guild = id("guild_id", &guild_id)?;
    if let Some(nonce) = nonce.filter(|nonce| nonce.len() > NONCE_BYTES) {
        return Err(invalid(format!(
            "nonce has {} bytes; Discord gives {NONCE_BYTES} back at most",
            nonce.len()
        )));
    }
    let users = match &user_ids {
        Value::Null => None,
        Value::Array(ids) => Some(ids.as_slice()),
        one => Some(std::slice::from_ref(one)),
    };
    match (users, &query) {
        (None, None) => return Err(invalid("neither query nor user_ids is there")),
        // Discord's libraries send an empty query along.
        (Some(_), Some(query)) if !query.is_empty() => {
            return Err(invalid("query and user_ids are both there; it takes one"));
        }
        (Some([]), _) => return Err(invalid("user_ids is empty")),
        (Some(ids), _) if ids.len() > USERS => {
            return Err(invalid(format!("{} user_ids are over Discord's limit of {USERS}", ids.len())));
        }
        (Some(ids), _) => ids.iter().try_for_each(|one| id("user_ids", one).map(drop))?,
        (None, Some(_)) => {}
    }
    let all = users.is_none() && query.as_deref() == Some("") && limit.unwrap_or(0) == 0;
    Ok(CommandKind::Members { guild, all, presences: presences == Some(true) })
}

#[derive(Deserialize)]
struct Sounds {
    guild_ids: Vec<Value>,
}

fn sounds(d: &mut Map<String, Value>) -> Result<CommandKind, InvalidCommand> {
    let Sounds { guild_ids } = read(d)?;
    let guilds = guild_ids.iter().map(|guild| id("guild_ids", guild)).collect::<Result<Vec<u64>, _>>()?;
    let first = *guilds.first().ok_or_else(|| invalid("guild_ids is empty"))?;
    // As they go out when the request is divided by shards.
    d.insert("guild_ids".to_owned(), guilds.iter().map(u64::to_string).collect());
    Ok(CommandKind::Sounds { first })
}

#[derive(Deserialize)]
struct ChannelInfo {
    guild_id: Value,
    // Discord may have more of them some day.
    #[serde(rename = "fields")]
    _fields: Vec<String>,
}

fn channel_info(d: &Map<String, Value>) -> Result<CommandKind, InvalidCommand> {
    let ChannelInfo { guild_id, .. } = read(d)?;
    Ok(CommandKind::ChannelInfo { guild: id("guild_id", &guild_id)? })
}

fn read<'a, T: Deserialize<'a>>(d: &'a Map<String, Value>) -> Result<T, InvalidCommand> {
    T::deserialize(d).map_err(|error| invalid(format!("d: {error}")))
}

/// A Discord id: a string of digits or, as some libraries have it, a number; never 0.
fn id(name: &str, value: &Value) -> Result<u64, InvalidCommand> {
    let id = match value {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    id.filter(|id| *id != 0).ok_or_else(|| invalid(format!("{name} is missing or 0, or no Discord id")))
}

fn invalid(why: impl Into<String>) -> InvalidCommand {
    InvalidCommand(why.into())
}

#[cfg(test)]
mod tests;
