//! Names of guilds, channels, roles and people, unicode among them.

use super::draw::Draw;

const FIRST: &[&str] = &[
    "Golden", "Silent", "Pixel", "Midnight", "Cosmic", "Tiny", "Crimson", "Frozen", "Neon", "Lost", "Brave",
    "Lucky", "Hidden", "Electric", "Velvet", "Rusty", "Solar", "Mystic",
];
const SECOND: &[&str] = &[
    "Guild", "Lounge", "Tavern", "Arcade", "Hideout", "Academy", "Station", "Garden", "Raiders", "Studio",
    "Kitchen", "Library", "Crew", "Harbor", "Forge", "Society", "Nest", "Camp",
];
const UNICODE: &[&str] = &[
    "日本語サーバー",
    "한국 게임방",
    "Клуб друзей",
    "مجتمع الألعاب",
    "Café Zoë",
    "ελληνική παρέα",
    "🎮 Gamers 🎮",
    "नमस्ते दुनिया",
    "Große Straße",
    "👨‍👩‍👧‍👦 family",
    "ไทยแลนด์",
    "𝕱𝖆𝖓𝖈𝖞",
];
const TOPICS: &[&str] = &[
    "general",
    "memes",
    "off-topic",
    "announcements",
    "support",
    "music",
    "art",
    "bots",
    "introductions",
    "screenshots",
    "trading",
    "raids",
    "feedback",
    "一般",
    "разговоры",
    "clips",
];
const VOICE: &[&str] = &["Lounge", "Gaming", "Music 🎵", "Study", "AFK", "Raid Team", "雑談"];
const SECTIONS: &[&str] = &["Information", "Text Channels", "Voice Channels", "Community", "Staff"];
const RANKS: &[&str] =
    &["Admin", "Moderator", "Helper", "Booster", "Veteran", "Member", "Artist", "DJ", "Muted", "✨ VIP ✨"];
const NICKS: &[&str] = &["Zoë", "Ruşen", "さくら", "ghost 👻", "Ana-María", "the real one"];

/// A guild's name; about one in eight is not ASCII.
pub(super) fn guild(draw: &mut Draw) -> String {
    if draw.chance(12) {
        return format!("{} {}", draw.pick(UNICODE), draw.range(1, 999));
    }
    format!("{} {} {}", draw.pick(FIRST), draw.pick(SECOND), draw.range(1, 9_999))
}

/// A text channel's name.
pub(super) fn text_channel(draw: &mut Draw) -> String {
    format!("{}-{}", draw.pick(TOPICS), draw.range(1, 99))
}

/// A voice channel's name.
pub(super) fn voice_channel(draw: &mut Draw) -> &'static str {
    draw.pick(VOICE)
}

/// A category's name.
pub(super) fn category(draw: &mut Draw) -> &'static str {
    draw.pick(SECTIONS)
}

/// A role's name.
pub(super) fn role(draw: &mut Draw) -> &'static str {
    draw.pick(RANKS)
}

/// What one guild calls a member.
pub(super) fn nick(draw: &mut Draw) -> &'static str {
    draw.pick(NICKS)
}

/// A user's unique name, lower case as Discord keeps it.
pub(super) fn username(draw: &mut Draw, index: u64) -> String {
    let (first, second) = (draw.pick(FIRST).to_lowercase(), draw.pick(SECOND).to_lowercase());
    format!("{first}.{second}{index}")
}

/// A user's display name.
pub(super) fn display(draw: &mut Draw) -> String {
    if draw.chance(20) {
        draw.pick(NICKS).to_string()
    } else {
        format!("{} {}", draw.pick(FIRST), draw.pick(SECOND))
    }
}
