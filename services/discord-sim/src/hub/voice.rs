//! Who moves between voice channels, the bot included.

use super::{Hub, State};
use crate::{
    event::{Event, Made},
    faults::FaultError,
    report::{Dispatched, GuildState},
    request::VoiceUpdate,
    shard::Shard,
    world::{Draw, GuildIndex, Snowflake, VoiceChanges, VoiceState, World},
};
use serde_json::json;
use std::sync::Arc;

/// The bot's position among the members of every guild.
const BOT: u64 = 0;

impl State {
    /// Notes a member's new state and tells the sessions in the same step.
    fn set_voice(
        &mut self,
        world: &World,
        guild: GuildIndex,
        position: u64,
        state: &VoiceState,
    ) -> Vec<Dispatched> {
        Arc::make_mut(self.voice.entry(guild).or_default()).set(position, state.clone());
        let mut body = json!(state);
        body["guild_id"] = json!(world.head(guild).id);
        body["member"] = json!(world.member(guild, position, true));
        let made = Made::new("VOICE_STATE_UPDATE", Some(guild), &body, world.bot_id());
        self.dispatch(world, &Event::Made(Arc::new(made)))
    }

    /// The bot leaves the voice channels of a shard's guilds: its session has ended.
    pub(super) fn leave_voice(&mut self, world: &World, shard: Shard) {
        let connected = |(guild, changes): (&GuildIndex, &Arc<VoiceChanges>)| {
            let own = world.head(*guild).id.shard(shard.total) == shard.number;
            (own && changes.channel_of(BOT).is_some()).then_some(*guild)
        };
        let guilds: Vec<_> = self.voice.iter().filter_map(connected).collect();
        for guild in guilds {
            self.set_voice(world, guild, BOT, &VoiceState::new(world.bot_id(), None, String::new()));
        }
    }
}

impl Hub {
    /// A member joins, changes or leaves a voice channel.
    ///
    /// # Errors
    ///
    /// When the guild has no such member or voice channel, or is not available.
    pub(super) fn move_in_voice(
        &self,
        guild: GuildIndex,
        user: Snowflake,
        channel: Option<Snowflake>,
    ) -> Result<Vec<Dispatched>, FaultError> {
        let id = self.world.head(guild).id;
        let position = self.world.member_position(guild, user).ok_or(FaultError::UnknownMember(id, user))?;
        if let Some(channel) = channel {
            self.world.voice_channel(guild, channel).ok_or(FaultError::NoVoiceChannel(id, channel))?;
        }
        let mut state = self.lock();
        if state.guilds[guild as usize] != GuildState::Available {
            return Err(FaultError::NotAvailable(id));
        }
        let session_id = Draw::new(self.config.seed, &[101, id.0, position]).hex();
        let voice = VoiceState::new(user, channel, session_id);
        Ok(state.set_voice(&self.world, guild, position, &voice))
    }

    /// The bot joins, changes or leaves a voice channel (op 4). Where it goes to, its session is told the voice server.
    ///
    /// # Errors
    ///
    /// Why Discord does not answer.
    pub(super) fn move_bot(&self, guild: GuildIndex, asked: &VoiceUpdate) -> Result<Option<Event>, String> {
        let bot = self.world.bot_id();
        let mut state = self.lock();
        if let Some(channel) = asked.channel_id {
            let limit = self.world.voice_channel(guild, channel);
            let limit = limit.ok_or_else(|| format!("{channel} is no voice channel that the bot can see"))?;
            let changes = state.voice.get(&guild).cloned().unwrap_or_default();
            let there = self.world.in_voice_channel(guild, channel, &changes);
            if limit > 0 && there >= limit && changes.channel_of(BOT) != Some(channel) {
                return Err(format!("voice channel {channel} is full, and the bot may not move members"));
            }
        }
        let session_id = Draw::new(self.config.seed, &[102, u64::from(guild)]).hex();
        let mut voice = VoiceState::new(bot, asked.channel_id, session_id);
        (voice.self_mute, voice.self_deaf) = (asked.self_mute, asked.self_deaf);
        state.set_voice(&self.world, guild, BOT, &voice);
        Ok(asked.channel_id.map(|_| {
            let body = json!({
                "token": Draw::new(self.config.seed, &[103, u64::from(guild)]).hex(),
                "guild_id": asked.guild_id,
                // There is no voice server behind it.
                "endpoint": "voice.discord-sim.invalid:443",
            });
            Event::Made(Arc::new(Made::new("VOICE_SERVER_UPDATE", Some(guild), &body, bot)))
        }))
    }
}
