//! A guild's roles.

use super::{Draw, GuildIndex, Snowflake, World, names};
use serde::Serialize;

/// The permissions of a role with ADMINISTRATOR, `1 << 3`.
pub(super) const ADMINISTRATOR: &str = "8";

/// A role object. [Source](https://docs.discord.com/developers/topics/permissions#role-object).
#[derive(Debug, Serialize)]
pub(crate) struct Role {
    id: Snowflake,
    name: &'static str,
    description: Option<String>,
    pub(super) permissions: &'static str,
    position: u64,
    color: u64,
    colors: Colors,
    hoist: bool,
    managed: bool,
    mentionable: bool,
    icon: Option<String>,
    unicode_emoji: Option<String>,
    flags: u64,
}

#[derive(Debug, Serialize)]
struct Colors {
    #[serde(rename = "primary_color")]
    primary: u64,
    #[serde(rename = "secondary_color")]
    secondary: Option<u64>,
    #[serde(rename = "tertiary_color")]
    tertiary: Option<u64>,
}

impl World {
    /// Returns the number of a guild's roles, including `@everyone`: 3 to 30.
    pub(super) fn role_count(&self, guild: GuildIndex) -> u64 {
        Draw::new(self.seed, &[5, u64::from(guild)]).skewed(3, 30)
    }

    /// Returns the id of role `number`; number 0 is `@everyone`, whose id is the guild's.
    pub(super) fn role_id(&self, guild: GuildIndex, number: u64) -> Snowflake {
        let id = self.head(guild).id;
        if number == 0 {
            return id;
        }
        let low = Draw::new(self.seed, &[6, id.0, number]).word();
        Snowflake::new(id.timestamp_ms() + number * 61_000, low)
    }

    /// Returns all roles of a guild.
    pub(crate) fn roles(&self, guild: GuildIndex) -> Vec<Role> {
        (0..self.role_count(guild)).map(|number| self.role(guild, number)).collect()
    }

    /// Returns role `number` of a guild.
    pub(super) fn role(&self, guild: GuildIndex, number: u64) -> Role {
        let path = u64::from(guild);
        let mut draw = Draw::new(self.seed, &[7, path, number]);
        let color = if number > 0 && draw.chance(60) { draw.range(1, 0xff_ffff) } else { 0 };
        let name = if number == 0 {
            "@everyone"
        } else {
            let ordinary = names::role(&mut draw);
            let unusual = Draw::new(self.seed, &[44, path, number]);
            names::unusual(unusual, names::PLACES).unwrap_or(ordinary)
        };
        Role {
            id: self.role_id(guild, number),
            name,
            description: None,
            permissions: if number == 0 {
                "2248473465835073"
            } else {
                draw.pick(&["0", ADMINISTRATOR, "274877906944"])
            },
            position: number,
            color,
            colors: Colors { primary: color, secondary: None, tertiary: None },
            hoist: number > 0 && draw.chance(30),
            managed: false,
            mentionable: number > 0 && draw.chance(30),
            icon: None,
            unicode_emoji: None,
            flags: 0,
        }
    }
}
