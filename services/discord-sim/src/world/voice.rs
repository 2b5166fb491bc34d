//! Who is in voice.

use super::{Draw, GuildIndex, Snowflake, World};
use serde::Serialize;

/// People in voice in one guild at most.
const VOICE_MOST: u64 = 25;

/// A voice state, as it stands in GUILD_CREATE: without the guild's id.
/// [Source](https://docs.discord.com/developers/resources/voice#voice-state-object).
#[derive(Debug, Serialize)]
pub(crate) struct VoiceState {
    user_id: Snowflake,
    channel_id: Snowflake,
    session_id: String,
    deaf: bool,
    mute: bool,
    self_deaf: bool,
    self_mute: bool,
    self_video: bool,
    suppress: bool,
    request_to_speak_timestamp: Option<String>,
}

impl World {
    /// Member positions of the people in voice.
    pub(crate) fn in_voice(&self, guild: GuildIndex) -> std::ops::RangeInclusive<u64> {
        let mut draw = Draw::new(self.seed, &[14, u64::from(guild)]);
        let most = (self.head(guild).members / 10).clamp(1, VOICE_MOST);
        1..=if guild.is_multiple_of(5) || draw.chance(30) { draw.range(1, most) } else { 0 }
    }

    pub(super) fn voice_states(&self, guild: GuildIndex) -> Vec<VoiceState> {
        let rooms = self.channel_counts(guild).voice;
        self.in_voice(guild)
            .map(|position| {
                let mut draw = Draw::new(self.seed, &[17, u64::from(guild), position]);
                VoiceState {
                    user_id: self.user_id(self.user_index(guild, position)),
                    channel_id: self.open_voice_channel(guild, draw.range(0, rooms - 1)),
                    session_id: draw.hex(),
                    deaf: false,
                    mute: false,
                    self_deaf: draw.chance(10),
                    self_mute: draw.chance(30),
                    self_video: draw.chance(5),
                    suppress: false,
                    request_to_speak_timestamp: None,
                }
            })
            .collect()
    }
}
