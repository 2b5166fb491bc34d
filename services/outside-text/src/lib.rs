//! Text from outside made safe to show: control characters escaped, length bounded, the process's own secrets hidden.
//!
//! Names of guilds and users, close reasons, error texts of libraries and strings of other processes reach logs, errors and
//! terminals only through [`printable`] or [`printable_within`]. A payload of Discord's reaches none of them at any length.

use std::fmt::{self, Write as _};

mod json;
mod secrets;

pub use json::without_lone_surrogates;
pub use secrets::{hide_secret, without_secrets};

/// Characters shown by default.
pub const MOST: usize = 200;

/// Shows at most [`MOST`] characters of `text` on one line, with control characters escaped and secrets hidden.
pub fn printable(text: &str) -> Printable<'_> {
    printable_within(text, MOST)
}

/// Shows at most `most` characters of `text` on one line, with control characters escaped and secrets hidden.
pub fn printable_within(text: &str, most: usize) -> Printable<'_> {
    Printable { text, most }
}

/// Displays text from outside; see [`printable`]. An escaped character looks as in Rust: `\u{1b}`, `\n`.
#[derive(Clone, Copy)]
pub struct Printable<'a> {
    text: &'a str,
    most: usize,
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Before the cut: the start of a secret may be too short to be recognized.
        let text = without_secrets(self.text);
        let mut rest = text.chars();
        for c in rest.by_ref().take(self.most) {
            if is_unsafe(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        if rest.next().is_some() {
            f.write_char('…')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Escapes control characters except line breaks, and hides secrets; cuts nothing.
pub fn printable_lines(text: &str) -> impl fmt::Display {
    let lines: Vec<String> =
        text.split('\n').map(|line| printable_within(line, usize::MAX).to_string()).collect();
    lines.join("\n")
}

/// Escapes control characters as JSON does, so that JSON text keeps its meaning, and hides secrets.
pub fn printable_json(text: &str) -> impl fmt::Display {
    let text = without_secrets(text);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match u16::try_from(u32::from(c)) {
            // Between the values of indented JSON.
            Ok(_) if c == '\n' => shown.push(c),
            Ok(unit) if is_unsafe(c) => shown.extend(["\\u", &format!("{unit:04x}")]),
            _ => shown.push(c),
        }
    }
    shown
}

/// Whether `c` could be a terminal command, a line break or a change of the writing direction
/// ([Unicode UAX 9](https://www.unicode.org/reports/tr9/)): these make forged lines and reordered text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_unchanged() {
        for text in ["", "Zoë's 日本 server 👨‍👩‍👧", "a\\b \"c\""] {
            assert_eq!(printable(text).to_string(), text);
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        let controls = (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control());
        for c in controls.chain(['\u{2028}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{feff}']) {
            let shown = printable(&format!("a{c}b")).to_string();
            assert!(!shown.contains(c) && shown.starts_with("a\\") && shown.ends_with('b'), "{shown:?}");
        }
    }

    #[test]
    fn line_breaks_and_json_survive() {
        assert_eq!(printable_lines("a\nb\u{1b}[2K\rc").to_string(), "a\nb\\u{1b}[2K\\rc");
        assert_eq!(
            printable_json("{\n  \"a\": \"\u{202e}\u{85}ok\"\n}").to_string(),
            "{\n  \"a\": \"\\u202e\\u0085ok\"\n}"
        );
    }

    #[test]
    fn long_text_is_cut_by_characters() {
        let text = "é".repeat(MOST + 1);
        let shown = printable(&text).to_string();
        assert_eq!(shown.chars().count(), MOST + 1);
        assert!(shown.ends_with('…'));
        assert_eq!(printable_within("abc", 3).to_string(), "abc");
    }
}
