//! The naive cache.

use std::collections::{BTreeMap, BTreeSet};

use guild_cache::Resources;
use serde_json::{Map, Value};

mod change;

const LISTS: [(&str, Resources); 6] = [
    ("channels", Resources::CHANNELS),
    ("threads", Resources::CHANNELS),
    ("roles", Resources::ROLES),
    ("members", Resources::MEMBERS),
    ("voice_states", Resources::VOICE_STATES),
    ("presences", Resources::PRESENCES),
];

const EXTRAS: [(&str, Resources); 5] = [
    ("emojis", Resources::EMOJIS),
    ("stickers", Resources::STICKERS),
    ("stage_instances", Resources::STAGE_INSTANCES),
    ("guild_scheduled_events", Resources::SCHEDULED_EVENTS),
    ("soundboard_sounds", Resources::GUILDS),
];

const COUNTS: u32 = 1;
const CHANNELS: u32 = 2;
const MEMBERS: u32 = 4;
const ROLES: u32 = 8;

fn doubt_of(list: &str) -> u32 {
    match list {
        "channels" => CHANNELS | COUNTS,
        "threads" => CHANNELS,
        "roles" => ROLES,
        "members" => MEMBERS,
        "voice_states" => COUNTS,
        _ => 0,
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct NaiveGuild {
    pub(crate) core: Option<Map<String, Value>>,
    pub(crate) lists: BTreeMap<&'static str, BTreeMap<u64, Value>>,
    /// Lists that GUILD_CREATE had.
    pub(crate) listed: BTreeSet<&'static str>,
    pub(crate) extras: BTreeMap<String, Value>,
    pub(crate) voice: BTreeMap<u64, u64>,
    channel_ids: BTreeSet<u64>,
    pub(crate) members: Option<u64>,
    moves: BTreeMap<u64, bool>,
    pub(crate) is_unavailable: bool,
    pub(crate) is_pending: bool,
    pub(crate) doubt: u32,
}

impl NaiveGuild {
    pub(crate) fn list(&self, name: &str) -> &BTreeMap<u64, Value> {
        static EMPTY: BTreeMap<u64, Value> = BTreeMap::new();
        self.lists.get(name).unwrap_or(&EMPTY)
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        if name == "channels" { self.channel_ids.len() } else { self.list(name).len() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Naive {
    resources: Resources,
    pub(crate) guilds: BTreeMap<u64, NaiveGuild>,
    pub(crate) messages: BTreeMap<u64, BTreeMap<u64, Value>>,
    /// The guild of each channel with messages.
    guild_of_channel: BTreeMap<u64, u64>,
    left: BTreeSet<u64>,
    pub(crate) own_user: Option<Value>,
}

pub(crate) fn id(value: &Value) -> Option<u64> {
    let id = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    id.filter(|id| *id != 0)
}

/// The id of an element of a list.
pub(crate) fn id_of(list: &str, object: &Value) -> Option<u64> {
    id(match list {
        "members" | "presences" => &object["user"]["id"],
        "voice_states" => &object["user_id"],
        "soundboard_sounds" => &object["sound_id"],
        _ => &object["id"],
    })
}

fn without(object: &Value, fields: &[&str]) -> Value {
    let mut object = object.clone();
    for field in fields {
        object.as_object_mut().unwrap().remove(*field);
    }
    object
}

fn merge(old: &mut Value, new: &Value) {
    for (name, value) in new.as_object().unwrap() {
        old[name] = value.clone();
    }
}

impl Naive {
    pub(crate) fn new(guilds: &[u64], resources: Resources) -> Self {
        let pending = || NaiveGuild { is_unavailable: true, is_pending: true, ..NaiveGuild::default() };
        Self {
            resources,
            guilds: guilds.iter().map(|guild| (*guild, pending())).collect(),
            messages: BTreeMap::new(),
            guild_of_channel: BTreeMap::new(),
            left: BTreeSet::new(),
            own_user: None,
        }
    }

    fn keeps(&self, list: &str) -> bool {
        let named = LISTS.iter().chain(&EXTRAS).find(|(name, _)| *name == list);
        named.is_some_and(|(_, resource)| self.resources.has(*resource))
    }

    /// Whether the event is of a guild that the bot has left. A restored cache does not know that the bot was in the guild.
    pub(crate) fn is_late(&self, name: &str, data: &Value) -> bool {
        let guild = id(if name == "GUILD_UPDATE" { &data["id"] } else { &data["guild_id"] });
        guild.is_some_and(|guild| self.left.contains(&guild))
    }

    /// Whether a known member joins again or an unknown one leaves. Records do not say which joins and departures were counted.
    pub(crate) fn is_repeated(&self, name: &str, data: &Value) -> bool {
        let known = id(&data["guild_id"]).and_then(|guild| self.guilds.get(&guild));
        let (Some(guild), Some(user)) = (known, id(&data["user"]["id"])) else { return false };
        let is_cached = guild.list("members").contains_key(&user);
        let are_all = guild.members == Some(guild.list("members").len() as u64);
        let moved = guild.moves.get(&user).copied();
        match name {
            "GUILD_MEMBER_ADD" => is_cached || moved == Some(true),
            "GUILD_MEMBER_REMOVE" => moved == Some(false) || are_all && !is_cached,
            _ => false,
        }
    }

    pub(crate) fn apply(&mut self, name: &str, data: &Value, _sequence: u64) {
        if name == "USER_UPDATE" {
            if self.resources.has(Resources::OWN_USER) {
                self.own_user = Some(data.clone());
            }
            return;
        }
        let guild = id(if matches!(name, "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE") {
            &data["id"]
        } else {
            &data["guild_id"]
        })
        .unwrap();
        match name {
            "GUILD_CREATE" if data["unavailable"] != true => {
                self.left.remove(&guild);
                let came = self.came(data);
                self.guilds.insert(guild, came);
                return;
            }
            "GUILD_CREATE" | "GUILD_DELETE" if data["unavailable"] == true => {
                self.left.remove(&guild);
                let known = self.guilds.entry(guild).or_default();
                known.is_unavailable = true;
                known.is_pending = false;
                return;
            }
            "GUILD_DELETE" => {
                self.guilds.remove(&guild);
                self.left.insert(guild);
                let Self { messages, guild_of_channel, .. } = self;
                messages.retain(|channel, _| guild_of_channel.get(channel) != Some(&guild));
                return;
            }
            _ => {}
        }
        if !self.is_used(name) {
            return;
        }
        match self.guilds.get(&guild) {
            None => {
                // An event of a guild that READY did not name: the guild will come, unless the bot has just left it.
                if !self.left.contains(&guild) {
                    let pending =
                        NaiveGuild { is_unavailable: true, is_pending: true, ..NaiveGuild::default() };
                    self.guilds.insert(guild, pending);
                }
            }
            Some(known) if known.members.is_none() => {}
            Some(_) if name.starts_with("MESSAGE_") => self.message(name, guild, data),
            Some(_) => self.change(name, guild, data),
        }
    }

    fn is_used(&self, name: &str) -> bool {
        let has = |resource| self.resources.has(resource);
        match name {
            "CHANNEL_PINS_UPDATE" => has(Resources::CHANNELS),
            "THREAD_DELETE" => has(Resources::CHANNELS) || has(Resources::MESSAGES),
            _ if name.starts_with("VOICE_CHANNEL_") => has(Resources::CHANNELS),
            _ if name.starts_with("THREAD_") => has(Resources::CHANNELS),
            _ if name.starts_with("GUILD_ROLE_") => has(Resources::ROLES),
            "GUILD_MEMBER_UPDATE" => has(Resources::MEMBERS),
            "GUILD_MEMBERS_CHUNK" => has(Resources::MEMBERS) || has(Resources::PRESENCES),
            "PRESENCE_UPDATE" => has(Resources::PRESENCES),
            "GUILD_EMOJIS_UPDATE" => has(Resources::EMOJIS),
            "GUILD_STICKERS_UPDATE" => has(Resources::STICKERS),
            _ if name.starts_with("GUILD_SOUNDBOARD_") => has(Resources::GUILDS),
            _ if name.starts_with("STAGE_INSTANCE_") => has(Resources::STAGE_INSTANCES),
            _ if name.starts_with("GUILD_SCHEDULED_EVENT_") => has(Resources::SCHEDULED_EVENTS),
            _ if name.starts_with("MESSAGE_REACTION_") => {
                has(Resources::MESSAGES) && has(Resources::REACTIONS)
            }
            _ if name.starts_with("MESSAGE_") => has(Resources::MESSAGES),
            _ => true,
        }
    }

    fn came(&self, data: &Value) -> NaiveGuild {
        let mut guild = NaiveGuild::default();
        let mut core = data.as_object().unwrap().clone();
        let mut listed_members = 0;
        for (list, _) in LISTS {
            let Some(Value::Array(elements)) = core.get(list).cloned() else {
                let is_needed = list == "channels";
                let is_odd = core.get(list).is_some_and(|value| !value.is_null());
                if is_needed || is_odd {
                    guild.doubt |= doubt_of(list);
                }
                continue;
            };
            core.remove(list);
            let mut objects = BTreeMap::new();
            for element in elements {
                let Some(key) = element.is_object().then(|| id_of(list, &element)).flatten() else {
                    guild.doubt |= doubt_of(list);
                    continue;
                };
                let element = stored(list, &element);
                if list == "voice_states" {
                    let channel = &element["channel_id"];
                    match id(channel) {
                        Some(channel) => drop(guild.voice.insert(key, channel)),
                        None if channel.is_null() => continue,
                        None => {
                            guild.doubt |= COUNTS;
                            continue;
                        }
                    }
                }
                if list == "channels" {
                    guild.channel_ids.insert(key);
                }
                objects.insert(key, element);
            }
            if list == "members" {
                listed_members = objects.len() as u64;
            }
            if self.keeps(list) {
                guild.listed.insert(list);
                guild.lists.insert(list, objects);
            }
        }
        for (list, _) in EXTRAS {
            if core.get(list).is_some_and(Value::is_array) {
                let value = core.remove(list).unwrap();
                if self.keeps(list) {
                    guild.extras.insert(list.to_owned(), value);
                }
            }
        }
        let told = data["member_count"].as_u64().filter(|count| *count <= 1 << 32);
        if told.is_none() {
            guild.doubt |= COUNTS;
        }
        guild.members = Some(told.unwrap_or(listed_members));
        guild.core = self.resources.has(Resources::GUILDS).then_some(core);
        guild
    }
}

/// An object as its list holds it.
fn stored(list: &str, object: &Value) -> Value {
    match list {
        "threads" => without(object, &["newly_created"]),
        "members" | "presences" => without(object, &["guild_id"]),
        "voice_states" => without(object, &["guild_id", "member"]),
        _ => object.clone(),
    }
}
