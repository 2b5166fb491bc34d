//! What identified clients ask for, and the answers, which are events of their session.

use super::{Hub, SessionCell};
use crate::{
    event::{Event, Made, MembersAnswer},
    intents::Intents,
    report::{AskedRecord, GuildState, ViolationKind},
    request::{ChannelInfoRequest, MembersRequest, Request, SoundsRequest},
    session::ConnectionId,
    world::{GuildIndex, Snowflake},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// All members of a guild may be asked for once in this time.
/// [Source](https://docs.discord.com/developers/events/gateway-events#request-guild-members).
const ALL_MEMBERS_EVERY: Duration = Duration::from_secs(30);
/// User ids in one request at most, and members found by name.
const AT_ONCE: usize = 100;
/// A longer nonce is ignored.
const NONCE_BYTES: usize = 32;

impl Hub {
    /// Does what a client asks. What Discord leaves unanswered is noted.
    pub(crate) fn request(
        &self,
        connection: ConnectionId,
        cell: &SessionCell,
        asked: Request,
        now: Duration,
    ) {
        let (op, guild_id, nonce) = asked.outline();
        let record = AskedRecord {
            at_ms: now.as_millis() as u64,
            shard: cell.lock().sight.shard,
            connection,
            op,
            guild_id,
            nonce: nonce.map(str::to_owned),
        };
        self.lock().asked.push(record);
        let done = match asked {
            Request::Presence(presence) => {
                cell.lock().presence = Some(presence);
                Ok(())
            }
            Request::Voice(asked) => self.own_guild(cell, asked.guild_id).and_then(|guild| {
                let session = cell.lock().sight.session_id.clone();
                let server = self.move_bot(guild, &asked, session)?;
                if let Some(server) = server {
                    cell.answer(server);
                }
                Ok(())
            }),
            Request::Members(asked) => self.members(cell, asked, now),
            Request::Sounds(asked) => self.sounds(cell, &asked),
            Request::ChannelInfo(asked) => self.channel_info(cell, &asked),
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

    fn made(&self, name: &'static str, guild: GuildIndex, body: &serde_json::Value) -> Event {
        Event::Made(Arc::new(Made::new(name, Some(guild), body, self.world.bot_id())))
    }

    fn members(&self, cell: &SessionCell, asked: MembersRequest, now: Duration) -> Result<(), String> {
        let guild = self.own_guild(cell, asked.guild_id)?;
        let intents = cell.lock().sight.intents;
        let nonce = asked.nonce.filter(|nonce| nonce.len() <= NONCE_BYTES);
        let presences = asked.presences == Some(true) && intents.contains(Intents::GUILD_PRESENCES);
        let all = 0..self.world.head(guild).members;
        let mut answer =
            MembersAnswer { guild, found: Vec::new(), all: None, not_found: Vec::new(), presences, nonce };
        match (asked.query.as_deref(), asked.limit.unwrap_or(0), asked.user_ids) {
            (_, _, Some(ids)) if ids.len() > AT_ONCE => {
                return Err(format!("{} user ids, {AT_ONCE} are allowed", ids.len()));
            }
            (_, _, Some(ids)) => {
                for id in ids {
                    let user = serde_json::from_value::<Snowflake>(id.clone()).ok();
                    match user.and_then(|user| self.world.member_position(guild, user)) {
                        Some(position) => answer.found.push(position),
                        None => answer.not_found.push(id),
                    }
                }
            }
            (Some(""), 0, None) if !intents.contains(Intents::GUILD_MEMBERS) => {
                return Err("all members need the intent GUILD_MEMBERS".into());
            }
            (Some(""), 0, None) => {
                if let Err(wait) = self.may_ask_for_all(guild, now) {
                    let mut meta = json!({ "guild_id": asked.guild_id });
                    if let Some(nonce) = &answer.nonce {
                        meta["nonce"] = json!(nonce);
                    }
                    let body = json!({ "opcode": 8, "retry_after": wait.as_secs_f64(), "meta": meta });
                    cell.answer(self.made("RATE_LIMITED", guild, &body));
                    return Ok(());
                }
                answer.all = Some(all.end);
            }
            (Some(prefix), limit, None) => {
                let most = if limit == 0 { AT_ONCE } else { AT_ONCE.min(limit as usize) };
                answer.found = self.world.members_named(guild, prefix, most);
            }
            (None, _, None) => return Err("neither query nor user_ids".into()),
        }
        let answer = Arc::new(answer);
        for index in 0..answer.chunks() {
            cell.answer(Event::MembersChunk { answer: Arc::clone(&answer), index });
        }
        Ok(())
    }

    /// Counts a request for all members of a guild; how long to wait when it came too soon.
    fn may_ask_for_all(&self, guild: GuildIndex, now: Duration) -> Result<(), Duration> {
        let mut state = self.lock();
        state.members_asked.retain(|_, at| now.saturating_sub(*at) < ALL_MEMBERS_EVERY);
        if let Some(at) = state.members_asked.get(&guild) {
            return Err((*at + ALL_MEMBERS_EVERY).saturating_sub(now));
        }
        state.members_asked.insert(guild, now);
        Ok(())
    }

    fn sounds(&self, cell: &SessionCell, asked: &SoundsRequest) -> Result<(), String> {
        for id in &asked.guild_ids {
            let guild = self.own_guild(cell, *id)?;
            let body = json!({ "guild_id": id, "soundboard_sounds": [] });
            cell.answer(self.made("SOUNDBOARD_SOUNDS", guild, &body));
        }
        Ok(())
    }

    /// Nobody has set a channel's status, and when voice began in one is not kept: channels are listed without.
    fn channel_info(&self, cell: &SessionCell, asked: &ChannelInfoRequest) -> Result<(), String> {
        let guild = self.own_guild(cell, asked.guild_id)?;
        if let Some(other) =
            asked.fields.iter().find(|field| !["status", "voice_start_time"].contains(&field.as_str()))
        {
            return Err(format!("a channel has no field {other}"));
        }
        let body = json!({ "guild_id": asked.guild_id, "channels": [] });
        cell.answer(self.made("CHANNEL_INFO", guild, &body));
        Ok(())
    }
}
