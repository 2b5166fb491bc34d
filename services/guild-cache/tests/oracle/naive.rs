//! The naive cache.

use std::collections::{BTreeMap, BTreeSet};

use guild_cache::Resources;
use serde_json::{Map, Value, json};

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
        }
    }

    fn keeps(&self, list: &str) -> bool {
        let named = LISTS.iter().chain(&EXTRAS).find(|(name, _)| *name == list);
        named.is_some_and(|(_, resource)| self.resources.has(*resource))
    }

    /// Whether the event is one of a guild that the bot has left: a restored cache does not know that it was in it.
    pub(crate) fn is_late(&self, name: &str, data: &Value) -> bool {
        id(&data["guild_id"]).is_some_and(|guild| self.left.contains(&guild)) && name != "GUILD_CREATE"
    }

    pub(crate) fn apply(&mut self, name: &str, data: &Value, _sequence: u64) {
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
                if self.guilds.remove(&guild).is_some() {
                    self.left.insert(guild);
                }
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
                // An event of a guild that READY did not name: it will come, unless it has just left.
                if !self.left.contains(&guild) {
                    let pending = NaiveGuild { is_unavailable: true, is_pending: true, ..NaiveGuild::default() };
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
            "CHANNEL_PINS_UPDATE" | "VOICE_CHANNEL_STATUS_UPDATE" => has(Resources::CHANNELS),
            _ if name.starts_with("THREAD_") => has(Resources::CHANNELS),
            _ if name.starts_with("GUILD_ROLE_") => has(Resources::ROLES),
            "GUILD_MEMBER_UPDATE" => has(Resources::MEMBERS),
            "GUILD_MEMBERS_CHUNK" => has(Resources::MEMBERS) || has(Resources::PRESENCES),
            "PRESENCE_UPDATE" => has(Resources::PRESENCES),
            "GUILD_EMOJIS_UPDATE" => has(Resources::EMOJIS),
            _ if name.starts_with("STAGE_INSTANCE_") => has(Resources::STAGE_INSTANCES),
            _ if name.starts_with("GUILD_SCHEDULED_EVENT_") => has(Resources::SCHEDULED_EVENTS),
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
                let is_needed = matches!(list, "channels" | "roles");
                let is_odd = core.get(list).is_some_and(|value| !value.is_null());
                if is_needed || is_odd {
                    guild.doubt |= doubt_of(list);
                }
                continue;
            };
            core.remove(list);
            let mut objects = BTreeMap::new();
            for element in elements {
                let Some(id) = element.is_object().then(|| id_of(list, &element)).flatten() else {
                    guild.doubt |= doubt_of(list);
                    continue;
                };
                let element = stored(list, &element);
                if list == "voice_states" {
                    match id_or_null(&element["channel_id"]) {
                        Some(Some(channel)) => drop(guild.voice.insert(id, channel)),
                        Some(None) => continue,
                        None => {
                            guild.doubt |= COUNTS;
                            continue;
                        }
                    }
                }
                if list == "channels" {
                    guild.channel_ids.insert(id);
                }
                objects.insert(id, element);
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

    fn change(&mut self, name: &str, guild_id: u64, data: &Value) {
        let keeps: BTreeSet<&str> =
            LISTS.iter().chain(&EXTRAS).map(|(name, _)| *name).filter(|list| self.keeps(list)).collect();
        let guild = self.guilds.get_mut(&guild_id).unwrap();
        let put = |guild: &mut NaiveGuild, list: &'static str, object: &Value| {
            if keeps.contains(list) {
                let id = id_of(list, object).unwrap();
                guild.lists.entry(list).or_default().insert(id, stored(list, object));
            }
        };
        match name {
            "GUILD_UPDATE" => {
                for (list, _) in EXTRAS {
                    if data[list].is_array() && keeps.contains(list) {
                        guild.extras.insert(list.to_owned(), data[list].clone());
                    }
                }
                if let Some(roles) = data["roles"].as_array().filter(|_| keeps.contains("roles")) {
                    guild.lists.insert("roles", BTreeMap::new());
                    roles.iter().for_each(|role| put(guild, "roles", role));
                }
                if let Some(core) = &mut guild.core {
                    for (field, value) in data.as_object().unwrap() {
                        if !value.is_array() || !LISTS.iter().chain(&EXTRAS).any(|(list, _)| list == field) {
                            core.insert(field.clone(), value.clone());
                        }
                    }
                }
            }
            "CHANNEL_CREATE" | "CHANNEL_UPDATE" => {
                guild.channel_ids.insert(id(&data["id"]).unwrap());
                put(guild, "channels", data);
            }
            "CHANNEL_DELETE" => {
                let channel = id(&data["id"]).unwrap();
                guild.channel_ids.remove(&channel);
                guild.voice.retain(|_, of| *of != channel);
                let NaiveGuild { lists, voice, .. } = guild;
                lists.entry("channels").or_default().remove(&channel);
                lists.entry("voice_states").or_default().retain(|user, _| voice.contains_key(user));
                lists.entry("threads").or_default().retain(|_, thread| id(&thread["parent_id"]) != Some(channel));
                self.messages.remove(&channel);
            }
            "CHANNEL_PINS_UPDATE" => {
                let pinned = data.get("last_pin_timestamp").cloned().unwrap_or(Value::Null);
                for list in ["channels", "threads"] {
                    let known = guild.lists.entry(list).or_default().get_mut(&id(&data["channel_id"]).unwrap());
                    if let Some(channel) = known {
                        channel["last_pin_timestamp"] = pinned;
                        return;
                    }
                }
            }
            "VOICE_CHANNEL_STATUS_UPDATE" => {
                let status = data.get("status").cloned().unwrap_or(Value::Null);
                for list in ["channels", "threads"] {
                    if let Some(channel) = guild.lists.entry(list).or_default().get_mut(&id(&data["id"]).unwrap()) {
                        channel["status"] = status;
                        return;
                    }
                }
            }
            "THREAD_CREATE" | "THREAD_UPDATE" => {
                let thread = id(&data["id"]).unwrap();
                let threads = guild.lists.entry("threads").or_default();
                if data["thread_metadata"]["archived"] == true {
                    threads.remove(&thread);
                    self.messages.remove(&thread);
                } else if name == "THREAD_UPDATE" && threads.contains_key(&thread) {
                    merge(threads.get_mut(&thread).unwrap(), &stored("threads", data));
                } else {
                    put(guild, "threads", data);
                }
            }
            "THREAD_DELETE" => {
                let thread = id(&data["id"]).unwrap();
                guild.lists.entry("threads").or_default().remove(&thread);
                self.messages.remove(&thread);
            }
            "THREAD_LIST_SYNC" => {
                let parents: Option<Vec<u64>> =
                    data["channel_ids"].as_array().map(|ids| ids.iter().filter_map(id).collect());
                guild.lists.entry("threads").or_default().retain(|_, thread| {
                    let parent = id(&thread["parent_id"]);
                    parents.as_ref().is_some_and(|parents| parent.is_none_or(|parent| !parents.contains(&parent)))
                });
                for thread in data["threads"].as_array().unwrap() {
                    let mut thread = thread.clone();
                    for member in data["members"].as_array().unwrap() {
                        if id(&member["id"]) == id(&thread["id"]) {
                            thread["member"] = member.clone();
                        }
                    }
                    put(guild, "threads", &thread);
                }
            }
            "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => put(guild, "roles", &data["role"]),
            "GUILD_ROLE_DELETE" => {
                guild.lists.entry("roles").or_default().remove(&id(&data["role_id"]).unwrap());
            }
            "GUILD_MEMBER_ADD" => {
                let user = id(&data["user"]["id"]).unwrap();
                let (cached, is_known) = (guild.list("members").len(), guild.list("members").contains_key(&user));
                let are_all = keeps.contains("members") && guild.members == Some(cached as u64);
                if !are_all && !is_known && guild.moves.insert(user, true) != Some(true) {
                    guild.members = guild.members.map(|members| members + 1);
                }
                put(guild, "members", data);
                if are_all {
                    guild.members = Some(guild.list("members").len() as u64);
                }
            }
            "GUILD_MEMBER_REMOVE" => {
                let user = id(&data["user"]["id"]).unwrap();
                let are_all =
                    keeps.contains("members") && guild.members == Some(guild.list("members").len() as u64);
                if !are_all && guild.moves.insert(user, false) != Some(false) {
                    guild.members = guild.members.map(|members| members.saturating_sub(1));
                }
                guild.lists.entry("members").or_default().remove(&user);
                guild.lists.entry("presences").or_default().remove(&user);
                if are_all {
                    guild.members = Some(guild.list("members").len() as u64);
                }
            }
            "GUILD_MEMBER_UPDATE" => {
                let user = id(&data["user"]["id"]).unwrap();
                if let Some(member) = guild.lists.entry("members").or_default().get_mut(&user) {
                    merge(member, &stored("members", data));
                }
            }
            "GUILD_MEMBERS_CHUNK" => {
                for list in ["members", "presences"] {
                    data[list].as_array().into_iter().flatten().for_each(|object| put(guild, list, object));
                }
            }
            "VOICE_STATE_UPDATE" => {
                let user = id(&data["user_id"]).unwrap();
                if let Some(channel) = id(&data["channel_id"]) {
                    guild.voice.insert(user, channel);
                    put(guild, "voice_states", data);
                } else {
                    guild.voice.remove(&user);
                    guild.lists.entry("voice_states").or_default().remove(&user);
                }
                if data["member"].is_object() {
                    put(guild, "members", &data["member"]);
                }
            }
            "PRESENCE_UPDATE" => put(guild, "presences", data),
            "GUILD_EMOJIS_UPDATE" => {
                guild.extras.insert("emojis".to_owned(), data["emojis"].clone());
            }
            "GUILD_SCHEDULED_EVENT_USER_ADD" => {
                let events = guild.extras.get_mut("guild_scheduled_events").and_then(Value::as_array_mut);
                let is_meant = |event: &&mut Value| id(&event["id"]) == id(&data["guild_scheduled_event_id"]);
                if let Some(event) = events.into_iter().flatten().find(is_meant)
                    && let Some(count) = event["user_count"].as_u64()
                {
                    event["user_count"] = json!(count + 1);
                }
            }
            "STAGE_INSTANCE_CREATE" | "STAGE_INSTANCE_DELETE" => {
                put_extra(guild, "stage_instances", data, name.ends_with("_DELETE"));
            }
            "GUILD_SCHEDULED_EVENT_UPDATE" => put_extra(guild, "guild_scheduled_events", data, false),
            _ => panic!("no rule for {name}"),
        }
        guild_lists_are_kept(self.guilds.get_mut(&guild_id).unwrap(), &keeps);
    }

    fn message(&mut self, name: &str, guild: u64, data: &Value) {
        let channel = id(&data["channel_id"]).unwrap();
        let messages = self.messages.entry(channel).or_default();
        match name {
            "MESSAGE_CREATE" => {
                self.guild_of_channel.insert(channel, guild);
                messages.insert(id(&data["id"]).unwrap(), data.clone());
            }
            "MESSAGE_UPDATE" => {
                // One that was displaced by newer ones is not known any more.
                if let Some(message) = messages.get_mut(&id(&data["id"]).unwrap()) {
                    merge(message, data);
                }
            }
            "MESSAGE_DELETE" => drop(messages.remove(&id(&data["id"]).unwrap())),
            "MESSAGE_DELETE_BULK" => {
                data["ids"].as_array().unwrap().iter().for_each(|one| drop(messages.remove(&id(one).unwrap())));
            }
            _ => panic!("no rule for {name}"),
        }
    }
}

fn guild_lists_are_kept(guild: &mut NaiveGuild, keeps: &BTreeSet<&str>) {
    guild.lists.retain(|list, _| keeps.contains(list));
}

fn put_extra(guild: &mut NaiveGuild, list: &str, object: &Value, removes: bool) {
    let known = guild.extras.contains_key(list);
    if removes && !known {
        return;
    }
    let elements = guild.extras.entry(list.to_owned()).or_insert_with(|| json!([])).as_array_mut().unwrap();
    let place = elements.iter().position(|known| id_of(list, known) == id_of(list, object));
    match (place, removes) {
        (Some(_), true) => elements.retain(|known| id_of(list, known) != id_of(list, object)),
        (Some(place), false) => elements[place] = object.clone(),
        (None, false) => elements.push(object.clone()),
        (None, true) => {}
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

/// `None` for what is neither an id nor null.
fn id_or_null(value: &Value) -> Option<Option<u64>> {
    if value.is_null() { Some(None) } else { id(value).map(Some) }
}
