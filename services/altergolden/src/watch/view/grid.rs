//! The grid of shards, with a count of each state.

use std::collections::BTreeMap;

use altergolden_proto::v1;
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::View;
use crate::{
    value_text,
    watch::{
        layout::{CellStyle, Cells, TOGETHER, worst},
        text::{Palette, counted, grouped, letter, state_style},
    },
};

impl View<'_> {
    pub(super) fn grid(self, cells: Cells) -> Vec<Line<'static>> {
        let shards = self.state.shards();
        let mut name = "shards".to_owned();
        if !self.state.filter.is_empty() {
            name = format!(
                "{} of {}",
                grouped(shards.len() as u64),
                counted(self.state.fleet.shards.len() as u64, "shard")
            );
        }
        if cells.group > 1 {
            name = format!("{name}, {} a letter: the worst", cells.group);
        }
        let mut lines =
            vec![self.title(&name, self.legend(&shards, self.width.saturating_sub(name.len() + 8)))];
        let selected = self.state.selected() / cells.group;
        let groups: Vec<&[&v1::Shard]> = shards.chunks(cells.group).collect();
        for (row, groups) in groups.chunks(cells.per_row).enumerate() {
            let first = row * cells.per_row;
            lines.push(match cells.style {
                CellStyle::Numbered => self.numbered_row(groups, first, selected, cells),
                CellStyle::Letters => self.letter_row(groups, first, selected, cells),
            });
        }
        if shards.is_empty() {
            let text = if self.state.fleet.shards.is_empty() {
                " no shards are assigned"
            } else {
                " no shard matches the filter; Esc removes the filter"
            };
            lines.push(Line::styled(text, self.palette.faint()));
        }
        lines
    }

    fn cell(self, group: &[&v1::Shard], is_selected: bool) -> (char, Style) {
        let status = worst(group.iter().copied()).map_or(0, |shard| shard.status);
        let style = state_style(status, self.palette);
        (letter(status), if is_selected { style.patch(Palette::selected()) } else { style })
    }

    fn numbered_row(
        self,
        groups: &[&[&v1::Shard]],
        first: usize,
        selected: usize,
        cells: Cells,
    ) -> Line<'static> {
        let mut spans = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let is_selected = first + at == selected;
            let (letter, style) = self.cell(group, is_selected);
            let number = group.first().map_or(0, |shard| shard.shard_id);
            let number = format!("{number:>width$} ", width = cells.digits);
            let number_style = if is_selected { Palette::selected() } else { self.palette.faint() };
            spans.extend([
                Span::raw(" "),
                Span::styled(number, number_style),
                Span::styled(letter.to_string(), style),
                Span::raw("  "),
            ]);
        }
        Line::from(spans)
    }

    fn letter_row(
        self,
        groups: &[&[&v1::Shard]],
        first: usize,
        selected: usize,
        cells: Cells,
    ) -> Line<'static> {
        let number = groups.first().and_then(|group| group.first()).map_or(0, |shard| shard.shard_id);
        let label = format!(" {number:>width$}", width = cells.digits);
        let mut spans = vec![Span::styled(label, self.palette.faint())];
        for (at, group) in groups.iter().enumerate() {
            if at % TOGETHER == 0 {
                spans.push(Span::raw(" "));
            }
            let (letter, style) = self.cell(group, first + at == selected);
            // Neighbours of one style share a span.
            match spans.last_mut().filter(|last| last.style == style && at % TOGETHER > 0) {
                Some(last) => last.content.to_mut().push(letter),
                None => spans.push(Span::styled(letter.to_string(), style)),
            }
        }
        Line::from(spans)
    }

    /// `F 2 failed  q 6 queued  ■ 40 ready`: as many as there is room for, states that need a look first.
    fn legend(self, shards: &[&v1::Shard], room: usize) -> Vec<Span<'static>> {
        let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
        for shard in shards {
            *counts.entry(shard.status).or_default() += 1;
        }
        let ready = i32::from(v1::ShardStatus::Ready);
        let ready_count = counts.remove(&ready);
        let mut spans: Vec<Span<'static>> = Vec::new();
        let mut left = room;
        for (status, count) in counts.into_iter().rev().chain(ready_count.map(|count| (ready, count))) {
            let text = format!(" {} {}  ", grouped(count as u64), value_text::status(status));
            let Some(less) = left.checked_sub(text.len() + 1) else {
                spans.push(Span::raw("…"));
                return spans;
            };
            left = less;
            spans.push(Span::styled(letter(status).to_string(), state_style(status, self.palette)));
            spans.push(Span::raw(text));
        }
        if let Some(last) = spans.last_mut() {
            last.content = last.content.trim_end().to_owned().into();
        }
        spans
    }
}
