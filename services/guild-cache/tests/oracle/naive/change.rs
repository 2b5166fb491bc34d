//! The changes that an event makes to a known guild.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{EXTRAS, LISTS, Naive, NaiveGuild, id, id_of, merge, stored, without};

impl Naive {
    pub(super) fn change(&mut self, name: &str, guild_id: u64, data: &Value) {
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
                    for role in roles {
                        put(guild, "roles", role);
                    }
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
                let channel = id(&data["id"]).unwrap();
                guild.channel_ids.insert(channel);
                let mut data = data.clone();
                for field in ["status", "voice_start_time"] {
                    let old = guild.list("channels").get(&channel).and_then(|old| old.get(field));
                    if let (Some(old), None) = (old, data.get(field)) {
                        data[field] = old.clone();
                    }
                }
                put(guild, "channels", &data);
            }
            "CHANNEL_DELETE" => {
                let channel = id(&data["id"]).unwrap();
                guild.channel_ids.remove(&channel);
                guild.voice.retain(|_, of| *of != channel);
                let NaiveGuild { lists, voice, .. } = guild;
                lists.entry("channels").or_default().remove(&channel);
                lists.entry("voice_states").or_default().retain(|user, _| voice.contains_key(user));
                let messages = &mut self.messages;
                lists.entry("threads").or_default().retain(|thread_id, thread| {
                    let stays = id(&thread["parent_id"]) != Some(channel);
                    if !stays {
                        messages.remove(thread_id);
                    }
                    stays
                });
                messages.remove(&channel);
                if let Some(events) = guild.extras.get_mut("guild_scheduled_events") {
                    let events = events.as_array_mut().unwrap();
                    events.retain(|event| id(&event["channel_id"]) != Some(channel));
                }
            }
            "CHANNEL_PINS_UPDATE" => {
                let pinned = data.get("last_pin_timestamp").cloned().unwrap_or(Value::Null);
                for list in ["channels", "threads"] {
                    let known =
                        guild.lists.entry(list).or_default().get_mut(&id(&data["channel_id"]).unwrap());
                    if let Some(channel) = known {
                        channel["last_pin_timestamp"] = pinned;
                        return;
                    }
                }
            }
            "VOICE_CHANNEL_STATUS_UPDATE" | "VOICE_CHANNEL_START_TIME_UPDATE" => {
                let field = if name.contains("STATUS") { "status" } else { "voice_start_time" };
                let value = data.get(field).cloned().unwrap_or(Value::Null);
                for list in ["channels", "threads"] {
                    if let Some(channel) =
                        guild.lists.entry(list).or_default().get_mut(&id(&data["id"]).unwrap())
                    {
                        channel[field] = value;
                        return;
                    }
                }
            }
            "THREAD_MEMBER_UPDATE" => {
                let threads = guild.lists.entry("threads").or_default();
                if let Some(thread) = threads.get_mut(&id(&data["id"]).unwrap()) {
                    thread["member"] = without(data, &["guild_id"]);
                }
            }
            "THREAD_MEMBERS_UPDATE" => {
                let threads = guild.lists.entry("threads").or_default();
                if let Some(thread) = threads.get_mut(&id(&data["id"]).unwrap()) {
                    thread["member_count"] = data["member_count"].clone();
                    let own = self.own_user.as_ref().and_then(|user| id(&user["id"]));
                    let is_own = |user: &Value| own.is_some() && id(user) == own;
                    let added = data["added_members"].as_array().unwrap();
                    if data["removed_member_ids"].as_array().unwrap().iter().any(is_own) {
                        thread.as_object_mut().unwrap().remove("member");
                    } else if let Some(added) = added.iter().find(|added| is_own(&added["user_id"])) {
                        thread["member"] = without(added, &["member", "presence"]);
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
                let listed: BTreeSet<Option<u64>> =
                    data["threads"].as_array().unwrap().iter().map(|thread| id(&thread["id"])).collect();
                let messages = &mut self.messages;
                guild.lists.entry("threads").or_default().retain(|thread_id, thread| {
                    let parent = id(&thread["parent_id"]);
                    let is_replaced = parents
                        .as_ref()
                        .is_none_or(|parents| parent.is_some_and(|parent| parents.contains(&parent)));
                    if is_replaced && !listed.contains(&Some(*thread_id)) {
                        messages.remove(thread_id);
                    }
                    !is_replaced
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
                let (cached, is_known) =
                    (guild.list("members").len(), guild.list("members").contains_key(&user));
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
                let is_there = guild.voice.contains_key(&user) || guild.list("members").contains_key(&user);
                if data["member"].is_object() && is_there {
                    put(guild, "members", &data["member"]);
                }
            }
            "PRESENCE_UPDATE" => put(guild, "presences", data),
            "GUILD_EMOJIS_UPDATE" | "GUILD_STICKERS_UPDATE" | "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => {
                let list = match name {
                    "GUILD_EMOJIS_UPDATE" => "emojis",
                    "GUILD_STICKERS_UPDATE" => "stickers",
                    _ => "soundboard_sounds",
                };
                guild.extras.insert(list.to_owned(), data[list].clone());
            }
            "GUILD_SCHEDULED_EVENT_USER_ADD" | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => {
                let events = guild.extras.get_mut("guild_scheduled_events").and_then(Value::as_array_mut);
                let is_meant = |event: &&mut Value| id(&event["id"]) == id(&data["guild_scheduled_event_id"]);
                if let Some(event) = events.into_iter().flatten().find(is_meant)
                    && let Some(count) = event["user_count"].as_u64()
                {
                    let after = if name.ends_with("_ADD") { count + 1 } else { count.saturating_sub(1) };
                    event["user_count"] = json!(after);
                }
            }
            _ if name.starts_with("STAGE_INSTANCE_") => {
                put_extra(guild, "stage_instances", data, name.ends_with("_DELETE"));
            }
            _ if name.starts_with("GUILD_SCHEDULED_EVENT_") => {
                let has_ended = data["status"] == 3 || data["status"] == 4;
                put_extra(guild, "guild_scheduled_events", data, has_ended || name.ends_with("_DELETE"));
            }
            _ if name.starts_with("GUILD_SOUNDBOARD_SOUND_") => {
                put_extra(guild, "soundboard_sounds", data, name.ends_with("_DELETE"));
            }
            _ => panic!("no rule for {name}"),
        }
        guild_lists_are_kept(self.guilds.get_mut(&guild_id).unwrap(), &keeps);
    }

    pub(super) fn message(&mut self, name: &str, guild: u64, data: &Value) {
        let channel = id(&data["channel_id"]).unwrap();
        let messages = self.messages.entry(channel).or_default();
        match name {
            "MESSAGE_CREATE" => {
                self.guild_of_channel.insert(channel, guild);
                messages.insert(id(&data["id"]).unwrap(), data.clone());
            }
            "MESSAGE_UPDATE" => {
                // A message that newer messages have displaced is not known any more.
                if let Some(message) = messages.get_mut(&id(&data["id"]).unwrap()) {
                    merge(message, data);
                }
            }
            "MESSAGE_DELETE" => drop(messages.remove(&id(&data["id"]).unwrap())),
            "MESSAGE_DELETE_BULK" => {
                data["ids"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .for_each(|one| drop(messages.remove(&id(one).unwrap())));
            }
            _ if name.starts_with("MESSAGE_REACTION_") => {
                if let Some(message) = messages.get_mut(&id(&data["message_id"]).unwrap()) {
                    let own = self.own_user.as_ref().and_then(|user| id(&user["id"]));
                    react(message, name, data, own);
                }
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

fn react(message: &mut Value, name: &str, data: &Value, own: Option<u64>) {
    let emoji = &data["emoji"];
    let is_same = |one: &Value| {
        id(&one["emoji"]["id"]) == id(&emoji["id"])
            && (!emoji["id"].is_null() || one["emoji"]["name"] == emoji["name"])
    };
    let mut reactions = message["reactions"].as_array().cloned().unwrap_or_default();
    let adds = name == "MESSAGE_REACTION_ADD";
    match name {
        "MESSAGE_REACTION_REMOVE_ALL" => reactions.clear(),
        "MESSAGE_REACTION_REMOVE_EMOJI" => reactions.retain(|one| !is_same(one)),
        _ => {
            if adds && !reactions.iter().any(is_same) {
                reactions.push(json!({
                    "emoji": emoji, "count": 0, "count_details": { "burst": 0, "normal": 0 },
                    "burst_colors": [], "me": false, "me_burst": false
                }));
            }
            let is_burst = data["burst"] == true;
            for one in reactions.iter_mut().filter(|one| is_same(one)) {
                for pointer in
                    ["/count", if is_burst { "/count_details/burst" } else { "/count_details/normal" }]
                {
                    let count = one.pointer_mut(pointer).unwrap();
                    let before = count.as_u64().unwrap();
                    *count = if adds { before + 1 } else { before.saturating_sub(1) }.into();
                }
                if own == id(&data["user_id"]) {
                    one[if is_burst { "me_burst" } else { "me" }] = adds.into();
                }
            }
            reactions.retain(|one| one["count"] != 0);
        }
    }
    let message = message.as_object_mut().unwrap();
    if reactions.is_empty() {
        message.remove("reactions");
    } else {
        message.insert("reactions".to_owned(), reactions.into());
    }
}
