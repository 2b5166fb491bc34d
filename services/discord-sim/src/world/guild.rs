//! A guild as GUILD_CREATE shows it.

use super::{
    Draw, FIRST_GUILD_MS, GuildHead, GuildIndex, STRIDE_MS, STRIDES, Snowflake, World, channel::Channel,
    names, person::Member, role::Role, time,
};
use serde::Serialize;

/// Above this many members presences are not sent.
/// [Source](https://docs.discord.com/developers/events/gateway-events#guild-create).
const PRESENCES_UP_TO: u64 = 75_000;
/// Online members that a large guild's GUILD_CREATE lists at most; Discord's own bound is not documented.
const ONLINE_LISTED: u64 = 1_000;
/// People in voice in one guild at most.
const VOICE_MOST: u64 = 25;

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
    id: Snowflake,
    name: String,
    icon: Option<String>,
    splash: Option<String>,
    discovery_splash: Option<String>,
    banner: Option<String>,
    description: Option<String>,
    owner_id: Snowflake,
    application_id: Option<Snowflake>,
    afk_channel_id: Option<Snowflake>,
    afk_timeout: u64,
    system_channel_id: Option<Snowflake>,
    system_channel_flags: u64,
    rules_channel_id: Option<Snowflake>,
    public_updates_channel_id: Option<Snowflake>,
    safety_alerts_channel_id: Option<Snowflake>,
    vanity_url_code: Option<String>,
    verification_level: u64,
    default_message_notifications: u64,
    explicit_content_filter: u64,
    mfa_level: u64,
    nsfw_level: u64,
    premium_tier: u64,
    premium_subscription_count: u64,
    premium_progress_bar_enabled: bool,
    preferred_locale: &'static str,
    max_members: u64,
    max_video_channel_users: u64,
    max_stage_video_channel_users: u64,
    features: Vec<&'static str>,
    joined_at: String,
    large: bool,
    /// Absent when the bot has just joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<bool>,
    member_count: u64,
    roles: Vec<Role>,
    channels: Vec<Channel>,
    members: Vec<Member>,
    presences: Vec<Presence>,
    voice_states: Vec<VoiceState>,
    emojis: [(); 0],
    stickers: [(); 0],
    threads: [(); 0],
    stage_instances: [(); 0],
    guild_scheduled_events: [(); 0],
    soundboard_sounds: [(); 0],
}

#[derive(Debug, Serialize)]
struct Presence {
    user: PartialUser,
    status: &'static str,
    client_status: ClientStatus,
    activities: [(); 0],
}

#[derive(Debug, Serialize)]
struct PartialUser {
    id: Snowflake,
}

#[derive(Debug, Serialize)]
struct ClientStatus {
    desktop: &'static str,
}

#[derive(Debug, Serialize)]
struct VoiceState {
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

/// Id and size of guild `index`.
pub(super) fn head(seed: u64, index: GuildIndex) -> GuildHead {
    let mut draw = Draw::new(seed, &[11, u64::from(index)]);
    let ms =
        FIRST_GUILD_MS.next_multiple_of(STRIDE_MS) + u64::from(index) + STRIDE_MS * draw.range(0, STRIDES);
    let members = match draw.range(0, 999) {
        0..650 => draw.skewed(5, 60),
        650..940 => draw.skewed(60, 500),
        940..992 => draw.skewed(500, 5_000),
        992..999 => draw.skewed(5_000, 20_000),
        _ => draw.skewed(20_000, 80_000),
    };
    GuildHead { id: Snowflake::new(ms, draw.word()), members }
}

impl World {
    /// A guild's name.
    pub(crate) fn guild_name(&self, guild: GuildIndex) -> String {
        names::guild(&mut Draw::new(self.seed, &[13, u64::from(guild)]))
    }

    /// Member positions of the people in voice.
    pub(crate) fn in_voice(&self, guild: GuildIndex) -> std::ops::RangeInclusive<u64> {
        let mut draw = Draw::new(self.seed, &[14, u64::from(guild)]);
        let most = (self.head(guild).members / 10).clamp(1, VOICE_MOST);
        1..=if guild.is_multiple_of(5) || draw.chance(30) { draw.range(1, most) } else { 0 }
    }

