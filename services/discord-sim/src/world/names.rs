//! Names of guilds, channels, roles and users, including Unicode names.
//!
//! A user's name is a [`Name`], not a string, so that a search over all members of a large guild allocates no strings.

mod unusual;

pub(super) use unusual::unusual;
pub(super) use unusual::{PEOPLE, PLACES, SLUGS};

use super::draw::Draw;
use std::fmt;

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
const PURPOSES: &[&str] = &["plans", "ideas", "questions", "night", "contest", "help", "votes"];
const NICKS: &[&str] = &["Zoë", "Ruşen", "さくら", "ghost 👻", "Ana-María", "the real one"];

/// Draws a guild's name; about one in eight is not ASCII.
pub(super) fn guild(draw: &mut Draw) -> String {
    if draw.chance(12) {
        return format!("{} {}", draw.pick(UNICODE), draw.range(1, 999));
    }
    format!("{} {} {}", draw.pick(FIRST), draw.pick(SECOND), draw.range(1, 9_999))
}

/// Draws a text channel's name.
pub(super) fn text_channel(draw: &mut Draw) -> String {
    format!("{}-{}", draw.pick(TOPICS), draw.range(1, 99))
}

/// Draws a voice channel's name.
pub(super) fn voice_channel(draw: &mut Draw) -> &'static str {
    draw.pick(VOICE)
}

/// Draws a category's name.
pub(super) fn category(draw: &mut Draw) -> &'static str {
    draw.pick(SECTIONS)
}

/// Draws the name of a thread or scheduled event.
pub(super) fn thread(draw: &mut Draw) -> String {
    format!("{} {} for {}", draw.pick(FIRST), draw.pick(PURPOSES), draw.pick(TOPICS))
}

/// Draws a role's name.
pub(super) fn role(draw: &mut Draw) -> &'static str {
    draw.pick(RANKS)
}

/// Draws a member's nick.
pub(super) fn nick(draw: &mut Draw) -> &'static str {
    draw.pick(NICKS)
}

/// Draws a user's unique name, which Discord lower-cases.
pub(super) fn username(draw: &mut Draw, index: u64) -> Name {
    Name { parts: [draw.pick(FIRST), ".", draw.pick(SECOND)], number: Some(index) }
}

/// Draws a user's display name.
pub(super) fn display(draw: &mut Draw) -> Name {
    if draw.chance(20) {
        draw.pick(NICKS).into()
    } else {
        Name { parts: [draw.pick(FIRST), " ", draw.pick(SECOND)], number: None }
    }
}

/// A name in parts: three words and an optional number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    parts: [&'static str; 3],
    number: Option<u64>,
}

impl Name {
    /// Returns whether the name begins with a prefix, ignoring case. The prefix must come from [`fold`].
    pub(super) fn starts_with(&self, folded: &str) -> bool {
        let mut wanted = folded.chars();
        for letter in self.parts.iter().flat_map(|part| lower(part)) {
            match wanted.next() {
                None => return true,
                Some(other) if other == letter => {}
                Some(_) => return false,
            }
        }
        let rest = wanted.as_str();
        rest.is_empty() || self.number.is_some_and(|number| number.to_string().starts_with(rest))
    }
}

impl From<&'static str> for Name {
    fn from(whole: &'static str) -> Self {
        Self { parts: [whole, "", ""], number: None }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| formatter.write_str(part))?;
        self.number.map_or(Ok(()), |number| number.fmt(formatter))
    }
}

/// Folds the case of a prefix for [`Name::starts_with`].
pub(super) fn fold(prefix: &str) -> String {
    lower(prefix).collect()
}

fn lower(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}
