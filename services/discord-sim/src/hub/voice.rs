//! Moves between voice channels, including the bot's.

use super::{Hub, State};
use crate::{
    event::{Event, PrebuiltEvent},
    fault_error::FaultError,
    report::{Dispatched, GuildState},
    request::VoiceUpdate,
    world::{Draw, GuildIndex, Snowflake, VoiceState, World},
};
use serde_json::json;
use std::sync::Arc;

/// The bot's position among the members of every guild.
const BOT: u64 = 0;

impl State {
    /// Stores a member's voice state and dispatches the event in one step.
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
        let made = PrebuiltEvent::new("VOICE_STATE_UPDATE", Some(guild), &body, world.bot_id());
        self.dispatch(world, &Event::Prebuilt(Arc::new(made)))
    }

    /// Removes the bot from the voice channels that it joined through this session, which has ended.
    pub(super) fn leave_voice(&mut self, world: &World, session: &str) {
        let guilds: Vec<_> =
            self.bot_voice.extract_if(|_, owner| owner == session).map(|(guild, _)| guild).collect();
        for guild in guilds {
            self.set_voice(world, guild, BOT, &VoiceState::new(world.bot_id(), None, String::new()));
        }
    }

    /// Forgets the bot's voice state in a guild that it left, without an event.
    pub(super) fn forget_voice(&mut self, guild: GuildIndex) {
        if let Some(changes) = self.voice.get_mut(&guild) {
            Arc::make_mut(changes).forget(BOT);
        }
        self.bot_voice.remove(&guild);
    }
}

impl Hub {
    /// Moves a member into, between or out of voice channels.
    ///
    /// # Errors
    ///
    /// The guild has no such member or voice channel, or is not available.
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

    /// Moves the bot into, between or out of voice channels (op 4). Returns VOICE_SERVER_UPDATE for its session if it is in one.
    ///
    /// # Errors
    ///
    /// The reason why Discord does not answer.
    pub(super) fn move_bot(
        &self,
        guild: GuildIndex,
        request: &VoiceUpdate,
        session: String,
    ) -> Result<Option<Event>, String> {
        let bot = self.world.bot_id();
        let mut state = self.lock();
        if let Some(channel) = request.channel_id {
            let limit = self.world.voice_channel(guild, channel);
            let limit =
                limit.ok_or_else(|| format!("{channel} is not a voice channel that the bot can see"))?;
            let changes = state.voice.get(&guild).cloned().unwrap_or_default();
            let there = self.world.in_voice_channel(guild, channel, &changes);
            if limit > 0 && there >= limit && changes.channel_of(BOT) != Some(channel) {
                return Err(format!("voice channel {channel} is full, and the bot may not move members"));
            }
        }
        let session_id = Draw::new(self.config.seed, &[102, u64::from(guild)]).hex();
        let mut voice = VoiceState::new(bot, request.channel_id, session_id);
        (voice.self_mute, voice.self_deaf) = (request.self_mute, request.self_deaf);
        if request.channel_id.is_some() {
            state.bot_voice.insert(guild, session);
        } else {
            state.bot_voice.remove(&guild);
        }
        state.set_voice(&self.world, guild, BOT, &voice);
        Ok(request.channel_id.map(|_| {
            let body = json!({
                "token": Draw::new(self.config.seed, &[103, u64::from(guild)]).hex(),
                "guild_id": request.guild_id,
                // No voice server exists.
                "endpoint": "voice.discord-sim.invalid:443",
            });
            Event::Prebuilt(Arc::new(PrebuiltEvent::new("VOICE_SERVER_UPDATE", Some(guild), &body, bot)))
        }))
    }
}
