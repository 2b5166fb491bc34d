//! User and member objects.

use super::{
    Draw, GuildIndex, Snowflake, World,
    names::{self, Name},
    time,
};
use serde::Serialize;

/// The bot's username.
pub(super) const BOT_NAME: &str = "discord-sim bot";

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
    /// Returns the bot's user.
    pub(crate) fn bot(&self) -> User {
        User {
            id: self.bot_id(),
            username: BOT_NAME.into(),
            global_name: None,
            avatar: None,
            discriminator: "0",
            public_flags: 0,
            bot: true,
        }
    }

    /// Returns the user with this pool index.
    pub(crate) fn user(&self, index: u64) -> User {
        let mut draw = self.user_draw(index);
        let (username, global_name) = self.user_names(&mut draw, index);
        User {
            id: self.user_id(index),
            username: username.to_string().to_ascii_lowercase(),
            global_name: global_name.map(|name| name.to_string()),
            avatar: draw.chance(60).then(|| draw.hex()),
            discriminator: "0",
            public_flags: if draw.chance(10) { 1 << draw.range(6, 8) } else { 0 },
            bot: false,
        }
    }

    /// Returns the stream of draws for a user; names come first.
    pub(super) fn user_draw(&self, index: u64) -> Draw {
        Draw::new(self.seed, &[3, index])
    }

    /// Draws the name and display name of a user, from the beginning of its stream.
    pub(super) fn user_names(&self, draw: &mut Draw, index: u64) -> (Name, Option<Name>) {
        let username = names::username(draw, index);
        let ordinary = draw.chance(70).then(|| names::display(draw));
        let unusual = names::unusual(Draw::new(self.seed, &[41, index]), names::PEOPLE);
        (username, unusual.map(Name::from).or(ordinary))
    }

    fn member_draw(&self, guild: GuildIndex, position: u64) -> Draw {
        Draw::new(self.seed, &[4, self.head(guild).id.0, position])
    }

    /// Returns the numbers of a member's roles, without `@everyone`.
    pub(super) fn held_roles(&self, guild: GuildIndex, position: u64) -> Vec<u64> {
        self.draw_roles(&mut self.member_draw(guild, position), guild)
    }

    fn draw_roles(&self, draw: &mut Draw, guild: GuildIndex) -> Vec<u64> {
        let roles = self.role_count(guild);
        let mut held: Vec<u64> = (0..draw.range(0, 3)).map(|_| draw.range(1, roles - 1)).collect();
        held.sort_unstable();
        held.dedup();
        held
    }

    /// Returns a member's nick.
    pub(super) fn nick(&self, guild: GuildIndex, position: u64) -> Option<&'static str> {
        let mut draw = self.member_draw(guild, position);
        // Roles and join date come first in the stream.
        let roles = draw.range(0, 3);
        draw.skip(roles + 1);
        self.draw_nick(&mut draw, guild, position)
    }

    fn draw_nick(&self, draw: &mut Draw, guild: GuildIndex, position: u64) -> Option<&'static str> {
        let ordinary = draw.chance(15).then(|| names::nick(draw));
        let unusual = Draw::new(self.seed, &[42, self.head(guild).id.0, position]);
        ordinary.map(|nick| names::unusual(unusual, names::PEOPLE).unwrap_or(nick))
    }

    /// Returns member `position` of a guild; position 0 is the bot. `with_user` is false where Discord sends a partial member, as in
    /// messages.
    pub(crate) fn member(&self, guild: GuildIndex, position: u64, with_user: bool) -> Member {
        let mut draw = self.member_draw(guild, position);
        let roles = self.draw_roles(&mut draw, guild);
        let since = self.head(guild).id.timestamp_ms() + draw.range(60_000, 3_000_000_000);
        Member {
            user: with_user.then(|| {
                if position == 0 { self.bot() } else { self.user(self.user_index(guild, position)) }
            }),
            nick: self.draw_nick(&mut draw, guild, position),
            roles: roles.into_iter().map(|role| self.role_id(guild, role)).collect(),
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
