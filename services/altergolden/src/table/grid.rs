//! Columns and rows laid out as text: a rule under the heading, nothing between rows.
//!
//! Columns without any text are not shown. A pipe gets every other column in full. On a terminal the least important columns are left out until the rest fits, then the widest
//! texts are cut.

use outside_text::printable_within;
use unicode_width::UnicodeWidthStr;

use crate::screen::{SafeText, Screen};

/// The most characters of one cell.
pub(super) const WIDEST_CELL: usize = 1_000;

/// Between two columns.
const SPACE: usize = 2;

/// A text column is not cut below this width.
const NARROWEST_TEXT: usize = 8;

/// A column and its place in the order of importance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    heading: &'static str,
    is_number: bool,
    /// Columns of a higher rank are left out first; columns of rank 0 always stay.
    rank: u8,
}

/// A column of text.
pub(super) const fn text(heading: &'static str, rank: u8) -> Column {
    Column { heading, is_number: false, rank }
}

/// A column of numbers, aligned to the right and never cut.
pub(super) const fn number(heading: &'static str, rank: u8) -> Column {
    Column { heading, is_number: true, rank }
}

/// The colour of a cell on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    None,
    Good,
    Changing,
    Bad,
}

impl Colour {
    const fn code(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Good => Some(32),
            Self::Changing => Some(33),
            Self::Bad => Some(31),
        }
    }
}

/// The text of a cell, escaped, and its colour.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    /// A cell whose colour shows a state.
    pub(super) fn coloured(text: &str, colour: Colour) -> Self {
        Self { text: printable_within(text, WIDEST_CELL).to_string(), colour }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::coloured(&text, Colour::None)
    }
}

/// A table whose cells may hold text from outside.
pub(super) struct Grid<const COLUMNS: usize> {
    columns: [Column; COLUMNS],
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Grid<COLUMNS> {
    pub(super) fn new(columns: [Column; COLUMNS]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. Control characters are escaped and a cell stays within [`WIDEST_CELL`].
    pub(super) fn add_row(&mut self, cells: [Cell; COLUMNS]) {
        self.rows.push(cells);
    }

    /// Lays the table out, without a line break at the end.
    pub(super) fn render(&self, screen: Screen) -> SafeText {
        let layout = self.layout(screen.width);
        let headings = self.columns.map(|column| Cell::from(column.heading.to_owned()));
        let mut lines = vec![self.line(&headings, &layout.shown, false)];
        lines.push("─".repeat(total(&layout.shown)));
        lines.extend(self.rows.iter().map(|row| self.line(row, &layout.shown, screen.colour)));
        if !layout.left_out.is_empty() {
            lines.push(format!("(too narrow for {}; --json has all)", layout.left_out.join(", ")));
        }
        SafeText::from_escaped(lines.join("\n"))
    }

    fn layout(&self, width: Option<usize>) -> Layout {
        let natural = |index: usize| {
            let cells = self.rows.iter().map(|row| row[index].text.width());
            cells.max().unwrap_or(0).max(self.columns[index].heading.width())
        };
        let is_empty = |index: usize| self.rows.iter().all(|row| row[index].text.is_empty());
        let filled = (0..COLUMNS).filter(|index| !is_empty(*index));
        let mut shown: Vec<(usize, usize)> = filled.map(|index| (index, natural(index))).collect();
        let mut left_out = Vec::new();
        let Some(width) = width else { return Layout { shown, left_out } };
        while total(&shown) > width {
            let least = shown.iter().copied().filter(|(index, _)| self.columns[*index].rank > 0);
            let Some((least, _)) = least.max_by_key(|(index, _)| self.columns[*index].rank) else { break };
            shown.retain(|(index, _)| *index != least);
            left_out.push(self.columns[least].heading);
        }
        while total(&shown) > width {
            let texts = shown.iter_mut().filter(|(index, _)| !self.columns[*index].is_number);
            match texts.max_by_key(|(_, width)| *width) {
                Some((_, widest)) if *widest > NARROWEST_TEXT => *widest -= 1,
                _ => break,
            }
        }
        Layout { shown, left_out }
    }

    fn line(&self, cells: &[Cell; COLUMNS], shown: &[(usize, usize)], colour: bool) -> String {
        let mut line = String::new();
        for (place, &(index, width)) in shown.iter().enumerate() {
            if place > 0 {
                line.push_str(&" ".repeat(SPACE));
            }
            let text = cut(&cells[index].text, width);
            let padding = " ".repeat(width.saturating_sub(text.width()));
            let text = match cells[index].colour.code().filter(|_| colour) {
                Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
                None => text,
            };
            if self.columns[index].is_number {
                line.extend([padding, text]);
            } else {
                line.extend([text, padding]);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Columns by index with their widths, and the headings of the columns that are left out.
struct Layout {
    shown: Vec<(usize, usize)>,
    left_out: Vec<&'static str>,
}

fn total(shown: &[(usize, usize)]) -> usize {
    let widths: usize = shown.iter().map(|(_, width)| width).sum();
    widths + SPACE * shown.len().saturating_sub(1)
}

/// The start of a text, with `…` in place of what does not fit.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if kept.width() >= width {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid<4> {
        let mut grid = Grid::new([number("n", 0), text("name", 0), text("state", 2), text("extra", 1)]);
        let ready = || Cell::coloured("ready", Colour::Good);
        grid.add_row(["7".to_owned().into(), "日本".to_owned().into(), ready(), String::new().into()]);
        grid.add_row(["1000".to_owned().into(), "w".repeat(30).into(), ready(), "x".repeat(9).into()]);
        grid
    }

    #[test]
    fn piped_output_is_plain_and_uncut() {
        let shown = grid().render(Screen::default()).to_string();
        let expected = [
            format!("   n  name{}  state  extra", " ".repeat(26)),
            "─".repeat(54),
            format!("   7  日本{}  ready", " ".repeat(26)),
            format!("1000  {}  ready  xxxxxxxxx", "w".repeat(30)),
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn narrow_terminals_lose_columns_by_rank_then_cut_texts() {
        let at = |width| grid().render(Screen { width: Some(width), colour: false }).to_string();
        let heading =
            |shown: &str| shown.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(at(54), grid().render(Screen::default()).to_string());
        assert_eq!(heading(&at(53)), "n name extra");
        assert_eq!(heading(&at(46)), "n name");
        let narrow = at(20);
        assert!(narrow.contains(&format!("1000  {}…\n", "w".repeat(13))), "{narrow}");
        assert!(narrow.ends_with("(too narrow for state, extra; --json has all)"), "{narrow}");
        let rows = narrow.lines().take(4);
        assert!(rows.map(UnicodeWidthStr::width).max() == Some(20), "{narrow}");
        assert!(at(1).contains("1000"), "numbers are never cut");
    }

    #[test]
    fn columns_without_text_are_not_shown() {
        let mut grid = Grid::new([text("NAME", 0), text("DETAIL", 0)]);
        grid.add_row(["a".to_owned().into(), String::new().into()]);
        assert_eq!(grid.render(Screen::default()).to_string(), "NAME\n────\na");
    }

    #[test]
    fn colour_does_not_change_the_layout() {
        let coloured = grid().render(Screen { width: None, colour: true }).to_string();
        assert!(coloured.contains("\u{1b}[32mready\u{1b}[0m"), "{coloured}");
        let plain = coloured.replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
        assert_eq!(plain, grid().render(Screen::default()).to_string());
    }

    #[test]
    fn cuts_fit_wide_characters() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert!(cut("日本語", 5).width() <= 5);
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 2), "a…");
    }
}
