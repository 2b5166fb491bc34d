//! Everything about one shard.

use std::time::Duration;

use altergolden_proto::v1;
use outside_text::{printable, printable_within};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{View, ms};
use crate::{
    value_text,
    watch::text::{
        Palette, UNKNOWN, age, age_of, clock, grouped, letter, memory, rate, state_style, wrapped,
    },
};

/// Width of the names of the figures.
const NAMES: usize = 12;

impl View<'_> {
    pub(super) fn detail(self, number: u32) -> Vec<Line<'static>> {
        let hint = Span::styled("← → other shards, Esc back", self.palette.faint());
        let mut lines = vec![self.title(&format!("shard {number}"), vec![hint])];
        let Some(shard) = self.state.fleet.shards.iter().find(|shard| shard.shard_id == number) else {
            lines.push(Line::styled(" the fleet has no such shard any more", self.palette.changing()));
            return lines;
        };
        let mut add = |name: &str, text: String, style: Style| {
            for (at, line) in wrapped(&text, self.width.saturating_sub(NAMES + 2), "").into_iter().enumerate()
            {
                let name = if at == 0 { name } else { "" };
                let name = Span::styled(format!(" {name:<NAMES$}"), Palette::strong());
                lines.push(Line::from(vec![name, Span::styled(line, style)]));
            }
        };
        let plain = Style::new();
        add("state", self.state_text(shard), state_style(shard.status, self.palette));
        if !shard.detail.is_empty() {
            add("because", printable_within(&shard.detail, 1_000).to_string(), plain);
        }
        add("worker", self.worker_text(shard), plain);
        let worker = self.state.fleet.workers.iter().find(|worker| worker.worker_id == shard.worker_id);
        if let Some(worker) = worker {
            let generation =
                printable(if worker.generation.is_empty() { UNKNOWN } else { &worker.generation });
            add("generation", format!("{generation}, version {}", printable(&worker.version)), plain);
        }
        add("assigned", self.assigned_text(shard), plain);
        let latency = shard.latency_ms.map_or_else(|| UNKNOWN.to_owned(), |ms| format!("{ms:.1} ms"));
        add("guilds", grouped(shard.guilds.into()), plain);
        add("events/s", rate(self.state.rates.of_shard(number)), plain);
        add("latency", latency, plain);
        let uptime = match shard.uptime_seconds {
            0 => UNKNOWN.to_owned(),
            seconds => age(Duration::from_secs(seconds)),
        };
        add("uptime", uptime, plain);
        add("sequence", grouped(shard.sequence), plain);
        let reported = shard.age_ms.map_or_else(
            || "never".to_owned(),
            |age_ms| {
                format!(
                    "{} ago",
                    age(ms(age_ms).saturating_add(self.state.age(self.now.mono).unwrap_or_default()))
                )
            },
        );
        add("reported", reported, plain);
        add("start", self.start(shard.outcome.as_ref()), plain);
        let gap = shard.outcome.as_ref().and_then(|outcome| outcome.gap.as_ref());
        let gap_style = if gap.is_some() { self.palette.bad() } else { plain };
        add("gap", gap.map_or_else(|| "none".to_owned(), gap_text), gap_style);
        lines
    }

    /// `■ ready for 3 min`.
    fn state_text(self, shard: &v1::Shard) -> String {
        let state = format!("{} {}", letter(shard.status), value_text::status(shard.status));
        let for_how_long = match self.state.in_state_for(shard.shard_id, self.now.mono) {
            Some(time) => format!(" for {}", age(time)),
            // A shard that has been ready all along became so when it last started.
            None if shard.status == i32::from(v1::ShardStatus::Ready) => {
                let at = shard.outcome.as_ref().map_or(0, |outcome| outcome.at_unix_ms);
                age_of(at, self.now.unix_ms).map_or_else(String::new, |age| format!(" for {age}"))
            }
            None => format!(" for longer than this screen is open, {}", age(self.now.mono)),
        };
        state + &for_how_long
    }

    fn worker_text(self, shard: &v1::Shard) -> String {
        if shard.worker_id.is_empty() {
            return "none".to_owned();
        }
        let name = printable(&shard.worker_id);
        let worker = self.state.fleet.workers.iter().find(|worker| worker.worker_id == shard.worker_id);
        let about = worker.map_or_else(
            || ", which is not registered".to_owned(),
            |worker| {
                let address = printable(worker.url.trim_start_matches("http://")).to_string();
                let (shards, memory) = (self.of_worker(&worker.worker_id), memory(worker.rss_bytes));
                format!(" at {address}, {shards}, {memory}")
            },
        );
        format!("{name}{about}")
    }

    /// Epochs are times, unless the coordinator's clock was ahead.
    fn assigned_text(self, shard: &v1::Shard) -> String {
        match (shard.epoch, age_of(shard.epoch, self.now.unix_ms)) {
            (0, _) => "to no worker".to_owned(),
            (epoch, Some(age)) => format!("{age} ago, at {}, epoch {epoch}", clock(epoch)),
            (epoch, None) => format!("epoch {epoch}"),
        }
    }

    fn start(self, outcome: Option<&v1::StartOutcome>) -> String {
        let Some(outcome) = outcome else { return "not yet".to_owned() };
        let kind = value_text::start_kind(outcome.kind);
        let replayed = match outcome.replayed {
            0 => String::new(),
            replayed => format!(", {} replayed", grouped(replayed)),
        };
        let at = age_of(outcome.at_unix_ms, self.now.unix_ms);
        let at = at.map_or_else(String::new, |age| format!(", {age} ago, at {}", clock(outcome.at_unix_ms)));
        format!("{kind} in {:.1} s{replayed}{at}", outcome.took_ms as f64 / 1_000.0)
    }
}

fn gap_text(gap: &v1::Gap) -> String {
    let since = if gap.since_unix_ms > 0 { clock(gap.since_unix_ms) } else { UNKNOWN.to_owned() };
    let last = match gap.last_sequence {
        0 => String::new(),
        last => format!(", after sequence {}", grouped(last)),
    };
    format!("{since} to {}{last}: {}", clock(gap.until_unix_ms), printable_within(&gap.reason, 500))
}
