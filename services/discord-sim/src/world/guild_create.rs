//! A guild as GUILD_CREATE shows it.
//!
//! What is made here is bounded by what is sent, whatever the guild's size: at most [`ONLINE_LISTED`] members of a large
//! guild, found among about four times as many, and above [`PRESENCES_UP_TO`] only those in voice.

use super::{
    GuildIndex, World,
    channel::Channel,
    guild::Guild,
    person::Member,
    presence::Presence,
    scheduled_event::ScheduledEvent,
    thread::Thread,
    time,
    voice::{VoiceChanges, VoiceState},
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Above this many members presences are not sent.
/// [Source](https://docs.discord.com/developers/events/gateway-events#guild-create).
const PRESENCES_UP_TO: u64 = 75_000;
/// Online members that a large guild's GUILD_CREATE lists at most; Discord's own bound is not documented.
const ONLINE_LISTED: u64 = 1_000;

/// What a session may see of a guild.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visibility {
    /// The session has GUILD_PRESENCES.
    pub(crate) presences: bool,
    /// The session has GUILD_VOICE_STATES. That it gates `voice_states` is our choice; Discord doesn't say.
    pub(crate) voice_states: bool,
    /// From IDENTIFY, 50 to 250.
    pub(crate) large_threshold: u64,
}

/// The body of GUILD_CREATE.
/// [Source](https://docs.discord.com/developers/events/gateway-events#guild-create).
#[derive(Debug, Serialize)]
pub(crate) struct GuildBody {
    #[serde(flatten)]
    guild: Guild,
    joined_at: String,
    large: bool,
    /// Absent when the bot has just joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<bool>,
    member_count: u64,
    channels: Vec<Channel>,
    members: Vec<Member>,
    presences: Vec<Presence>,
    voice_states: Vec<VoiceState>,
    threads: Vec<Thread>,
    guild_scheduled_events: Vec<ScheduledEvent>,
    stage_instances: [(); 0],
    soundboard_sounds: [(); 0],
}

impl World {
    fn listed_members(&self, guild: GuildIndex, sight: Visibility, voice: &VoiceChanges) -> BTreeSet<u64> {
        let members = self.head(guild).members;
        if sight.presences && members <= sight.large_threshold {
            return (0..members).collect();
        }
        let mut listed = self.in_voice_now(guild, voice);
        listed.insert(0);
        if sight.presences && members <= PRESENCES_UP_TO {
            let others = (1..members).filter(|position| !listed.contains(position));
            let online = others.filter(|position| self.status(guild, *position).is_some());
            let online: Vec<u64> = online.take(ONLINE_LISTED as usize).collect();
            listed.extend(online);
        }
        listed
    }

    /// The body of GUILD_CREATE for a session; `just_joined` leaves the `unavailable` key out, `voice` is who has moved
    /// since the world began.
    pub(crate) fn guild(
        &self,
        guild: GuildIndex,
        sight: Visibility,
        just_joined: bool,
        voice: &VoiceChanges,
    ) -> GuildBody {
        let head = self.head(guild);
        let listed = self.listed_members(guild, sight, voice);
        let with_presences = sight.presences && head.members <= PRESENCES_UP_TO;
        let (object, joined_ms) = self.guild_and_joining(guild);
        GuildBody {
            guild: object,
            joined_at: time::iso(joined_ms),
            large: head.members > sight.large_threshold,
            unavailable: (!just_joined).then_some(false),
            member_count: head.members,
            channels: self.channels(guild),
            presences: if with_presences {
                listed.iter().filter_map(|position| self.presence(guild, *position)).collect()
            } else {
                Vec::new()
            },
            members: listed.into_iter().map(|position| self.member(guild, position, true)).collect(),
            voice_states: if sight.voice_states { self.voice_states(guild, voice) } else { Vec::new() },
            threads: self.threads(guild),
            guild_scheduled_events: self.scheduled_events(guild),
            stage_instances: [],
            soundboard_sounds: [],
        }
    }
}
