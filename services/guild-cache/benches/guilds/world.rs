//! Guilds with random ids, hashes, names, topics and overwrites. Guilds with consecutive ids would compress much better than real ones.

use std::fmt::Write as _;

/// Random numbers from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An id of the last ten years.
    pub(crate) fn id(&mut self) -> u64 {
        (self.below(315_000_000_000) << 22) | self.below(1 << 22)
    }

    fn hash(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }

    /// Permissions as administrators set them: a few common ones. In the hard world: any bits.
    fn permissions(&mut self, is_hard: bool) -> u64 {
        const COMMON: [u32; 12] = [10, 11, 12, 13, 14, 15, 16, 18, 20, 21, 31, 38];
        if is_hard {
            return self.below(1 << 46);
        }
        COMMON.iter().filter(|_| self.chance(20)).fold(0, |bits, bit| bits | 1 << bit)
    }

    /// A pronounceable word that no dictionary has.
    fn word(&mut self) -> String {
        let mut word = String::new();
        for _ in 0..2 + self.below(3) {
            word.push(b"bcdfghjklmnprstvwz"[self.below(18) as usize].into());
            word.push(b"aeiouy"[self.below(6) as usize].into());
        }
        word
    }

    fn words(&mut self, count: u64) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn time(&mut self) -> String {
        let (year, month, day) = (2017 + self.below(9), 1 + self.below(12), 1 + self.below(28));
        let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
        let micros = self.below(1_000_000);
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number from 1 to `most` as sizes are spread: the share of numbers above x is about 1 / x.
    fn pareto(&mut self, most: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (1.0 / (1.0 - unit)).min(most)
    }
}

/// How large a guild is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) roles: usize,
    pub(crate) channels: usize,
    pub(crate) members: usize,
    pub(crate) voice: usize,
    pub(crate) overwrites: u64,
    pub(crate) is_hard: bool,
}

impl Size {
    /// The guild of the measurements: about 28.5 kB.
    pub(crate) const USUAL: Self =
        Self { roles: 20, channels: 30, members: 10, voice: 3, overwrites: 3, is_hard: false };
    /// The hard guild: overwrites with random bits, and a topic in each channel.
    pub(crate) const HARD: Self = Self { is_hard: true, ..Self::USUAL };

    /// A size as real guilds have it: most are small, a few have hundreds of channels, roles and listed members.
    pub(crate) fn skewed(random: &mut Random) -> Self {
        let scale = random.pareto(300.0);
        let grown = scale.powf(0.6);
        let members = 3.0 * scale;
        Self {
            roles: (6.0 * grown) as usize,
            channels: (10.0 * grown) as usize,
            members: members as usize,
            voice: (members / 10.0).min(25.0) as usize,
            ..Self::USUAL
        }
    }
}

/// A guild's ids and the data of its GUILD_CREATE.
pub(crate) struct World {
    pub(crate) id: u64,
    pub(crate) channels: Vec<u64>,
    pub(crate) users: Vec<u64>,
    pub(crate) roles: Vec<u64>,
    pub(crate) text: String,
}

