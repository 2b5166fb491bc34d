//! Gateway requests of identified clients; the answers are events of their session.

use super::{Hub, SessionCell};
use crate::{
    event::{Event, MembersAnswer, PrebuiltEvent},
    intents::Intents,
    report::{AskedRecord, GuildState, ViolationKind},
    request::{ChannelInfoRequest, MembersRequest, Request, SoundsRequest},
    session::ConnectionId,
    world::{GuildIndex, Snowflake},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Interval between two requests for all members of one guild.
/// [Source](https://docs.discord.com/developers/events/gateway-events#request-guild-members).
const ALL_MEMBERS_EVERY: Duration = Duration::from_secs(30);
/// Limit of user ids in one request, and of members found by name.
const AT_ONCE: usize = 100;
/// Longest nonce in bytes; a longer one is ignored.
const NONCE_BYTES: usize = 32;

impl Hub {
    /// Handles a request. A request that Discord does not answer is recorded as a violation.
    pub(crate) fn request(
        &self,
        connection: ConnectionId,
        cell: &SessionCell,
        request: Request,
        now: Duration,
    ) {
        let (op, guild_id, nonce) = request.outline();
        let record = AskedRecord {
            at_ms: now.as_millis() as u64,
            shard: cell.lock().params.shard,
            connection,
            op,
            guild_id,
            nonce: nonce.map(str::to_owned),
        };
        self.lock().asked.push(record);
        let done = match request {
            Request::Presence(presence) => {
                cell.lock().presence = Some(presence);
                Ok(())
            }
            Request::Voice(request) => self.own_guild(cell, request.guild_id).and_then(|guild| {
                let session = cell.lock().params.session_id.clone();
                let server = self.move_bot(guild, &request, session)?;
                if let Some(server) = server {
                    cell.answer(server);
                }
                Ok(())
            }),
            Request::Members(request) => self.members(cell, request, now),
            Request::Sounds(request) => self.sounds(cell, &request),
            Request::ChannelInfo(request) => self.channel_info(cell, &request),
        };
        if let Err(why) = done {
            let shard = cell.lock().params.shard;
            self.violation(ViolationKind::UnansweredRequest, connection, Some(shard), why);
        }
    }

    /// Returns the guild if the bot is in it and it is on this session's shard.
    fn own_guild(&self, cell: &SessionCell, id: Snowflake) -> Result<GuildIndex, String> {
        let shard = cell.lock().params.shard;
        let guild = self.world.find(id).filter(|_| id.shard(shard.total) == shard.number);
        let guild = guild.ok_or_else(|| format!("guild {id} is not on shard {shard}"))?;
        if self.lock().guilds[guild as usize] == GuildState::Available {
            Ok(guild)
        } else {
            Err(format!("the bot is not in guild {id}, or the guild has an outage"))
        }
    }

    fn made(&self, name: &'static str, guild: GuildIndex, body: &serde_json::Value) -> Event {
        Event::Prebuilt(Arc::new(PrebuiltEvent::new(name, Some(guild), body, self.world.bot_id())))
    }

    fn members(&self, cell: &SessionCell, request: MembersRequest, now: Duration) -> Result<(), String> {
        let guild = self.own_guild(cell, request.guild_id)?;
        let intents = cell.lock().params.intents;
        let nonce = request.nonce.filter(|nonce| nonce.len() <= NONCE_BYTES);
        let presences = request.presences == Some(true) && intents.contains(Intents::GUILD_PRESENCES);
        let all = 0..self.world.head(guild).members;
        let mut answer =
            MembersAnswer { guild, found: Vec::new(), all: None, not_found: Vec::new(), presences, nonce };
        match (request.query.as_deref(), request.limit.unwrap_or(0), request.user_ids) {
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
                if let Err(wait) = self.count_request_for_all(guild, now) {
                    let mut meta = json!({ "guild_id": request.guild_id });
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

    /// Counts a request for all members of a guild. Returns the time to wait if it came too soon.
    fn count_request_for_all(&self, guild: GuildIndex, now: Duration) -> Result<(), Duration> {
        let mut state = self.lock();
        state.members_asked.retain(|_, at| now.saturating_sub(*at) < ALL_MEMBERS_EVERY);
        if let Some(at) = state.members_asked.get(&guild) {
            return Err((*at + ALL_MEMBERS_EVERY).saturating_sub(now));
        }
        state.members_asked.insert(guild, now);
        Ok(())
    }

    fn sounds(&self, cell: &SessionCell, request: &SoundsRequest) -> Result<(), String> {
        for id in &request.guild_ids {
            let guild = self.own_guild(cell, *id)?;
            let body = json!({ "guild_id": id, "soundboard_sounds": [] });
            cell.answer(self.made("SOUNDBOARD_SOUNDS", guild, &body));
        }
        Ok(())
    }

    /// Answers with an empty list: no channel has a status, and start times of voice calls are not kept.
    fn channel_info(&self, cell: &SessionCell, request: &ChannelInfoRequest) -> Result<(), String> {
        let guild = self.own_guild(cell, request.guild_id)?;
        if let Some(other) =
            request.fields.iter().find(|field| !["status", "voice_start_time"].contains(&field.as_str()))
        {
            return Err(format!("a channel has no field {other}"));
        }
        let body = json!({ "guild_id": request.guild_id, "channels": [] });
        cell.answer(self.made("CHANNEL_INFO", guild, &body));
        Ok(())
    }
}
