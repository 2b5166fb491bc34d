//! Voice states: those from the seed, and moves since.

use super::{Draw, GuildIndex, Snowflake, World};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Limit of users in voice per guild from the seed.
const VOICE_MOST: u64 = 25;

/// A voice state in GUILD_CREATE, without the guild's id.
/// [Source](https://docs.discord.com/developers/resources/voice#voice-state-object).
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VoiceState {
    user_id: Snowflake,
    /// `None` when the user has left.
    pub(crate) channel_id: Option<Snowflake>,
    session_id: String,
    deaf: bool,
    mute: bool,
    pub(crate) self_deaf: bool,
    pub(crate) self_mute: bool,
    self_video: bool,
    suppress: bool,
    request_to_speak_timestamp: Option<String>,
}

impl VoiceState {
    /// Builds the state of a user who is neither muted nor deafened. `session_id` is that user's voice session, not a gateway session.
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

/// Voice moves in a guild by member position. A state without a channel is a user who left.
#[derive(Clone, Debug, Default)]
pub(crate) struct VoiceChanges(BTreeMap<u64, VoiceState>);

impl VoiceChanges {
    pub(crate) fn set(&mut self, position: u64, state: VoiceState) {
        self.0.insert(position, state);
    }

    pub(crate) fn forget(&mut self, position: u64) {
        self.0.remove(&position);
    }

    /// Returns the channel of a member who has moved.
    pub(crate) fn channel_of(&self, position: u64) -> Option<Snowflake> {
        self.0.get(&position)?.channel_id
    }
}

impl World {
    /// Returns the positions of members in voice according to the seed.
    pub(crate) fn in_voice(&self, guild: GuildIndex) -> std::ops::RangeInclusive<u64> {
        let mut draw = Draw::new(self.seed, &[14, u64::from(guild)]);
        let most = (self.head(guild).members / 10).clamp(1, VOICE_MOST);
        1..=if guild.is_multiple_of(5) || draw.chance(30) { draw.range(1, most) } else { 0 }
    }

    /// Returns the positions of all members in voice.
    pub(crate) fn in_voice_now(&self, guild: GuildIndex, changes: &VoiceChanges) -> BTreeSet<u64> {
        let mut all: BTreeSet<u64> = self.in_voice(guild).collect();
        for (position, state) in &changes.0 {
            if state.channel_id.is_some() {
                all.insert(*position);
            } else {
                all.remove(position);
            }
        }
        all
    }

    /// Returns the number of users in a voice channel.
    pub(crate) fn in_voice_channel(
        &self,
        guild: GuildIndex,
        channel: Snowflake,
        changes: &VoiceChanges,
    ) -> u64 {
        let states = self.voice_states(guild, changes);
        states.iter().filter(|state| state.channel_id == Some(channel)).count() as u64
    }

    /// Returns the states of all users in voice.
    pub(super) fn voice_states(&self, guild: GuildIndex, changes: &VoiceChanges) -> Vec<VoiceState> {
        let now = self.in_voice_now(guild, changes).into_iter();
        now.map(|position| {
            changes.0.get(&position).cloned().unwrap_or_else(|| self.seeded_voice_state(guild, position))
        })
        .collect()
    }

    fn seeded_voice_state(&self, guild: GuildIndex, position: u64) -> VoiceState {
        let rooms = self.channel_counts(guild).voice;
        let mut draw = Draw::new(self.seed, &[17, u64::from(guild), position]);
        let channel = self.open_voice_channel(guild, draw.range(0, rooms - 1));
        let user = self.user_id(self.user_index(guild, position));
        let session_id = draw.hex();
        VoiceState {
            self_deaf: draw.chance(10),
            self_mute: draw.chance(30),
            self_video: draw.chance(5),
            ..VoiceState::new(user, Some(channel), session_id)
        }
    }
}