pub(crate) fn guild(random: &mut Random, size: Size) -> World {
    let id = random.id();
    let mut ids = |count| (0..count).map(|_| random.id()).collect::<Vec<u64>>();
    let (roles, channels, users) = (ids(size.roles), ids(size.channels), ids(size.members));
    let list = |texts: Vec<String>| format!("[{}]", texts.join(","));
    let role_texts = roles.iter().enumerate().map(|(place, role)| self::role(random, *role, place)).collect();
    let channel_texts =
        (0..size.channels).map(|place| channel(random, &channels, &roles, place, size)).collect();
    let member_texts = users.iter().map(|user| member(random, *user, &roles)).collect();
    let voice_texts = (0..size.voice)
        .map(|place| {
            let channel = channels[random.below(channels.len() as u64) as usize];
            voice(random, users[place % users.len()], channel)
        })
        .collect();
    let emojis = (0..3)
        .map(|_| {
            let (id, name) = (random.id(), random.word());
            format!(r#"{{"roles":[],"require_colons":true,"name":"{name}","managed":false,"id":"{id}","available":true,"animated":false}}"#)
        })
        .collect();
    let (name, icon, owner) = (random.words(2), random.hash(), users.first().copied().unwrap_or(1));
    let (system, joined, count) = (channels.first().copied().unwrap_or(1), random.time(), size.members);
    let text = format!(
        r#"{{"id":"{id}","name":"{name}","icon":"{icon}","description":null,"home_header":null,"splash":null,"discovery_splash":null,"features":["COMMUNITY","NEWS"],"banner":null,"owner_id":"{owner}","application_id":null,"region":"deprecated","afk_channel_id":null,"afk_timeout":300,"system_channel_id":"{system}","system_channel_flags":0,"widget_enabled":false,"widget_channel_id":null,"verification_level":{},"default_message_notifications":1,"mfa_level":0,"explicit_content_filter":2,"max_presences":null,"max_members":500000,"max_stage_video_channel_users":50,"max_video_channel_users":25,"vanity_url_code":null,"premium_tier":0,"premium_subscription_count":0,"preferred_locale":"en-US","rules_channel_id":null,"safety_alerts_channel_id":null,"public_updates_channel_id":null,"premium_progress_bar_enabled":false,"nsfw":false,"nsfw_level":0,"joined_at":"{joined}","large":false,"unavailable":false,"member_count":{count},"roles":{},"emojis":{},"stickers":[],"channels":{},"threads":[],"members":{},"voice_states":{},"presences":[],"stage_instances":[],"guild_scheduled_events":[],"soundboard_sounds":[]}}"#,
        random.below(4),
        list(role_texts),
        list(emojis),
        list(channel_texts),
        list(member_texts),
        list(voice_texts),
    );
    World { id, channels, users, roles, text }
}

/// Overwrites of a channel.
fn overwrites(random: &mut Random, roles: &[u64], size: Size) -> String {
    let mut over = String::new();
    for _ in 0..size.overwrites {
        let who = roles[random.below(roles.len() as u64) as usize];
        let (allow, deny) = (random.permissions(size.is_hard), random.permissions(size.is_hard));
        let comma = if over.is_empty() { "" } else { "," };
        write!(over, r#"{comma}{{"id":"{who}","type":0,"allow":"{allow}","deny":"{deny}"}}"#).unwrap();
    }
    over
}

fn role(random: &mut Random, id: u64, place: usize) -> String {
    let (name, permissions, color) = (random.words(2), random.permissions(true), random.below(1 << 24));
    format!(
        r#"{{"id":"{id}","name":"{name}","description":null,"permissions":"{permissions}","position":{place},"color":{color},"colors":{{"primary_color":{color},"secondary_color":null,"tertiary_color":null}},"hoist":{},"managed":false,"mentionable":{},"icon":null,"unicode_emoji":null,"flags":0}}"#,
        random.chance(50),
        random.chance(30)
    )
}

/// A channel of the guild. One in ten is a category, one in five is for voice.
pub(crate) fn channel(
    random: &mut Random,
    channels: &[u64],
    roles: &[u64],
    place: usize,
    size: Size,
) -> String {
    let (id, name) = (channels[place], random.words(2).replace(' ', "-"));
    // Most channels have their category's overwrites.
    let mut of_category = Random(channels[place / 10 * 10]);
    let follows = !size.is_hard && random.chance(70);
    let over = overwrites(if follows { &mut of_category } else { random }, roles, size);
    let parent = channels[place / 10 * 10];
    let common = format!(
        r#""id":"{id}","name":"{name}","position":{place},"flags":0,"permission_overwrites":[{over}]"#
    );
    match place % 10 {
        0 => format!(r#"{{{common},"type":4,"parent_id":null}}"#),
        1 | 2 => format!(
            r#"{{{common},"type":2,"parent_id":"{parent}","bitrate":64000,"user_limit":0,"rtc_region":null,"nsfw":false,"rate_limit_per_user":0,"icon_emoji":{{"id":null,"name":"🎙️"}},"last_message_id":null}}"#
        ),
        _ => {
            let last = random.id();
            let topic = if size.is_hard || random.chance(40) {
                format!("\"{}\"", random.words(8))
            } else {
                "null".to_owned()
            };
            format!(
                r#"{{{common},"type":0,"parent_id":"{parent}","topic":{topic},"nsfw":false,"rate_limit_per_user":0,"last_message_id":"{last}","last_pin_timestamp":"{}"}}"#,
                random.time()
            )
        }
    }
}

pub(crate) fn member(random: &mut Random, user: u64, roles: &[u64]) -> String {
    let mut held = Vec::new();
    for _ in 0..random.below(4) {
        held.push(format!("\"{}\"", roles[random.below(roles.len() as u64) as usize]));
    }
    let nick = if random.chance(30) { format!("\"{}\"", random.word()) } else { "null".to_owned() };
    let (name, shown, avatar) = (random.word(), random.words(2), random.hash());
    format!(
        r#"{{"user":{{"id":"{user}","username":"{name}","avatar":"{avatar}","discriminator":"0","public_flags":{},"bot":false,"global_name":"{shown}","avatar_decoration_data":null,"collectibles":null,"primary_guild":null,"display_name_styles":null}},"roles":[{}],"premium_since":null,"pending":false,"nick":{nick},"mute":false,"joined_at":"{}","flags":{},"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null}}"#,
        random.below(1 << 12),
        held.join(","),
        random.time(),
        random.below(4),
    )
}

pub(crate) fn voice(random: &mut Random, user: u64, channel: u64) -> String {
    format!(
        r#"{{"user_id":"{user}","suppress":false,"session_id":"{}","self_video":false,"self_mute":{},"self_deaf":false,"request_to_speak_timestamp":null,"mute":false,"deaf":false,"channel_id":"{channel}"}}"#,
        random.hash(),
        random.chance(30)
    )
}

/// An object with a `guild_id`, as in events.
pub(crate) fn of_guild(object: &str, guild: u64) -> String {
    format!("{},\"guild_id\":\"{guild}\"}}", &object[..object.len() - 1])
}