    /// What a member is shown as: about one in four is not offline.
    fn status(&self, guild: GuildIndex, position: u64) -> Option<&'static str> {
        let mut draw = Draw::new(self.seed, &[15, self.user_index(guild, position)]);
        draw.chance(25).then(|| draw.pick(&["online", "idle", "dnd"]))
    }

    fn listed_members(&self, guild: GuildIndex, sight: Visibility) -> Vec<u64> {
        let members = self.head(guild).members;
        if !sight.presences || members > PRESENCES_UP_TO {
            return std::iter::once(0).chain(self.in_voice(guild)).collect();
        }
        if members <= sight.large_threshold {
            return (0..members).collect();
        }
        let voice = self.in_voice(guild);
        let online = (voice.end() + 1..members)
            .filter(|position| self.status(guild, *position).is_some())
            .take(ONLINE_LISTED as usize);
        std::iter::once(0).chain(voice.clone()).chain(online).collect()
    }

    /// The body of GUILD_CREATE for a session; `just_joined` leaves the `unavailable` key out.
    pub(crate) fn guild(&self, guild: GuildIndex, sight: Visibility, just_joined: bool) -> GuildBody {
        let head = self.head(guild);
        let mut draw = Draw::new(self.seed, &[16, u64::from(guild)]);
        let listed = self.listed_members(guild, sight);
        let with_presences = sight.presences && head.members <= PRESENCES_UP_TO;
        let community = head.members > 1_000;
        let first_text = Some(self.text_channel_id(guild, 0));
        GuildBody {
            id: head.id,
            name: self.guild_name(guild),
            icon: draw.chance(80).then(|| draw.hex()),
            splash: None,
            discovery_splash: None,
            banner: None,
            description: community.then(|| "A place for everyone 🌍".to_owned()),
            owner_id: self.user_id(self.user_index(guild, 1)),
            application_id: None,
            afk_channel_id: None,
            afk_timeout: 300,
            system_channel_id: first_text,
            system_channel_flags: 0,
            rules_channel_id: first_text.filter(|_| community),
            public_updates_channel_id: first_text.filter(|_| community),
            safety_alerts_channel_id: None,
            vanity_url_code: None,
            verification_level: draw.range(0, 3),
            default_message_notifications: draw.range(0, 1),
            explicit_content_filter: draw.range(0, 2),
            mfa_level: draw.range(0, 1),
            nsfw_level: 0,
            premium_tier: if community { draw.range(0, 3) } else { 0 },
            premium_subscription_count: if community { draw.range(0, 40) } else { 0 },
            premium_progress_bar_enabled: false,
            preferred_locale: draw.pick(&["en-US", "de", "ja", "pt-BR"]),
            max_members: 500_000,
            max_video_channel_users: 25,
            max_stage_video_channel_users: 50,
            features: if community { vec!["COMMUNITY", "NEWS"] } else { Vec::new() },
            joined_at: time::iso(head.id.timestamp_ms() + draw.range(60_000, 1_000_000_000)),
            large: head.members > sight.large_threshold,
            unavailable: (!just_joined).then_some(false),
            member_count: head.members,
            roles: self.roles(guild),
            channels: self.channels(guild),
            presences: if with_presences { self.presences(guild, &listed) } else { Vec::new() },
            members: listed.into_iter().map(|position| self.member(guild, position, true)).collect(),
            voice_states: if sight.voice_states { self.voice_states(guild) } else { Vec::new() },
            emojis: [],
            stickers: [],
            threads: [],
            stage_instances: [],
            guild_scheduled_events: [],
            soundboard_sounds: [],
        }
    }

    fn presences(&self, guild: GuildIndex, listed: &[u64]) -> Vec<Presence> {
        let people = listed.iter().copied().filter(|position| *position > 0);
        people
            .filter_map(|position| {
                let status = self.status(guild, position)?;
                Some(Presence {
                    user: PartialUser { id: self.user_id(self.user_index(guild, position)) },
                    status,
                    client_status: ClientStatus { desktop: status },
                    activities: [],
                })
            })
            .collect()
    }

    fn voice_states(&self, guild: GuildIndex) -> Vec<VoiceState> {
        let rooms = self.channel_counts(guild).voice;
        self.in_voice(guild)
            .map(|position| {
                let mut draw = Draw::new(self.seed, &[17, u64::from(guild), position]);
                VoiceState {
                    user_id: self.user_id(self.user_index(guild, position)),
                    channel_id: self.voice_channel_id(guild, draw.range(0, rooms - 1)),
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
