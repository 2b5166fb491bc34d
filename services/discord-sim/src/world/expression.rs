//! A guild's own emojis and stickers.

use super::{Draw, GuildIndex, Snowflake, World};
use serde::Serialize;

/// Limit of emojis per guild, as without boosts.
const EMOJIS: u64 = 50;
/// Limit of stickers per guild, as without boosts.
const STICKERS: u64 = 5;
/// Time between the creation of two, in milliseconds.
const STEP_MS: u64 = 3_600_000;

const MOODS: &[&str] = &["happy", "sad", "angry", "blob", "pepe", "cat", "party", "cool", "shy", "sleepy"];
const DEEDS: &[&str] = &["wave", "dance", "cry", "laugh", "hug", "stare", "love", "nope", "think", "run"];
const TAGS: &[&str] = &["wave", "joy", "heart", "thinking", "cat"];

/// An emoji object without its creator, which only users who may manage emojis see.
/// [Source](https://docs.discord.com/developers/resources/emoji#emoji-object).
#[derive(Debug, Serialize)]
pub(crate) struct Emoji {
    id: Snowflake,
    name: String,
    roles: [Snowflake; 0],
    require_colons: bool,
    managed: bool,
    animated: bool,
    available: bool,
}

/// A sticker object of type 2, which belongs to a guild.
/// [Source](https://docs.discord.com/developers/resources/sticker#sticker-object).
#[derive(Debug, Serialize)]
pub(crate) struct Sticker {
    id: Snowflake,
    guild_id: Snowflake,
    name: String,
    description: Option<String>,
    tags: &'static str,
    #[serde(rename = "type")]
    kind: u8,
    format_type: u64,
    available: bool,
}

impl World {
    /// Returns the emojis of a guild: 0 to 50.
    pub(crate) fn emojis(&self, guild: GuildIndex) -> Vec<Emoji> {
        let made_ms = self.head(guild).id.timestamp_ms();
        let count = Draw::new(self.seed, &[50, u64::from(guild)]).skewed(1, EMOJIS + 1) - 1;
        (0..count)
            .map(|number| {
                let mut draw = Draw::new(self.seed, &[51, u64::from(guild), number]);
                Emoji {
                    id: Snowflake::new(made_ms + (number + 1) * STEP_MS, draw.word()),
                    name: format!("{}_{}{number}", draw.pick(MOODS), draw.pick(DEEDS)),
                    roles: [],
                    require_colons: true,
                    managed: false,
                    animated: draw.chance(20),
                    available: true,
                }
            })
            .collect()
    }

    /// Returns the stickers of a guild: 0 to 5.
    pub(crate) fn stickers(&self, guild: GuildIndex) -> Vec<Sticker> {
        let head = self.head(guild);
        let count = Draw::new(self.seed, &[52, u64::from(guild)]).skewed(1, STICKERS + 1) - 1;
        (0..count)
            .map(|number| {
                let mut draw = Draw::new(self.seed, &[53, u64::from(guild), number]);
                let made_ms = head.id.timestamp_ms() + (EMOJIS + number + 1) * STEP_MS;
                Sticker {
                    id: Snowflake::new(made_ms, draw.word()),
                    guild_id: head.id,
                    name: format!("{} {}", draw.pick(MOODS), draw.pick(DEEDS)),
                    description: draw.chance(50).then(|| "Drawn by one of us \"with love\"".to_owned()),
                    tags: draw.pick(TAGS),
                    kind: 2,
                    format_type: draw.pick(&[1, 1, 1, 2, 4]),
                    available: true,
                }
            })
            .collect()
    }
}
