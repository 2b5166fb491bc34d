//! Random events with odd fields. Ids are few, so that many events affect the same objects.

use serde_json::{Map, Value, json};

/// A placeholder for half a surrogate pair, which `serde_json::Value` cannot hold.
const HALF: &str = "%HALF%";
/// A placeholder for a number that is too large for every type.
const HUGE: &str = "%HUGE%";

/// The text of a value, as Discord would write it.
pub(crate) fn to_text(value: &Value) -> String {
    value.to_string().replace(HALF, r"\ud83d").replace(&format!("\"{HUGE}\""), "1e400")
}

/// The value of a text.
pub(crate) fn to_value(text: &str) -> Value {
    let text = text.replace(r"\ud83d", HALF).replace("1e400", &format!("\"{HUGE}\""));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, one_of: u64) -> bool {
        self.below(one_of) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// An id, usually as text.
    fn id(&mut self, most: u64, shift: u64) -> Value {
        let id = (1 + self.below(most)) << shift;
        if self.chance(20) { json!(id) } else { json!(id.to_string()) }
    }

    fn user(&mut self) -> Value {
        self.id(100, 22)
    }

    fn channel(&mut self) -> Value {
        self.id(40, 8)
    }

    fn thread(&mut self) -> Value {
        self.id(30, 14)
    }

    /// A channel or a thread.
    fn message_channel(&mut self) -> Value {
        if self.chance(3) { self.id(2, 14) } else { self.id(3, 8) }
    }

    /// The text of an event's data. Sometimes a key comes twice, and the last one counts, or a key is written with an escape.
    pub(crate) fn text_of(&mut self, data: &Value) -> String {
        let text = to_text(data);
        let keys: Vec<&String> = data.as_object().unwrap().keys().collect();
        let key = Value::from(keys[self.below(keys.len() as u64) as usize].as_str()).to_string();
        match self.below(12) {
            0 => {
                let earlier = self.pick(&[
                    "null",
                    "[]",
                    r#"[{"id":"3","user":{"id":"3"},"user_id":"3","channel_id":"3","sound_id":"3"}]"#,
                ]);
                format!("{{{key}:{earlier},{}", &text[1..])
            }
            1 if key.is_ascii() && !key.contains('\\') => {
                let escaped = format!("\"\\u{:04x}{}", key.as_bytes()[1], &key[2..]);
                text.replace(&format!("{key}:"), &format!("{escaped}:"))
            }
            _ => text,
        }
    }

    /// Any value.
    fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth > 2 { 8 } else { 10 }) {
            0 => Value::Null,
            1 => json!(self.chance(2)),
            2 => json!(self.next()),
            3 => json!(-1.5),
            4 => json!(format!("é\"\\\n{HALF}{}", self.below(5))),
            5 => json!(HUGE),
            6 => json!(self.id(3, 0)),
            7 => json!(
                "plain text of some length, so that blocks are split by their size too "
                    .repeat(self.below(8) as usize)
            ),
            8 => (0..self.below(3)).map(|_| self.value(depth + 1)).collect(),
            _ => Value::Object(self.fields(depth + 1)),
        }
    }

    /// Some fields, known and unknown, of any kind.
    fn fields(&mut self, depth: u64) -> Map<String, Value> {
        let names = ["name", "topic", "position", "flags", "unknown", "deep", "a\"b", "roles_", "nick", "é"];
        (0..self.below(5)).map(|_| (self.pick(&names).to_owned(), self.value(depth))).collect()
    }

    /// An object with these fields and others.
    fn object(&mut self, with: Value) -> Value {
        let mut fields = self.fields(0);
        if let Value::Object(with) = with {
            fields.extend(with);
        }
        Value::Object(fields)
    }

    fn list(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> Value) -> Value {
        let mut list: Vec<Value> = (0..self.below(most + 1)).map(|_| one(self)).collect();
        if self.chance(15) {
            list.push(self.pick(&[&json!(null), &json!({"odd": 1}), &json!("text"), &json!([1])]).clone());
        }
        list.into()
    }
}

fn member(random: &mut Random) -> Value {
    let id = random.user();
    let user = random.object(json!({ "id": id, "username": "name" }));
    random.object(json!({ "user": user }))
}

