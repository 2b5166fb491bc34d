//! Users and members as they travel in payloads.

use super::{Draw, GuildIndex, Snowflake, World, names, time};
use serde::Serialize;

/// A user object. [Source](https://docs.discord.com/developers/resources/user#user-object).
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) id: Snowflake,
    pub(crate) username: String,
    pub(crate) global_name: Option<String>,
    pub(crate) avatar: Option<String>,
    discriminator: &'static str,
    public_flags: u64,
    bot: bool,
}

/// A member object. [Source](https://docs.discord.com/developers/resources/guild#guild-member-object).
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Member {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<User>,
    nick: Option<&'static str>,
    roles: Vec<Snowflake>,
    joined_at: String,
    premium_since: Option<String>,
    deaf: bool,
    mute: bool,
    pending: bool,
    flags: u64,
    avatar: Option<String>,
    communication_disabled_until: Option<String>,
}

impl World {
    /// The bot's own user.
    pub(crate) fn bot(&self) -> User {
        User {
            id: self.bot_id(),
            username: "discord-sim bot".into(),
            global_name: None,
            avatar: None,
            discriminator: "0",
            public_flags: 0,
            bot: true,
        }
    }

    /// The user with this index in the pool.
    pub(crate) fn user(&self, index: u64) -> User {
        let mut draw = Draw::new(self.seed, &[3, index]);
        User {
            id: self.user_id(index),
            username: names::username(&mut draw, index),
            global_name: draw.chance(70).then(|| names::display(&mut draw)),
            avatar: draw.chance(60).then(|| draw.hex()),
            discriminator: "0",
            public_flags: if draw.chance(10) { 1 << draw.range(6, 8) } else { 0 },
            bot: false,
        }
    }

    /// Member `position` of a guild; position 0 is the bot, the rest are people of the pool.
    /// `with_user` is false where Discord sends a partial member, as in messages.
    pub(crate) fn member(&self, guild: GuildIndex, position: u64, with_user: bool) -> Member {
        let head = self.head(guild);
        let mut draw = Draw::new(self.seed, &[4, head.id.0, position]);
        let roles = self.role_count(guild);
        let mut held: Vec<u64> = (0..draw.range(0, 3)).map(|_| draw.range(1, roles - 1)).collect();
        held.sort_unstable();
        held.dedup();
        let since = head.id.timestamp_ms() + draw.range(60_000, 3_000_000_000);
        Member {
            user: with_user.then(|| {
                if position == 0 { self.bot() } else { self.user(self.user_index(guild, position)) }
            }),
            nick: draw.chance(15).then(|| names::nick(&mut draw)),
            roles: held.into_iter().map(|role| self.role_id(guild, role)).collect(),
            joined_at: time::iso(since),
            premium_since: draw.chance(2).then(|| time::iso(since + 86_400_000)),
            deaf: false,
            mute: false,
            pending: false,
            flags: 0,
            avatar: None,
            communication_disabled_until: None,
        }
    }
}
