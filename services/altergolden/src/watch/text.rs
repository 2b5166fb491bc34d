//! Text of the screen: colours, numbers, and lines that fit.

use std::time::Duration;

use altergolden_proto::v1;
use outside_text::printable;
use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr as _;

/// Stands for a value that is not known.
pub(super) const UNKNOWN: &str = "–";

/// The styles of the screen; with `colour` false they are bold, dim and reversed alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    /// Whether the terminal shows colours.
    pub(super) colour: bool,
}

impl Palette {
    fn pick(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn good(self) -> Style {
        self.pick(Color::Green)
    }

    pub(super) fn changing(self) -> Style {
        self.pick(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.pick(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn info(self) -> Style {
        self.pick(Color::Cyan)
    }

    pub(super) fn faint(self) -> Style {
        if self.colour { Style::new().fg(Color::DarkGray) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    pub(super) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn selected() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

/// The letter of a state: readable without colour, and different for each.
pub(super) fn letter(status: i32) -> char {
    match v1::ShardStatus::try_from(status) {
        Ok(v1::ShardStatus::Ready) => '■',
        Ok(v1::ShardStatus::Unassigned) => '-',
        Ok(v1::ShardStatus::Queued) => 'q',
        Ok(v1::ShardStatus::Identifying) => 'i',
        Ok(v1::ShardStatus::Resuming) => 'r',
        Ok(v1::ShardStatus::Moving) => 'm',
        Ok(v1::ShardStatus::Silent) => 's',
        Ok(v1::ShardStatus::Reconnecting) => 'c',
        Ok(v1::ShardStatus::Stopped) => 'x',
        Ok(v1::ShardStatus::Failed) => 'F',
        Ok(v1::ShardStatus::Unspecified) | Err(_) => '?',
    }
}

/// The style of a state.
pub(super) fn state_style(status: i32, palette: Palette) -> Style {
    match v1::ShardStatus::try_from(status) {
        Ok(v1::ShardStatus::Ready) => palette.good(),
        Ok(v1::ShardStatus::Queued | v1::ShardStatus::Identifying | v1::ShardStatus::Resuming) => {
            palette.changing()
        }
        Ok(v1::ShardStatus::Moving) => palette.info(),
        _ => palette.bad(),
    }
}

/// A number with `,` between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 shard`, `2 shards`.
pub(super) fn counted(number: u64, unit: &str) -> String {
    format!("{} {unit}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Events a second, exact while they are few.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => UNKNOWN.to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => grouped(rate.round() as u64),
    }
}

/// Bytes as MiB or GiB.
pub(super) fn memory(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    match bytes {
        0 => UNKNOWN.to_owned(),
        _ if mib < 1_000.0 => format!("{mib:.0} MiB"),
        _ => format!("{:.1} GiB", mib / 1_024.0),
    }
}

/// An age in its largest useful unit: `0.4 s`, `12 s`, `3 min`.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        0..10 => format!("{:.1} s", age.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The age of a moment in milliseconds since the Unix epoch; `None` for one that can't be a time of this fleet.
pub(super) fn age_of(at_unix_ms: u64, now_unix_ms: u64) -> Option<String> {
    /// 2020-01-01: before this program existed.
    const EARLIEST: u64 = 1_577_836_800_000;
    let ms = now_unix_ms.checked_sub(at_unix_ms).filter(|_| at_unix_ms >= EARLIEST)?;
    Some(age(Duration::from_millis(ms)))
}

/// `HH:MM:SS` in UTC.
pub(super) fn clock(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A bar of `width` characters.
pub(super) fn bar(done: u64, all: u64, width: usize) -> (String, String) {
    let filled = (u128::from(done.min(all)) * width as u128).checked_div(u128::from(all));
    let filled = filled.map_or(width, |filled| filled as usize);
    ("█".repeat(filled), "░".repeat(width - filled))
}

/// The text, or its beginning and `…` when it is wider.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if kept.width() >= width {
            kept.pop();
            kept.push('…');
            break;
        }
    }
    kept
}

/// Text from outside in a column of `width`: safe, cut, filled with spaces.
pub(super) fn field(text: &str, width: usize) -> String {
    let text = cut(&printable(text).to_string(), width);
    let space = " ".repeat(width.saturating_sub(text.width()));
    text + &space
}

/// A number in a column of `width`, aligned to the right; one that is too wide is cut.
pub(super) fn number(text: &str, width: usize) -> String {
    let text = cut(text, width);
    " ".repeat(width.saturating_sub(text.width())) + &text
}

/// Words broken into lines of at most `width` columns; longer words are broken inside. `indent` begins each line but the first.
pub(super) fn wrapped(text: &str, width: usize, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let inner = width.saturating_sub(indent.width()).max(1);
    for word in text.split(' ') {
        let mut word = word.to_owned();
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while line.width() + word.width() > width && word.width() > inner {
            let mut head = String::new();
            let mut rest = word.chars();
            for c in rest.by_ref() {
                head.push(c);
                if line.width() + head.width() >= width {
                    break;
                }
            }
            word = rest.collect();
            lines.push(std::mem::replace(&mut line, indent.to_owned()) + &head);
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

/// A line of `width` columns with `right` at its end; `right` is left out when it does not fit.
pub(super) fn with_right<'a>(mut left: Line<'a>, right: Vec<Span<'a>>, width: usize) -> Line<'a> {
    let right_width: usize = right.iter().map(Span::width).sum();
    if let Some(space) = width.checked_sub(left.width() + right_width + 1).filter(|_| right_width > 0) {
        left.spans.push(Span::raw(" ".repeat(space)));
        left.spans.extend(right);
    }
    left
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_state_has_a_letter_of_its_own() {
        let letters: HashSet<char> = (0..=i32::from(v1::ShardStatus::Failed)).map(letter).collect();
        assert_eq!(letters.len(), 11);
        assert_eq!(letter(99), '?');
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([None, Some(0.0), Some(9.94), Some(1234.4)].map(rate), ["–", "0.0", "9.9", "1,234"]);
        assert_eq!([0, 99 << 20, 2048 << 20].map(memory), ["–", "99 MiB", "2.0 GiB"]);
        let ages = [0.44, 12.3, 130.0, 8_000.0, 200_000.0].map(|s| age(Duration::from_secs_f64(s)));
        assert_eq!(ages, ["0.4 s", "12 s", "2 min", "2 h", "2 d"]);
        assert_eq!((counted(1, "shard"), counted(1_000, "guild")), ("1 shard".into(), "1,000 guilds".into()));
        assert_eq!(clock(1_795_389_527_579), "23:18:47 UTC");
        assert_eq!(age_of(7, 1_795_389_527_579), None, "an epoch that is no time");
        assert_eq!(age_of(1_795_389_527_000, 1_795_389_526_000), None, "in the future");
        assert_eq!(age_of(1_795_389_467_000, 1_795_389_527_000).unwrap(), "60 s");
    }

    #[test]
    fn bars_are_as_wide_as_asked() {
        assert_eq!(bar(3, 6, 4), ("██".into(), "░░".into()));
        assert_eq!(bar(0, 0, 2), ("██".into(), String::new()));
        assert_eq!(bar(9, 6, 2), ("██".into(), String::new()));
        assert_eq!(bar(u64::MAX, u64::MAX, 3).0, "███");
    }

    #[test]
    fn fields_are_exactly_as_wide_as_asked() {
        assert_eq!(field("ab", 4), "ab  ");
        assert_eq!(field("abcdef", 4), "abc…");
        assert_eq!(field("\u{1b}[2J", 20), "\\u{1b}[2J           ");
        for width in 1..9 {
            assert!(field("日本語 and more", width).width() <= width);
        }
        assert_eq!(number("7", 3), "  7");
        assert_eq!(number("12345", 3), "12…");
    }

    #[test]
    fn long_text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 7, "  "), ["one two", "  three"]);
        assert_eq!(wrapped("abcdefgh i", 4, " "), ["abcd", " efg", " h i"]);
        assert_eq!(wrapped("", 4, " "), [""]);
        for line in wrapped(&"日本 x ".repeat(50), 9, "  ") {
            assert!(line.width() <= 10, "{line}");
        }
    }
}