fn channel(random: &mut Random) -> Value {
    let id = random.channel();
    let mut channel = random.object(json!({ "id": id, "type": 0 }));
    if random.chance(4) {
        channel["status"] = json!("loud");
    }
    channel
}

fn thread(random: &mut Random) -> Value {
    let (id, parent) = (random.thread(), random.channel());
    random.object(json!({ "id": id, "type": 11, "parent_id": parent }))
}

fn role(random: &mut Random) -> Value {
    let id = random.id(60, 30);
    random.object(json!({ "id": id }))
}

fn voice(random: &mut Random) -> Value {
    let (user, channel) = (random.user(), random.channel());
    let channel = if random.chance(4) { Value::Null } else { channel };
    random.object(json!({ "user_id": user, "channel_id": channel }))
}

fn presence(random: &mut Random) -> Value {
    let id = random.user();
    random.object(json!({ "user": { "id": id }, "status": "online" }))
}

fn sound(random: &mut Random) -> Value {
    let id = random.id(8, 3);
    random.object(json!({ "sound_id": id, "volume": 1 }))
}

fn emoji(random: &mut Random) -> Value {
    random
        .pick(&[
            &json!({ "id": null, "name": "\u{1f44d}" }),
            &json!({ "name": "\u{1f44e}", "id": null }),
            &json!({ "id": "9", "name": "x", "animated": true }),
            &json!({ "id": "9", "name": null }),
        ])
        .clone()
}

fn named(random: &mut Random) -> Value {
    let id = random.id(8, 3);
    let (channel, status) = (random.channel(), 1 + random.below(4));
    random.object(json!({ "id": id, "user_count": 3, "channel_id": channel, "status": status }))
}

fn guild(random: &mut Random, id: &Value, is_small: bool) -> Value {
    let most = if is_small { 3 } else { 45 };
    let mut with = Map::new();
    let mut add = |name: &str, value: Value| drop(with.insert(name.to_owned(), value));
    add("id", id.clone());
    add("channels", random.list(most, channel));
    add("roles", random.list(most, role));
    add("members", random.list(most, member));
    add("threads", random.list(most / 2, thread));
    add("voice_states", random.list(most / 2, voice));
    add("presences", random.list(most / 2, presence));
    add("emojis", random.list(3, named));
    add("stage_instances", random.list(2, named));
    add("guild_scheduled_events", random.list(2, named));
    add("soundboard_sounds", random.list(2, sound));
    add("stickers", random.list(2, named));
    add("unknown_list", json!([1, { "id": "5" }]));
    let count = random.below(60);
    add("member_count", random.pick(&[&json!(count), &json!(count), &json!(null), &json!("many")]).clone());
    add("unavailable", json!(false));
    // A list is missing, or is not a list.
    for _ in 0..random.below(2) {
        let list = random.pick(&[
            "channels",
            "roles",
            "members",
            "threads",
            "voice_states",
            "emojis",
            "unavailable",
        ]);
        match random.below(3) {
            0 => drop(with.insert(list.to_owned(), Value::Null)),
            1 => drop(with.remove(list)),
            _ => drop(with.insert(list.to_owned(), json!({ "0": 1 }))),
        }
    }
    random.object(Value::Object(with))
}

