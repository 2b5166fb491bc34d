//! Which events a client gets, and which of their fields, by the intents that it identified with. Pure.
//! [Source](https://docs.discord.com/developers/events/gateway#list-of-intents).

use serde_json::{Value, json};

/// A set of intents by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intents(pub u32);

/// Intents of the events in the table below, by their bits.
const GUILD_MEMBERS: u32 = 1 << 1;
const MESSAGE_CONTENT: u32 = 1 << 15;

impl Intents {
    /// All intents that there are.
    pub const ALL: Self = Self(53_608_447);

    /// Whether this set has all of `other`.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The intents of `self` that `other` lacks.
    pub const fn beyond(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names of the intents, for people.
    pub fn names(self) -> String {
        const NAMES: [(u32, &str); 21] = [
            (0, "GUILDS"),
            (1, "GUILD_MEMBERS"),
            (2, "GUILD_MODERATION"),
            (3, "GUILD_EXPRESSIONS"),
            (4, "GUILD_INTEGRATIONS"),
            (5, "GUILD_WEBHOOKS"),
            (6, "GUILD_INVITES"),
            (7, "GUILD_VOICE_STATES"),
            (8, "GUILD_PRESENCES"),
            (9, "GUILD_MESSAGES"),
            (10, "GUILD_MESSAGE_REACTIONS"),
            (11, "GUILD_MESSAGE_TYPING"),
            (12, "DIRECT_MESSAGES"),
            (13, "DIRECT_MESSAGE_REACTIONS"),
            (14, "DIRECT_MESSAGE_TYPING"),
            (15, "MESSAGE_CONTENT"),
            (16, "GUILD_SCHEDULED_EVENTS"),
            (20, "AUTO_MODERATION_CONFIGURATION"),
            (21, "AUTO_MODERATION_EXECUTION"),
            (24, "GUILD_MESSAGE_POLLS"),
            (25, "DIRECT_MESSAGE_POLLS"),
        ];
        let names = NAMES.iter().filter(|(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// What a client gets of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Nothing.
    Nothing,
    /// The event as it is.
    Whole,
    /// The event after [`blank_content`], unless one of Discord's exceptions applies.
    Blanked,
    /// The event if it is about the bot itself.
    OwnMember,
}

/// What a client with these intents gets of an event with this name. `in_guild`: it has a guild.
pub fn view(intents: Intents, name: &str, in_guild: bool) -> View {
    let needed = needed(name, in_guild);
    if needed != 0 && intents.0 & needed == 0 {
        return match name {
            "GUILD_MEMBER_UPDATE" => View::OwnMember,
            _ => View::Nothing,
        };
    }
    match name {
        // Without GUILD_MEMBERS only changes of the bot's own membership are sent.
        "THREAD_MEMBERS_UPDATE" if intents.0 & GUILD_MEMBERS == 0 => View::OwnMember,
        "MESSAGE_CREATE" | "MESSAGE_UPDATE" | "AUTO_MODERATION_ACTION_EXECUTION"
            if intents.0 & MESSAGE_CONTENT == 0 =>
        {
            View::Blanked
        }
        _ => View::Whole,
    }
}

/// The bits of which an event needs one; 0 if it is always sent.
fn needed(name: &str, in_guild: bool) -> u32 {
    let bits: &[u8] = match (name, in_guild) {
        (
            "GUILD_CREATE"
            | "GUILD_UPDATE"
            | "GUILD_DELETE"
            | "GUILD_ROLE_CREATE"
            | "GUILD_ROLE_UPDATE"
            | "GUILD_ROLE_DELETE"
            | "CHANNEL_CREATE"
            | "CHANNEL_UPDATE"
            | "CHANNEL_DELETE"
            | "THREAD_CREATE"
            | "THREAD_UPDATE"
            | "THREAD_DELETE"
            | "THREAD_LIST_SYNC"
            | "THREAD_MEMBER_UPDATE"
            | "STAGE_INSTANCE_CREATE"
            | "STAGE_INSTANCE_UPDATE"
            | "STAGE_INSTANCE_DELETE"
            | "VOICE_CHANNEL_STATUS_UPDATE"
            | "VOICE_CHANNEL_START_TIME_UPDATE",
            _,
        )
        | ("CHANNEL_PINS_UPDATE", true) => &[0],
        ("THREAD_MEMBERS_UPDATE", _) => &[0, 1],
        ("GUILD_MEMBER_ADD" | "GUILD_MEMBER_UPDATE" | "GUILD_MEMBER_REMOVE", _) => &[1],
        ("GUILD_AUDIT_LOG_ENTRY_CREATE" | "GUILD_BAN_ADD" | "GUILD_BAN_REMOVE", _) => &[2],
        (
            "GUILD_EMOJIS_UPDATE"
            | "GUILD_STICKERS_UPDATE"
            | "GUILD_SOUNDBOARD_SOUND_CREATE"
            | "GUILD_SOUNDBOARD_SOUND_UPDATE"
            | "GUILD_SOUNDBOARD_SOUND_DELETE"
            | "GUILD_SOUNDBOARD_SOUNDS_UPDATE",
            _,
        ) => &[3],
        (
            "GUILD_INTEGRATIONS_UPDATE" | "INTEGRATION_CREATE" | "INTEGRATION_UPDATE" | "INTEGRATION_DELETE",
            _,
        ) => &[4],
        ("WEBHOOKS_UPDATE", _) => &[5],
        ("INVITE_CREATE" | "INVITE_DELETE", _) => &[6],
        ("VOICE_STATE_UPDATE" | "VOICE_CHANNEL_EFFECT_SEND", _) => &[7],
        ("PRESENCE_UPDATE", _) => &[8],
        ("MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" | "MESSAGE_DELETE_BULK", true) => &[9],
        (
            "MESSAGE_REACTION_ADD"
            | "MESSAGE_REACTION_REMOVE"
            | "MESSAGE_REACTION_REMOVE_ALL"
            | "MESSAGE_REACTION_REMOVE_EMOJI",
            true,
        ) => &[10],
        ("TYPING_START", true) => &[11],
        ("MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" | "CHANNEL_PINS_UPDATE", false) => &[12],
        (
            "MESSAGE_REACTION_ADD"
            | "MESSAGE_REACTION_REMOVE"
            | "MESSAGE_REACTION_REMOVE_ALL"
            | "MESSAGE_REACTION_REMOVE_EMOJI",
            false,
        ) => &[13],
        ("TYPING_START", false) => &[14],
        (
            "GUILD_SCHEDULED_EVENT_CREATE"
            | "GUILD_SCHEDULED_EVENT_UPDATE"
            | "GUILD_SCHEDULED_EVENT_DELETE"
            | "GUILD_SCHEDULED_EVENT_USER_ADD"
            | "GUILD_SCHEDULED_EVENT_USER_REMOVE",
            _,
        ) => &[16],
        (
            "AUTO_MODERATION_RULE_CREATE" | "AUTO_MODERATION_RULE_UPDATE" | "AUTO_MODERATION_RULE_DELETE",
            _,
        ) => &[20],
        ("AUTO_MODERATION_ACTION_EXECUTION", _) => &[21],
        ("MESSAGE_POLL_VOTE_ADD" | "MESSAGE_POLL_VOTE_REMOVE", true) => &[24],
        ("MESSAGE_POLL_VOTE_ADD" | "MESSAGE_POLL_VOTE_REMOVE", false) => &[25],
        _ => &[],
    };
    bits.iter().fold(0, |set, bit| set | 1 << bit)
}

/// Removes what needs MESSAGE_CONTENT from an event's data, unless the message is the bot's own, is a direct message, or mentions the
/// bot ([Message Content Intent](https://docs.discord.com/developers/events/gateway#message-content-intent)).
pub fn blank_content(name: &str, data: &mut Value, own_user: &str) {
    if name == "AUTO_MODERATION_ACTION_EXECUTION" {
        for field in ["content", "matched_content"] {
            if let Some(text) = data.get_mut(field).filter(|text| text.is_string()) {
                *text = json!("");
            }
        }
        return;
    }
    if data.get("guild_id").is_some() {
        blank_message(data, own_user);
    }
}

fn blank_message(message: &mut Value, own_user: &str) {
    let is_own = |user: Option<&Value>| user.and_then(|user| user.get("id")).is_some_and(|id| id == own_user);
    let mentions = message.get("mentions").and_then(Value::as_array);
    if !is_own(message.get("author")) && !mentions.into_iter().flatten().any(|user| is_own(Some(user))) {
        blank_fields(message);
    }
    if let Some(referenced) = message.get_mut("referenced_message").filter(|message| message.is_object()) {
        blank_message(referenced, own_user);
    }
}

fn blank_fields(message: &mut Value) {
    let Some(fields) = message.as_object_mut() else { return };
    if let Some(content) = fields.get_mut("content") {
        *content = json!("");
    }
    for list in ["embeds", "attachments", "components"] {
        if let Some(value) = fields.get_mut(list) {
            *value = json!([]);
        }
    }
    fields.remove("poll");
    let snapshots = fields.get_mut("message_snapshots").and_then(Value::as_array_mut);
    for snapshot in snapshots.into_iter().flatten() {
        if let Some(message) = snapshot.get_mut("message") {
            blank_fields(message);
        }
    }
}

/// Whether an event of members is about the bot itself.
pub fn is_about(own_user: &str, name: &str, data: &Value) -> bool {
    let is_own = |user: &Value| user == own_user;
    match name {
        "GUILD_MEMBER_UPDATE" => data.pointer("/user/id").is_some_and(is_own),
        "THREAD_MEMBERS_UPDATE" => {
            let added = data.get("added_members").and_then(Value::as_array).into_iter().flatten();
            let removed = data.get("removed_member_ids").and_then(Value::as_array).into_iter().flatten();
            added.filter_map(|member| member.get("user_id")).chain(removed).any(is_own)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUILDS: u32 = 1;
    const GUILD_MESSAGES: u32 = 1 << 9;

    #[test]
    fn events_need_their_intents() {
        let view = |intents, name, in_guild| view(Intents(intents), name, in_guild);
        assert_eq!(view(GUILD_MESSAGES, "MESSAGE_CREATE", false), View::Nothing);
        assert_eq!(view(GUILD_MESSAGES, "MESSAGE_CREATE", true), View::Blanked);
        assert_eq!(view(GUILD_MESSAGES | MESSAGE_CONTENT, "MESSAGE_CREATE", true), View::Whole);
        assert_eq!(view(0, "GUILD_MEMBER_UPDATE", true), View::OwnMember);
        assert_eq!(view(GUILD_MEMBERS, "GUILD_MEMBER_UPDATE", true), View::Whole);
        assert_eq!(view(GUILDS, "THREAD_MEMBERS_UPDATE", true), View::OwnMember);
        assert_eq!(view(GUILDS | GUILD_MEMBERS, "THREAD_MEMBERS_UPDATE", true), View::Whole);
        for always in
            ["INTERACTION_CREATE", "USER_UPDATE", "VOICE_SERVER_UPDATE", "ENTITLEMENT_CREATE", "NEW"]
        {
            assert_eq!(view(0, always, true), View::Whole, "{always}");
        }
        assert_eq!(view(0, "CHANNEL_PINS_UPDATE", false), View::Nothing);
        assert_eq!(Intents::ALL.0.count_ones(), 21);
        assert_eq!(Intents(0b11).beyond(Intents(1)).names(), "GUILD_MEMBERS");
        assert_eq!(Intents::ALL.names().split(", ").count(), 21);
    }

    #[test]
    fn content_is_blanked_at_each_depth() {
        let message = |author: &str| {
            json!({"id": "1", "author": {"id": author}, "content": "x", "embeds": [1], "attachments": [1],
                "components": [1], "poll": {}, "mentions": []})
        };
        let mut outer = message("2");
        outer["guild_id"] = json!("9");
        outer["referenced_message"] = message("3");
        outer["message_snapshots"] = json!([{"message": {"content": "x", "embeds": [1]}}]);
        blank_content("MESSAGE_CREATE", &mut outer, "7");
        for blanked in [&outer, &outer["referenced_message"]] {
            assert_eq!(
                (&blanked["content"], &blanked["embeds"], &blanked["components"]),
                (&json!(""), &json!([]), &json!([]))
            );
            assert!(blanked.get("poll").is_none());
        }
        assert_eq!(outer["message_snapshots"][0]["message"], json!({"content": "", "embeds": []}));

        for exempt in [
            json!({"guild_id": "9", "author": {"id": "7"}, "content": "x"}),
            json!({"guild_id": "9", "author": {"id": "2"}, "content": "x", "mentions": [{"id": "7"}]}),
            json!({"author": {"id": "2"}, "content": "x"}),
        ] {
            let mut same = exempt.clone();
            blank_content("MESSAGE_CREATE", &mut same, "7");
            assert_eq!(same, exempt);
        }
        let mut moderated = json!({"content": "x", "matched_content": "x", "matched_keyword": "x"});
        blank_content("AUTO_MODERATION_ACTION_EXECUTION", &mut moderated, "7");
        assert_eq!(moderated, json!({"content": "", "matched_content": "", "matched_keyword": "x"}));
    }

    #[test]
    fn own_membership_is_found() {
        assert!(is_about("7", "GUILD_MEMBER_UPDATE", &json!({"user": {"id": "7"}})));
        assert!(!is_about("7", "GUILD_MEMBER_UPDATE", &json!({"user": {"id": "8"}})));
        assert!(is_about("7", "THREAD_MEMBERS_UPDATE", &json!({"added_members": [{"user_id": "7"}]})));
        assert!(is_about("7", "THREAD_MEMBERS_UPDATE", &json!({"removed_member_ids": ["7"]})));
        assert!(!is_about("7", "THREAD_MEMBERS_UPDATE", &json!({"removed_member_ids": ["8"]})));
    }
}
