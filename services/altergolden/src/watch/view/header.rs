//! The first lines: the fleet in a sentence, the coordinator and the age of the data, the identify queue, the plan.

use std::time::Duration;

use altergolden_proto::v1::{self, PlanState};
use outside_text::printable_within;
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{View, ms};
use crate::{
    progress::{span, time_left},
    value_text,
    watch::{
        state::Link,
        text::{Palette, age, bar, counted, cut, grouped, rate, with_right},
    },
};

/// Width of the plan's bar.
const BAR: usize = 16;

impl View<'_> {
    pub(super) fn header(self) -> Vec<Line<'static>> {
        if self.state.received.is_none() {
            return self.before_the_first_status();
        }
        vec![self.fleet_sentence(), self.coordinator(), self.identify_queue(), self.plan()]
    }

    fn before_the_first_status(self) -> Vec<Line<'static>> {
        let text = format!(" asking {} for the fleet", self.state.url);
        let mut lines = vec![Line::styled(text, Palette::strong())];
        lines.extend(self.link_text().map(|text| Line::styled(format!(" {text}"), self.palette.changing())));
        lines
    }

    /// `12 of 12 shards ready  1,000 guilds  512 events/s`, and how old that is.
    fn fleet_sentence(self) -> Line<'static> {
        let fleet = &self.state.fleet;
        let ready =
            fleet.shards.iter().filter(|shard| shard.status == i32::from(v1::ShardStatus::Ready)).count();
        let all = fleet.shards.len().max(fleet.shard_total as usize);
        let (text, style) = match (ready, all) {
            (_, 0) => ("no shards yet".to_owned(), self.palette.changing()),
            (ready, all) if ready == all => {
                (format!("{} ready", counted(all as u64, "shard")), self.palette.good())
            }
            (ready, all) => (
                format!("{} of {} ready", grouped(ready as u64), counted(all as u64, "shard")),
                self.palette.changing(),
            ),
        };
        let guilds: u64 = fleet.shards.iter().map(|shard| u64::from(shard.guilds)).sum();
        let events = self.state.rates.sum(fleet.shards.iter().map(|shard| shard.shard_id));
        let is_stale = self.state.is_stale(self.now.mono);
        let style = if is_stale { self.palette.faint() } else { style.patch(Palette::strong()) };
        let plain = if is_stale { self.palette.faint() } else { Style::new() };
        let left = Line::from(vec![
            Span::styled(format!(" {text}"), style),
            Span::styled(format!("   {}   {} events/s", counted(guilds, "guild"), rate(events)), plain),
        ]);
        let old = self.state.age(self.now.mono).map(age).unwrap_or_default();
        let right = if is_stale {
            Span::styled(format!("STALE: {old} old "), self.palette.bad())
        } else {
            Span::styled(format!("{old} old "), self.palette.faint())
        };
        with_right(left, vec![right], self.width)
    }

    /// The workers, the generation and the coordinator; or why no news arrives.
    fn coordinator(self) -> Line<'static> {
        if let Some(text) = self.link_text() {
            return Line::styled(cut(&format!(" {text}"), self.width), self.palette.bad());
        }
        let fleet = &self.state.fleet;
        let draining = fleet.workers.iter().filter(|worker| worker.draining).count();
        let draining = if draining > 0 { format!(" ({draining} draining)") } else { String::new() };
        let workers = counted(fleet.workers.len() as u64, "worker");
        let generation = match fleet.active_generation.as_str() {
            "" => String::new(),
            name => format!("   generation {}", printable_within(name, 20)),
        };
        let (role, style) = if fleet.acting {
            (format!("term {}, acting ", fleet.term), self.palette.faint())
        } else {
            ("standby: another coordinator acts ".to_owned(), self.palette.bad())
        };
        let left = Line::raw(format!(" {workers}{draining}{generation}"));
        let url = Span::styled(
            format!("{}   ", self.state.url.trim_start_matches("http://")),
            self.palette.faint(),
        );
        let role = Span::styled(role, style);
        if left.width() + url.width() + role.width() < self.width {
            return with_right(left, vec![url, role], self.width);
        }
        with_right(left, vec![role], self.width)
    }

    /// Why no news arrives; `None` while it does.
    fn link_text(self) -> Option<String> {
        match &self.state.link {
            Link::Live if self.state.is_stale(self.now.mono) => {
                Some("the coordinator is connected and sends nothing".to_owned())
            }
            Link::Live => None,
            Link::Connecting if self.state.received.is_none() => Some("connecting".to_owned()),
            Link::Connecting => Some("coordinator unreachable: connecting again".to_owned()),
            Link::Lost { reason, next } => {
                let wait = next.saturating_sub(self.now.mono).as_secs() + 1;
                Some(format!("coordinator unreachable: next attempt in {wait} s: {reason}"))
            }
        }
    }

    /// `identify  8 waiting, 1 at a time: all ready in about 41 s    991 left today`.
    fn identify_queue(self) -> Line<'static> {
        let budget = self.state.fleet.identify_budget.unwrap_or_default();
        let (queue, style) = match (budget.waiting, budget.last_turn_in_ms) {
            (0, _) => ("none waiting".to_owned(), Style::new()),
            (waiting, Some(left)) => {
                // The estimate is as old as the status.
                let left = ms(left).saturating_sub(self.state.age(self.now.mono).unwrap_or_default());
                let at_once = budget.max_concurrency;
                let text =
                    format!("{waiting} waiting, {at_once} at a time: all ready in about {}", span(left));
                (text, self.palette.changing())
            }
            (waiting, None) => {
                (format!("{waiting} waiting, and no permit is granted: see problems"), self.palette.bad())
            }
        };
        let left = Line::from(vec![Self::label("identify"), Span::styled(queue, style)]);
        let remaining = grouped(budget.remaining.into());
        let reserve = match budget.reserve {
            0 => String::new(),
            reserve => format!(", {} reserved", grouped(reserve.into())),
        };
        let full = format!("{remaining} of {} left today{reserve} ", grouped(budget.total.into()));
        let fits = left.width() + full.len() < self.width;
        let today = if fits { full } else { format!("{remaining} left today ") };
        let is_short = budget.remaining <= budget.reserve && budget.total > 0;
        let style = if is_short { self.palette.bad() } else { self.palette.faint() };
        with_right(left, vec![Span::styled(today, style)], self.width)
    }

    /// `plan      promote generation green  ████████░░░░░░░░  6 of 12, about 2 s left`.
    fn plan(self) -> Line<'static> {
        let Some(plan) = &self.state.fleet.plan else {
            return Line::from(vec![Self::label("plan"), Span::styled("none", self.palette.faint())]);
        };
        let description = printable_within(&plan.description, 60).to_string();
        let (done, all) = (u64::from(plan.steps_done), plan.steps.len() as u64);
        let elapsed = ms(plan.elapsed_ms);
        let reason = match plan.reason.as_str() {
            "" => String::new(),
            reason => format!(": {}", printable_within(reason, 200)),
        };
        let (text, style) = match plan.state() {
            PlanState::Running | PlanState::Paused | PlanState::RollingBack => {
                return self.running_plan(plan, &description, &reason);
            }
            PlanState::Done => (
                format!("{description}: done, {} in {}", counted(all, "shard"), span(elapsed)),
                self.palette.faint(),
            ),
            _ => {
                let state = value_text::plan_state(plan.state).replace('_', " ");
                (
                    format!("{description}: {state}, {done} of {}{reason}", counted(all, "shard")),
                    self.palette.bad(),
                )
            }
        };
        let text = cut(&text, self.width.saturating_sub(11));
        Line::from(vec![Self::label("plan"), Span::styled(text, style)])
    }

    fn running_plan(self, plan: &v1::Plan, description: &str, reason: &str) -> Line<'static> {
        let (done, all) = (u64::from(plan.steps_done), plan.steps.len() as u64);
        let expected = (plan.estimated_ms > 0).then(|| ms(plan.estimated_ms));
        let left = time_left(done, all, ms(plan.elapsed_ms), expected)
            .filter(|left| *left >= Duration::from_secs(1));
        let (state, style) = match plan.state() {
            PlanState::Paused => (format!(", paused{reason}"), self.palette.bad()),
            PlanState::RollingBack => (format!(", rolling back{reason}"), self.palette.bad()),
            _ => (
                left.map_or_else(String::new, |left| format!(", about {} left", span(left))),
                self.palette.info(),
            ),
        };
        let (filled, rest) = bar(done, all, BAR);
        let counts = format!("  {done} of {all}{state}");
        let room = self.width.saturating_sub(11 + BAR + 2 + counts.len().min(30));
        Line::from(vec![
            Self::label("plan"),
            Span::raw(format!("{}  ", cut(description, room))),
            Span::styled(filled, style),
            Span::styled(rest, self.palette.faint()),
            Span::styled(counts, style),
        ])
    }

    fn label(name: &str) -> Span<'static> {
        Span::styled(format!(" {name:<10}"), Palette::strong())
    }
}
