//! Presences.

use super::{Draw, GuildIndex, Snowflake, World};
use serde::Serialize;

/// A presence in GUILD_CREATE and member chunks, without the guild's id.
/// [Source](https://docs.discord.com/developers/events/gateway-events#presence-update).
#[derive(Debug, Serialize)]
pub(crate) struct Presence {
    user: PartialUser,
    status: &'static str,
    client_status: ClientStatus,
    activities: [(); 0],
}

#[derive(Debug, Serialize)]
struct PartialUser {
    id: Snowflake,
}

#[derive(Debug, Serialize)]
struct ClientStatus {
    desktop: &'static str,
}

impl World {
    /// Returns a user's status; about one in four is not offline.
    pub(super) fn status(&self, guild: GuildIndex, position: u64) -> Option<&'static str> {
        let mut draw = Draw::new(self.seed, &[15, self.user_index(guild, position)]);
        draw.chance(25).then(|| draw.pick(&["online", "idle", "dnd"]))
    }

    /// Returns the presence of member `position`; `None` for the bot and for offline members.
    pub(crate) fn presence(&self, guild: GuildIndex, position: u64) -> Option<Presence> {
        if position == 0 {
            return None;
        }
        let status = self.status(guild, position)?;
        Some(Presence {
            user: PartialUser { id: self.user_id(self.user_index(guild, position)) },
            status,
            client_status: ClientStatus { desktop: status },
            activities: [],
        })
    }
}
