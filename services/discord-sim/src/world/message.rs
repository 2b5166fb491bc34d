//! Messages of people.

use super::{Draw, GuildIndex, Snowflake, User, World, person::Member, time};
use serde::Serialize;
use std::sync::Arc;

/// A message of a person, in the form kept until it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The guild.
    pub(crate) guild: GuildIndex,
    /// Number of the message, from 1; the body has it as `nonce: "sim-SERIAL"`.
    pub(crate) serial: u64,
    /// Time of the message, in milliseconds since Discord's epoch.
    pub(crate) at_ms: u64,
    /// The text; without it the text has the serial.
    pub(crate) content: Option<Arc<str>>,
}

/// The body of MESSAGE_CREATE.
/// [Source](https://docs.discord.com/developers/events/gateway-events#message-create).
#[derive(Debug, Serialize)]
pub(crate) struct MessageBody {
    id: Snowflake,
    channel_id: Snowflake,
    guild_id: Snowflake,
    author: User,
    member: Member,
    content: String,
    timestamp: String,
    edited_timestamp: Option<String>,
    tts: bool,
    mention_everyone: bool,
    mentions: [(); 0],
    mention_roles: [(); 0],
    attachments: [(); 0],
    embeds: [(); 0],
    components: [(); 0],
    pinned: bool,
    #[serde(rename = "type")]
    kind: u8,
    flags: u64,
    nonce: String,
}

impl Message {
    /// Returns the message's id.
    pub(crate) const fn id(&self) -> Snowflake {
        Snowflake::new(self.at_ms, self.serial)
    }
}

impl World {
    /// Returns the body of a message; without MESSAGE_CONTENT its text is blank.
    pub(crate) fn message(&self, message: &Message, with_content: bool) -> MessageBody {
        let guild = message.guild;
        let head = self.head(guild);
        let mut draw = Draw::new(self.seed, &[12, message.serial]);
        // A few members write most messages.
        let last = if draw.chance(80) { (head.members - 1).min(12) } else { head.members - 1 };
        let position = draw.range(1, last);
        let channel = draw.range(0, self.channel_counts(guild).text - 1);
        let content = match (&message.content, with_content) {
            (_, false) => String::new(),
            (Some(text), true) => text.to_string(),
            (None, true) => format!("message {} from discord-sim", message.serial),
        };
        MessageBody {
            id: message.id(),
            channel_id: self.open_text_channel(guild, channel),
            guild_id: head.id,
            author: self.user(self.user_index(guild, position)),
            member: self.member(guild, position, false),
            content,
            timestamp: time::iso(message.at_ms),
            edited_timestamp: None,
            tts: false,
            mention_everyone: false,
            mentions: [],
            mention_roles: [],
            attachments: [],
            embeds: [],
            components: [],
            pinned: false,
            kind: 0,
            flags: 0,
            nonce: format!("sim-{}", message.serial),
        }
    }
}
