//! The body of GUILD_CREATE.
//!
//! Its size is bounded for guilds of any size: it lists at most [`ONLINE_LISTED`] members of a large guild, found among about four
//! times as many, and above [`PRESENCES_UP_TO`] members only those in voice.

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
/// Limit of online members listed for a large guild. Discord does not document its own limit.
const ONLINE_LISTED: u64 = 1_000;

/// What a session sees of a guild.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visibility {
    /// The session has GUILD_PRESENCES.
    pub(crate) presences: bool,
    /// The session has GUILD_VOICE_STATES. Gating `voice_states` by it is our choice, which Discord does not document.
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
    /// Missing if the bot has just joined.
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
    fn listed_members(
        &self,
        guild: GuildIndex,
        visibility: Visibility,
        voice: &VoiceChanges,
    ) -> BTreeSet<u64> {
        let members = self.head(guild).members;
        if visibility.presences && members <= visibility.large_threshold {
            return (0..members).collect();
        }
        let mut listed = self.in_voice_now(guild, voice);
        listed.insert(0);
        if visibility.presences && members <= PRESENCES_UP_TO {
            let others = (1..members).filter(|position| !listed.contains(position));
            let online = others.filter(|position| self.status(guild, *position).is_some());
            let online: Vec<u64> = online.take(ONLINE_LISTED as usize).collect();
            listed.extend(online);
        }
        listed
    }

    /// Returns the body of GUILD_CREATE for a session. `just_joined` omits the `unavailable` key; `voice` has the voice moves so far.
    pub(crate) fn guild(
        &self,
        guild: GuildIndex,
        visibility: Visibility,
        just_joined: bool,
        voice: &VoiceChanges,
    ) -> GuildBody {
        let head = self.head(guild);
        let listed = self.listed_members(guild, visibility, voice);
        let with_presences = visibility.presences && head.members <= PRESENCES_UP_TO;
        let (object, joined_ms) = self.guild_and_joining(guild);
        GuildBody {
            guild: object,
            joined_at: time::iso(joined_ms),
            large: head.members > visibility.large_threshold,
            unavailable: (!just_joined).then_some(false),
            member_count: head.members,
            channels: self.channels(guild),
            presences: if with_presences {
                listed.iter().filter_map(|position| self.presence(guild, *position)).collect()
            } else {
                Vec::new()
            },
            members: listed.into_iter().map(|position| self.member(guild, position, true)).collect(),
            voice_states: if visibility.voice_states { self.voice_states(guild, voice) } else { Vec::new() },
            threads: self.threads(guild),
            guild_scheduled_events: self.scheduled_events(guild),
            stage_instances: [],
            soundboard_sounds: [],
        }
    }
}
