//! The screen as lines, made from the model alone. Pure.
//!
//! Everything from outside goes through `outside-text` before it becomes a span.

use std::time::Duration;

use ratatui::{
    buffer::Buffer,
    text::{Line, Span},
};

use super::{
    layout::{list_rows, text_rows, text_width},
    state::{Now, Page, State},
    text::{Palette, cut},
};

mod detail;
mod grid;
mod header;
mod help;
mod lists;

/// Draws the screen into a buffer of any size.
pub(super) fn draw(state: &State, now: Now, palette: Palette, buffer: &mut Buffer) {
    let area = buffer.area;
    for (row, line) in lines(state, now, palette).iter().take(usize::from(area.height)).enumerate() {
        buffer.set_line(area.x, area.y + row as u16, line, area.width);
    }
}

/// All lines of the screen.
fn lines(state: &State, now: Now, palette: Palette) -> Vec<Line<'static>> {
    let view = View { state, now, palette, width: usize::from(state.size.0) };
    let height = usize::from(state.size.1);
    let mut lines = view.header();
    let page = if state.help {
        view.help()
    } else if state.received.is_none() {
        Vec::new()
    } else if let Some(shard) = state.detail {
        view.detail(shard)
    } else {
        match state.page {
            Page::Overview => view.overview(),
            Page::Shards => view.shards(),
            Page::Workers => view.workers(),
            Page::Problems => view.problems(),
            Page::Plan => view.plan_steps(),
        }
    };
    lines.extend(page);
    if state.received.is_some() && state.is_stale(now.mono) && !state.help {
        view.grey(&mut lines);
    }
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(view.footer());
    // The whole screen of a very low terminal is the header.
    lines.truncate(height.max(1));
    lines
}

/// What the parts of the screen are made from.
#[derive(Clone, Copy)]
struct View<'a> {
    state: &'a State,
    now: Now,
    palette: Palette,
    width: usize,
}

impl View<'_> {
    /// Takes the colours from what may no longer be true. The first lines say so, and stay.
    fn grey(self, lines: &mut [Line<'static>]) {
        for line in lines.iter_mut().skip(2) {
            for span in &mut line.spans {
                span.style = self.palette.faint();
            }
        }
    }

    /// ` shards ──────────────── ■ 10 ready `.
    fn title(self, name: &str, right: Vec<Span<'static>>) -> Line<'static> {
        let right_width: usize = right.iter().map(Span::width).sum();
        let name = cut(&format!(" {name} "), self.width);
        let name_width = Span::raw(name.as_str()).width();
        let fits = right_width > 0 && name_width + right_width + 4 <= self.width;
        let rule = self.width.saturating_sub(name_width + if fits { right_width + 3 } else { 0 });
        let mut spans =
            vec![Span::styled(name, Palette::strong()), Span::styled("─".repeat(rule), self.palette.faint())];
        if fits {
            spans.push(Span::raw(" "));
            spans.extend(right);
            spans.push(Span::styled(" ─", self.palette.faint()));
        }
        Line::from(spans)
    }

    /// The pages and keys, or the filter that is typed.
    fn footer(self) -> Line<'static> {
        if let Some(typed) = &self.state.typing {
            let hint = "   such as 3, 0-63, queued, !ready, a name";
            return Line::from(vec![
                Span::styled(" filter: ", Palette::strong()),
                Span::raw(typed.clone()),
                Span::styled("▏", Palette::strong()),
                Span::styled(hint, self.palette.faint()),
            ]);
        }
        let mut spans = Vec::new();
        for (at, page) in Page::ALL.into_iter().enumerate() {
            let shown = page == self.state.page && !self.state.help;
            let style = if shown { Palette::selected() } else { self.palette.faint() };
            spans.push(Span::styled(format!(" {} {} ", at + 1, page.name()), style));
        }
        let filter = match self.state.filter.text() {
            "" => "/ filter".to_owned(),
            text => format!("/ {}", cut(text, 14)),
        };
        let is_filtered = !self.state.filter.is_empty();
        let filter_style = if is_filtered { self.palette.changing() } else { self.palette.faint() };
        let right = vec![
            Span::styled(filter, filter_style),
            Span::styled("  ? help  q quit ".to_owned(), self.palette.faint()),
        ];
        super::text::with_right(Line::from(spans), right, self.width)
    }

    fn overview(self) -> Vec<Line<'static>> {
        let layout = self.state.overview();
        let mut lines = self.grid(layout.cells);
        lines.extend(self.worker_section(layout.workers));
        lines.extend(self.problem_section(layout.problems));
        lines
    }
}

/// The first entry of the page of a list on which the selected entry is.
fn first_shown(selected: usize, rows: usize) -> usize {
    selected / rows.max(1) * rows.max(1)
}

/// `time` in milliseconds as a duration.
fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

#[cfg(test)]
mod tests;
