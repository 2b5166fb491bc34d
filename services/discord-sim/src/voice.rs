//! Who is in voice. Pure.
//!
//! The [world](crate::world) puts some members into voice channels; what has changed since is kept here, guild by guild.

use crate::world::{GuildIndex, Snowflake, World};
use serde::Serialize;
use std::collections::BTreeMap;

/// A member of a guild by position; 0 is the bot.
type Position = u64;

/// A voice state. [Source](https://docs.discord.com/developers/resources/voice#voice-state-object).
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VoiceState {
    pub(crate) user_id: Snowflake,
    /// `None` when the user has left.
    pub(crate) channel_id: Option<Snowflake>,
    pub(crate) session_id: String,
    pub(crate) deaf: bool,
    pub(crate) mute: bool,
    pub(crate) self_deaf: bool,
    pub(crate) self_mute: bool,
    pub(crate) self_video: bool,
    pub(crate) suppress: bool,
    pub(crate) request_to_speak_timestamp: Option<String>,
}

impl VoiceState {
    /// A user who listens and speaks.
    pub(crate) const fn new(user_id: Snowflake, channel_id: Option<Snowflake>, session_id: String) -> Self {
        Self {
            user_id,
            channel_id,
            session_id,
            deaf: false,
            mute: false,
            self_deaf: false,
            self_mute: false,
            self_video: false,
            suppress: false,
            request_to_speak_timestamp: None,
        }
    }
}

/// What has changed in one guild since the world began: a state without a channel is somebody who has left.
#[derive(Clone, Debug, Default)]
pub(crate) struct VoiceChanges(BTreeMap<Position, VoiceState>);

impl VoiceChanges {
    pub(crate) fn set(&mut self, position: Position, state: VoiceState) {
        self.0.insert(position, state);
    }

    /// The state of a member who has moved.
    pub(crate) fn of(&self, position: Position) -> Option<&VoiceState> {
        self.0.get(&position)
    }

    /// Everybody who is in voice, by position.
    pub(crate) fn present(&self, world: &World, guild: GuildIndex) -> BTreeMap<Position, VoiceState> {
        let mut all: BTreeMap<_, _> =
            world.in_voice(guild).map(|position| (position, world.voice_state(guild, position))).collect();
        all.extend(self.0.iter().map(|(position, state)| (*position, state.clone())));
        all.retain(|_, state| state.channel_id.is_some());
        all
    }

    /// How many are in voice.
    pub(crate) fn count(&self, world: &World, guild: GuildIndex) -> u64 {
        let from_the_start = world.in_voice(guild);
        let stayed = from_the_start.clone().count() as u64
            - self.0.keys().filter(|position| from_the_start.contains(position)).count() as u64;
        stayed + self.0.values().filter(|state| state.channel_id.is_some()).count() as u64
    }
}
