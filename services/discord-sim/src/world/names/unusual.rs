//! Names that break careless programs: other scripts, right to left, joined emoji, combining marks, quotes, longest names.
//!
//! Lengths are within Discord's limits in UTF-16 units, the strictest way to count characters.

use super::Draw;

/// One name in this many is unusual.
const ONE_IN: u64 = 12;

/// Names of users: at most 32 characters. [Source](https://docs.discord.com/developers/resources/user#usernames-and-nicknames).
pub(in crate::world) const PEOPLE: &[&str] = &[
    "田中さくら",
    "김민준",
    "王小明",
    "Дмитрий Иванович",
    "محمد العربي",
    "שלום עולם",
    "สมชาย",
    "अमित कुमार",
    "👩🏽\u{200d}🚀 Ada",
    "👨\u{200d}👩\u{200d}👧\u{200d}👦",
    "🏳\u{fe0f}\u{200d}🌈 Robin",
    "Jose\u{301} Nu\u{301}n\u{303}ez",
    "Z\u{337}\u{31b}a\u{334}\u{305}l\u{335}\u{302}g\u{336}\u{300}o\u{338}",
    "\"quoted\" O'Neil",
    "back\\slash\\",
    "</script><b>",
    "{\"op\":9,\"s\":1,\"t\":null}",
    "\u{200f}عربي\u{200f} mixed",
    "𝕱𝖆𝖓𝖈𝖞",
    "ǅ ß ŉ İ",
    "𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪𝔪",
    "鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱鬱",
    "a name of thirty-two characters!",
];

/// Names of guilds, categories, voice channels, threads and roles: at most 100 characters.
/// [Source](https://docs.discord.com/developers/resources/guild#guild-object).
pub(in crate::world) const PLACES: &[&str] = &[
    "日本語サーバー の部屋",
    "深夜の雑談",
    "한국 게임방 🎮",
    "广东话 · 粵語",
    "Клуб любителей кошек",
    "مجتمع الألعاب العربي",
    "קהילת המשחקים",
    "ภาษาไทย",
    "👨\u{200d}👩\u{200d}👧\u{200d}👦 the family",
    "🏴\u{200d}☠\u{fe0f} pirates 🏴\u{200d}☠\u{fe0f}",
    "Cafe\u{301} Zoe\u{308}",
    "V\u{34e}\u{300}o\u{334}i\u{335}d\u{336}",
    "The \"Quoted\" Place",
    "C:\\games\\saves\\",
    "<@&0> `code` **bold**",
    "{\"op\":7,\"d\":null}",
    "100% of %s and ${all}",
    "長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長長",
    "the longest name that Discord takes has one hundred characters, and this one has every last of them!",
];

/// Names of text channels: at most 100 characters, in lower case, without spaces.
pub(in crate::world) const SLUGS: &[&str] = &[
    "日本語-雑談",
    "おしらせ",
    "общение",
    "الدردشة-العامة",
    "한국어",
    "👩\u{200d}💻-dev",
    "🏳\u{fe0f}\u{200d}🌈・pride",
    "cafe\u{301}-du-monde",
    "│general│",
    "ไทย",
    "廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣廣",
    "a-text-channel-with-the-longest-name-that-can-be-has-one-hundred-characters-and-this-has-all-of-them",
];

/// Draws one of these names with a probability of one in twelve.
pub(in crate::world) fn unusual(mut draw: Draw, names: &[&'static str]) -> Option<&'static str> {
    (draw.range(1, ONE_IN) == 1).then(|| draw.pick(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_names_have_discords_limit() {
        for (names, most) in [(PEOPLE, 32), (PLACES, 100), (SLUGS, 100)] {
            let lengths = names.iter().map(|name| name.encode_utf16().count());
            assert_eq!(lengths.max(), Some(most));
        }
        assert!(SLUGS.iter().all(|name| !name.contains(' ') && name.to_lowercase() == *name));
    }
}
