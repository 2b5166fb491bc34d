//! What the keys do, and what the letters mean.

use altergolden_proto::v1;
use ratatui::text::{Line, Span};

use super::View;
use crate::{
    value_text,
    watch::text::{Palette, letter, state_style},
};

const KEYS: [(&str, &str); 10] = [
    ("1-5 Tab", "overview, shards, workers, problems, plan"),
    ("arrows", "select; PgUp and PgDn by pages, Home and End to the ends"),
    ("Enter", "detail of the selected shard; shards of the selected worker"),
    ("/", "filter: numbers (3, 0-63), states (queued), parts of workers' names"),
    ("", "!ready: every other state; worker:NAME: a name like a state's"),
    ("Esc", "close the detail; remove the filter"),
    ("?", "this page; any key closes it"),
    ("q Ctrl-C", "quit"),
    ("", ""),
    ("", "The letter of a shard is its state:"),
];

impl View<'_> {
    pub(super) fn help(self) -> Vec<Line<'static>> {
        let mut lines = vec![self.title("keys", Vec::new())];
        for (key, text) in KEYS {
            lines.push(Line::from(vec![
                Span::styled(format!(" {key:<10}"), Palette::strong()),
                Span::raw(text),
            ]));
        }
        let states = i32::from(v1::ShardStatus::Unassigned)..=i32::from(v1::ShardStatus::Failed);
        let states: Vec<i32> = states.collect();
        for row in states.chunks(4) {
            let mut spans = vec![Span::raw(" ".repeat(11))];
            for status in row {
                spans.push(Span::styled(letter(*status).to_string(), state_style(*status, self.palette)));
                spans.push(Span::raw(format!(" {:<14}", value_text::status(*status))));
            }
            lines.push(Line::from(spans));
        }
        lines
    }
}