/// A random event of one of `guilds` guilds.
pub(crate) fn event(random: &mut Random, guilds: u64) -> (&'static str, Value) {
    let guild_id = json!(((1 + random.below(guilds)) << 40).to_string());
    let of_guild = |mut object: Value| {
        object["guild_id"] = guild_id.clone();
        object
    };
    let name = random.pick(&[
        "GUILD_CREATE",
        "GUILD_CREATE",
        "GUILD_CREATE",
        "GUILD_UPDATE",
        "GUILD_DELETE",
        "CHANNEL_CREATE",
        "CHANNEL_UPDATE",
        "CHANNEL_UPDATE",
        "CHANNEL_DELETE",
        "CHANNEL_PINS_UPDATE",
        "VOICE_CHANNEL_STATUS_UPDATE",
        "VOICE_CHANNEL_START_TIME_UPDATE",
        "THREAD_MEMBER_UPDATE",
        "THREAD_MEMBERS_UPDATE",
        "THREAD_CREATE",
        "THREAD_UPDATE",
        "THREAD_DELETE",
        "THREAD_LIST_SYNC",
        "GUILD_ROLE_CREATE",
        "GUILD_ROLE_UPDATE",
        "GUILD_ROLE_DELETE",
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBER_REMOVE",
        "GUILD_MEMBER_REMOVE",
        "GUILD_MEMBER_REMOVE",
        "GUILD_MEMBER_UPDATE",
        "GUILD_MEMBERS_CHUNK",
        "VOICE_STATE_UPDATE",
        "VOICE_STATE_UPDATE",
        "PRESENCE_UPDATE",
        "GUILD_EMOJIS_UPDATE",
        "GUILD_STICKERS_UPDATE",
        "GUILD_SOUNDBOARD_SOUNDS_UPDATE",
        "GUILD_SOUNDBOARD_SOUND_CREATE",
        "GUILD_SOUNDBOARD_SOUND_UPDATE",
        "GUILD_SOUNDBOARD_SOUND_DELETE",
        "GUILD_SCHEDULED_EVENT_USER_ADD",
        "GUILD_SCHEDULED_EVENT_USER_REMOVE",
        "GUILD_SCHEDULED_EVENT_CREATE",
        "GUILD_SCHEDULED_EVENT_UPDATE",
        "GUILD_SCHEDULED_EVENT_DELETE",
        "STAGE_INSTANCE_CREATE",
        "STAGE_INSTANCE_UPDATE",
        "STAGE_INSTANCE_DELETE",
        "USER_UPDATE",
        "MESSAGE_REACTION_ADD",
        "MESSAGE_REACTION_ADD",
        "MESSAGE_REACTION_REMOVE",
        "MESSAGE_REACTION_REMOVE_EMOJI",
        "MESSAGE_REACTION_REMOVE_ALL",
        "MESSAGE_CREATE",
        "MESSAGE_CREATE",
        "MESSAGE_UPDATE",
        "MESSAGE_DELETE",
        "MESSAGE_DELETE_BULK",
    ]);
    let data = match name {
        "GUILD_CREATE" if random.chance(6) => json!({ "id": guild_id, "unavailable": true }),
        "GUILD_CREATE" => {
            let is_small = random.chance(2);
            guild(random, &guild_id, is_small)
        }
        "GUILD_UPDATE" => {
            let roles = json!([role(random), role(random)]);
            let mut with = json!({ "id": guild_id, "emojis": [{ "id": "1" }], "owner_id": "7" });
            if random.chance(2) {
                with["roles"] = roles;
            }
            random.object(with)
        }
        "GUILD_DELETE" if random.chance(2) => json!({ "id": guild_id, "unavailable": true }),
        "GUILD_DELETE" => json!({ "id": guild_id }),
        "CHANNEL_CREATE" | "CHANNEL_UPDATE" | "CHANNEL_DELETE" => of_guild(channel(random)),
        "CHANNEL_PINS_UPDATE" => {
            let (channel, thread) = (random.channel(), random.thread());
            let channel = if random.chance(2) { channel } else { thread };
            let with = if random.chance(2) { json!({}) } else { json!({ "last_pin_timestamp": "now" }) };
            let mut data = of_guild(with);
            data["channel_id"] = channel;
            data
        }
        "VOICE_CHANNEL_STATUS_UPDATE" => {
            let id = random.channel();
            of_guild(json!({ "id": id, "status": "quiet" }))
        }
        "VOICE_CHANNEL_START_TIME_UPDATE" => {
            let id = random.channel();
            let with = if random.chance(2) { json!({}) } else { json!({ "voice_start_time": 5 }) };
            let mut data = of_guild(with);
            data["id"] = id;
            data
        }
        "THREAD_MEMBER_UPDATE" => {
            let id = random.thread();
            of_guild(random.object(json!({ "id": id, "user_id": "5" })))
        }
        "THREAD_MEMBERS_UPDATE" => {
            let (id, count) = (random.thread(), random.below(9));
            let mut users = || -> Vec<Value> { (0..random.below(3)).map(|_| random.id(3, 22)).collect() };
            let (added, removed) = (users(), users());
            let added: Vec<Value> = added
                .into_iter()
                .map(|user| json!({ "id": id, "user_id": user, "flags": 1, "member": {}, "presence": null }))
                .collect();
            of_guild(json!({
                "id": id, "member_count": count, "added_members": added, "removed_member_ids": removed
            }))
        }
        "THREAD_CREATE" | "THREAD_UPDATE" | "THREAD_DELETE" => {
            let mut thread = of_guild(thread(random));
            if name == "THREAD_CREATE" {
                thread["newly_created"] = json!(true);
            }
            let is_archived = random.chance(4);
            thread["thread_metadata"] = json!({ "archived": is_archived });
            thread
        }
        "THREAD_LIST_SYNC" => {
            let threads: Vec<Value> = (0..random.below(4)).map(|_| thread(random)).collect();
            let members: Vec<Value> =
                threads.iter().take(1).map(|thread| json!({ "id": thread["id"], "flags": 1 })).collect();
            let mut data = of_guild(json!({ "threads": threads, "members": members }));
            if random.chance(2) {
                let parents: Vec<Value> = (0..random.below(20)).map(|_| random.channel()).collect();
                data["channel_ids"] = parents.into();
            }
            data
        }
        "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => of_guild(json!({ "role": role(random) })),
        "GUILD_ROLE_DELETE" => {
            let id = random.id(60, 30);
            of_guild(json!({ "role_id": id }))
        }
        "GUILD_MEMBER_ADD" | "GUILD_MEMBER_UPDATE" => of_guild(member(random)),
        "GUILD_MEMBER_REMOVE" => {
            let id = random.user();
            of_guild(json!({ "user": { "id": id } }))
        }
        "GUILD_MEMBERS_CHUNK" => {
            let members: Vec<Value> = (0..random.below(60)).map(|_| member(random)).collect();
            let presences: Vec<Value> = (0..random.below(3)).map(|_| presence(random)).collect();
            of_guild(json!({ "members": members, "presences": presences, "chunk_index": 0 }))
        }
        "VOICE_STATE_UPDATE" => {
            let mut state = of_guild(voice(random));
            if random.chance(2) {
                let mut member = member(random);
                member["user"]["id"] = state["user_id"].clone();
                state["member"] = member;
            }
            state
        }
        "PRESENCE_UPDATE" => of_guild(presence(random)),
        "GUILD_EMOJIS_UPDATE" => {
            let emojis = random.list(3, named);
            of_guild(json!({ "emojis": emojis }))
        }
        "GUILD_STICKERS_UPDATE" => {
            let stickers = random.list(3, named);
            of_guild(json!({ "stickers": stickers }))
        }
        "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => {
            let sounds = random.list(3, sound);
            of_guild(json!({ "soundboard_sounds": sounds }))
        }
        "GUILD_SOUNDBOARD_SOUND_CREATE"
        | "GUILD_SOUNDBOARD_SOUND_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_DELETE" => of_guild(sound(random)),
        "USER_UPDATE" => {
            let id = random.id(3, 22);
            random.object(json!({ "id": id, "username": "bot" }))
        }
        "GUILD_SCHEDULED_EVENT_USER_ADD" | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => {
            let (id, user) = (random.id(8, 3), random.user());
            of_guild(json!({ "guild_scheduled_event_id": id, "user_id": user }))
        }
        _ if name.starts_with("GUILD_SCHEDULED_EVENT_") || name.starts_with("STAGE_INSTANCE_") => {
            of_guild(named(random))
        }
        _ if name.starts_with("MESSAGE_REACTION_") => {
            let (channel, id, user) = (random.message_channel(), random.id(50, 22), random.user());
            let (emoji, is_burst) = (emoji(random), random.chance(4));
            of_guild(json!({
                "channel_id": channel, "message_id": id, "user_id": user, "emoji": emoji, "burst": is_burst
            }))
        }
        "MESSAGE_DELETE_BULK" => {
            let (channel, ids) = (random.message_channel(), [random.id(50, 22), random.id(50, 22)]);
            of_guild(json!({ "channel_id": channel, "ids": ids }))
        }
        _ => {
            let (channel, id) = (random.message_channel(), random.id(50, 22));
            of_guild(random.object(json!({ "channel_id": channel, "id": id, "content": "x" })))
        }
    };
    (name, data)
}
