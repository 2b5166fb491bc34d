//! What identified clients ask for, and the answers, which are events of their session.

use super::{Hub, SessionCell};
use crate::{
    event::{Event, Made},
    report::{GuildState, ViolationKind},
    request::{Request, SoundsRequest},
    session::ConnectionId,
    world::{GuildIndex, Snowflake},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

impl Hub {
    /// Does what a client asks. What Discord leaves unanswered is noted.
    pub(crate) fn request(
        &self,
        connection: ConnectionId,
        cell: &SessionCell,
        asked: Request,
        _now: Duration,
    ) {
        let done = match asked {
            Request::Presence(presence) => {
                cell.lock().presence = Some(presence);
                Ok(())
            }
            Request::Sounds(asked) => self.sounds(cell, &asked),
            Request::Voice(_) | Request::Members(_) | Request::ChannelInfo(_) => Ok(()),
        };
        if let Err(why) = done {
            let shard = cell.lock().sight.shard;
            self.violation(ViolationKind::UnansweredRequest, connection, Some(shard), why);
        }
    }

    /// The guild, when the bot is in it and it is this session's.
    fn own_guild(&self, cell: &SessionCell, id: Snowflake) -> Result<GuildIndex, String> {
        let shard = cell.lock().sight.shard;
        let guild = self.world.find(id).filter(|_| id.shard(shard.total) == shard.number);
        let guild = guild.ok_or_else(|| format!("guild {id} is not on shard {shard}"))?;
        if self.lock().guilds[guild as usize] == GuildState::Available {
            Ok(guild)
        } else {
            Err(format!("the bot is not in guild {id}, or the guild has an outage"))
        }
    }

    /// Gives one session an event.
    fn answer(&self, cell: &SessionCell, event: Event) {
        if cell.lock().dispatch(event).is_some() {
            cell.ring();
        }
    }

    fn made(&self, name: &'static str, guild: GuildIndex, body: &serde_json::Value) -> Event {
        Event::Made(Arc::new(Made::new(name, Some(guild), body, self.world.bot_id())))
    }

    fn sounds(&self, cell: &SessionCell, asked: &SoundsRequest) -> Result<(), String> {
        for id in &asked.guild_ids {
            let guild = self.own_guild(cell, *id)?;
            let body = json!({ "guild_id": id, "soundboard_sounds": [] });
            self.answer(cell, self.made("SOUNDBOARD_SOUNDS", guild, &body));
        }
        Ok(())
    }
}
