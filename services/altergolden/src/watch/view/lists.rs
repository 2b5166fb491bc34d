//! The pages that are lists: shards, workers, problems, the steps of the plan.

use std::collections::HashMap;

use altergolden_proto::v1;
use outside_text::{printable, printable_within};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{View, first_shown, list_rows, ms, text_rows, text_width};
use crate::{
    table, value_text,
    watch::{
        problems,
        state::State,
        text::{Palette, UNKNOWN, age, counted, cut, field, grouped, memory, number, rate, state_style},
    },
};

/// The place of a shown list in the whole: `1-17 of 64`.
fn place(first: usize, shown: usize, all: usize) -> String {
    if shown >= all {
        return String::new();
    }
    format!("{}-{} of {}", first + 1, first + shown, grouped(all as u64))
}

impl View<'_> {
    fn headings(self, text: &str) -> Line<'static> {
        Line::styled(cut(text, self.width), self.palette.faint())
    }

    fn place(self, first: usize, shown: usize, all: usize) -> Vec<Span<'static>> {
        vec![Span::styled(place(first, shown, all), self.palette.faint())]
    }

    /// A row, reversed over the whole width when it is selected.
    fn row(self, spans: Vec<Span<'static>>, is_selected: bool) -> Line<'static> {
        let mut line = Line::from(spans);
        if is_selected {
            let space = self.width.saturating_sub(line.width());
            line.spans.push(Span::raw(" ".repeat(space)));
            for span in &mut line.spans {
                span.style = span.style.patch(Palette::selected());
            }
        }
        line
    }

    pub(super) fn shards(self) -> Vec<Line<'static>> {
        let shards = self.state.shards();
        let rows = list_rows(self.state.size);
        let first = first_shown(self.state.selected(), rows);
        let shown: Vec<&&v1::Shard> = shards.iter().skip(first).take(rows).collect();
        let name = if self.state.filter.is_empty() { "shards" } else { "shards that pass the filter" };
        let widths = self.shard_widths();
        let mut lines = vec![
            self.title(name, self.place(first, shown.len(), shards.len())),
            self.headings(&format!(
                " SHARD {} {} {} {} {} {} START",
                field("WORKER", widths.worker),
                field("STATE", 12),
                number("GUILDS", 7),
                number("EVENTS/S", 8),
                number("LATENCY", 7),
                number("UPTIME", 7),
            )),
        ];
        for (at, shard) in shown.into_iter().enumerate() {
            lines.push(self.row(self.shard_row(shard, widths), first + at == self.state.selected()));
        }
        if shards.is_empty() {
            lines.push(Line::styled(" none", self.palette.faint()));
        }
        lines
    }

    fn shard_widths(self) -> ShardWidths {
        // Numbers and spaces take 54 columns. The start gets what the names leave.
        let left = self.width.saturating_sub(54);
        let names = self.state.fleet.shards.iter().map(|shard| shard.worker_id.chars().count());
        let worker = names.max().unwrap_or(0).clamp(6, left.saturating_sub(12).clamp(6, 30));
        ShardWidths { worker, start: left.saturating_sub(worker).max(4) }
    }

    fn shard_row(self, shard: &v1::Shard, widths: ShardWidths) -> Vec<Span<'static>> {
        let state = value_text::status(shard.status);
        let latency = shard.latency_ms.map_or_else(|| UNKNOWN.to_owned(), |ms| format!("{ms:.0} ms"));
        let uptime = match shard.uptime_seconds {
            0 => UNKNOWN.to_owned(),
            seconds => age(std::time::Duration::from_secs(seconds)),
        };
        let start = if shard.status == i32::from(v1::ShardStatus::Ready) || shard.detail.is_empty() {
            start(shard.outcome.as_ref())
        } else {
            shard.detail.clone()
        };
        let has_gap = shard.outcome.as_ref().is_some_and(|outcome| outcome.gap.is_some());
        vec![
            Span::raw(format!(" {} ", number(&shard.shard_id.to_string(), 5))),
            Span::raw(format!("{} ", field(or_unknown(&shard.worker_id), widths.worker))),
            Span::styled(format!("{} ", field(&state, 12)), state_style(shard.status, self.palette)),
            Span::raw(format!(
                "{} {} {} {} ",
                number(&grouped(shard.guilds.into()), 7),
                number(&rate(self.state.rates.of_shard(shard.shard_id)), 8),
                number(&latency, 7),
                number(&uptime, 7),
            )),
            Span::styled(
                cut(&printable(&start).to_string(), widths.start),
                if has_gap { self.palette.bad() } else { Style::new() },
            ),
        ]
    }

    pub(super) fn workers(self) -> Vec<Line<'static>> {
        let (rows, selected) = (list_rows(self.state.size), self.state.selected());
        let first = first_shown(selected, rows);
        let workers: Vec<&v1::Worker> = self.state.fleet.workers.iter().collect();
        let shown = &workers[first.min(workers.len())..workers.len().min(first + rows)];
        let place = self.place(first, shown.len(), workers.len());
        self.worker_table(shown, place, selected.checked_sub(first))
    }

    /// The workers of the overview: those that need a look first.
    pub(super) fn worker_section(self, rows: usize) -> Vec<Line<'static>> {
        let figures = WorkerFigures::all(self.state);
        let mut workers: Vec<&v1::Worker> = self.state.fleet.workers.iter().collect();
        workers.sort_by_key(|worker| {
            let is_ready = figures.get(worker.worker_id.as_str()).is_none_or(|all| all.ready == all.shards);
            (worker.connected, !worker.draining, is_ready)
        });
        let all = workers.len();
        workers.truncate(rows);
        let place = if workers.len() < all {
            format!("{} of {}", workers.len(), grouped(all as u64))
        } else {
            String::new()
        };
        self.worker_table(&workers, vec![Span::styled(place, self.palette.faint())], None)
    }

    /// Title, headings and a row for each worker.
    fn worker_table(
        self,
        shown: &[&v1::Worker],
        place: Vec<Span<'static>>,
        selected: Option<usize>,
    ) -> Vec<Line<'static>> {
        let workers = &self.state.fleet.workers;
        if workers.is_empty() {
            let hint = " none is registered: start gateway-worker, or your bot, with COORDINATOR_URL";
            return vec![
                self.title("workers", place),
                Line::default(),
                Line::styled(hint, self.palette.changing()),
            ];
        }
        let figures = WorkerFigures::all(self.state);
        let widths = WorkerWidths::fit(workers, self.width);
        let mut lines = vec![
            self.title("workers", place),
            self.headings(&format!(
                " {} {} {} {} {} {} {}{}",
                field("WORKER", widths.name),
                field("STATE", 9),
                number("READY", 7),
                number("GUILDS", 7),
                number("EVENTS/S", 8),
                number("MEMORY", 8),
                number("HEARD", 5),
                widths.rest_headings(),
            )),
        ];
        for (at, worker) in shown.iter().enumerate() {
            let figures = figures.get(worker.worker_id.as_str()).copied().unwrap_or_default();
            lines.push(self.row(self.worker_row(worker, figures, widths), Some(at) == selected));
        }
        lines
    }

    fn worker_row(
        self,
        worker: &v1::Worker,
        figures: WorkerFigures,
        widths: WorkerWidths,
    ) -> Vec<Span<'static>> {
        let (state, style) = match (worker.connected, worker.draining) {
            (false, _) => ("cut off", self.palette.bad()),
            (true, true) => ("draining", self.palette.info()),
            (true, false) => ("connected", self.palette.good()),
        };
        let WorkerFigures { ready, shards, guilds, events } = figures;
        let ready_style = if ready == shards { Style::new() } else { self.palette.changing() };
        // What the coordinator heard when it made this status, and the age of the status.
        let heard =
            ms(worker.last_heard_ms).saturating_add(self.state.age(self.now.mono).unwrap_or_default());
        let heard_style = if heard.as_secs() >= 3 { self.palette.bad() } else { Style::new() };
        let mut spans = vec![
            Span::raw(format!(" {} ", field(&worker.worker_id, widths.name))),
            Span::styled(format!("{} ", field(state, 9)), style),
            Span::styled(format!("{} ", number(&format!("{ready}/{shards}"), 7)), ready_style),
            Span::raw(format!(
                "{} {} {} ",
                number(&grouped(guilds), 7),
                number(&rate(events), 8),
                number(&memory(worker.rss_bytes), 8)
            )),
            Span::styled(number(&age(heard), 5), heard_style),
        ];
        if widths.generation > 0 {
            spans.push(Span::raw(format!("  {}", field(or_unknown(&worker.generation), widths.generation))));
        }
        if widths.version > 0 {
            spans.push(Span::raw(format!(" {}", field(or_unknown(&worker.version), widths.version))));
        }
        if widths.shards > 0 {
            spans.push(Span::raw(format!(" {}", field(&table::ranges(&worker.shards), widths.shards))));
        }
        spans
    }

    /// The problems of the overview: a line for each.
    pub(super) fn problem_section(self, rows: usize) -> Vec<Line<'static>> {
        let problems = &self.state.fleet.problem_details;
        let shown = problems.len().min(rows);
        let mut lines = vec![self.title("problems", self.place(0, shown, problems.len()))];
        for problem in problems.iter().take(rows) {
            let text = cut(&format!(" {}", problems::text(problem, self.now.unix_ms)), self.width);
            lines.push(Line::styled(text, problems::style(problem, self.palette)));
        }
        if problems.is_empty() {
            lines.push(Line::styled(" none", self.palette.faint()));
        }
        lines
    }

    pub(super) fn problems(self) -> Vec<Line<'static>> {
        let mut text = Vec::new();
        for problem in &self.state.fleet.problem_details {
            let style = problems::style(problem, self.palette);
            let lines = problems::lines(problem, self.now.unix_ms, text_width(self.state.size));
            text.extend(lines.into_iter().map(|line| Line::styled(format!(" {line}"), style)));
        }
        let all = text.len();
        let rows = text_rows(self.state.size);
        let first = self.state.selected().min(all.saturating_sub(rows));
        let shown = all.saturating_sub(first).min(rows);
        let mut lines = vec![self.title("problems", self.place(first, shown, all))];
        if text.is_empty() {
            lines.push(Line::styled(" none", self.palette.faint()));
        }
        lines.extend(text.into_iter().skip(first).take(rows));
        lines
    }

    pub(super) fn plan_steps(self) -> Vec<Line<'static>> {
        let Some(plan) = &self.state.fleet.plan else {
            let hint = " no plan yet: altergolden drain, move, rebalance and deploy start one";
            return vec![self.title("plan", Vec::new()), Line::styled(hint, self.palette.faint())];
        };
        let rows = list_rows(self.state.size);
        let selected = self.state.selected();
        let first = first_shown(selected, rows);
        let shown = plan.steps.len().saturating_sub(first).min(rows);
        let name = format!("plan {}: {}", plan.id, printable_within(&plan.description, 50));
        let width = (self.width.saturating_sub(30) / 2).clamp(8, 30);
        let mut lines = vec![
            self.title(&name, self.place(first, shown, plan.steps.len())),
            self.headings(&format!(
                " {} {} {} BY       STATE",
                number("SHARD", 5),
                field("FROM", width),
                field("TO", width)
            )),
        ];
        let states: HashMap<u32, i32> =
            self.state.fleet.shards.iter().map(|shard| (shard.shard_id, shard.status)).collect();
        for (at, step) in plan.steps.iter().enumerate().skip(first).take(rows) {
            let by = if step.identifies { "IDENTIFY" } else { "handoff" };
            let (state, style) = if step.done {
                ("done".to_owned(), self.palette.good())
            } else {
                let status = states.get(&step.shard_id).copied().unwrap_or(0);
                (value_text::status(status), state_style(status, self.palette))
            };
            let spans = vec![
                Span::raw(format!(
                    " {} {} {} {by:<8} ",
                    number(&step.shard_id.to_string(), 5),
                    field(or_unknown(&step.from), width),
                    field(or_unknown(&step.to), width)
                )),
                Span::styled(state, style),
            ];
            lines.push(self.row(spans, at == selected));
        }
        lines
    }
}

/// `resumed 0.2 s`, and first of all a gap: columns are narrow.
fn start(outcome: Option<&v1::StartOutcome>) -> String {
    let Some(outcome) = outcome else { return UNKNOWN.to_owned() };
    let gap = if outcome.gap.is_some() { "GAP, " } else { "" };
    let replayed = match outcome.replayed {
        0 => String::new(),
        replayed => format!(", {} replayed", grouped(replayed)),
    };
    let kind = value_text::start_kind(outcome.kind);
    format!("{gap}{kind} {:.1} s{replayed}", outcome.took_ms as f64 / 1_000.0)
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

#[derive(Clone, Copy)]
struct ShardWidths {
    worker: usize,
    start: usize,
}

/// Widths of a worker's columns; 0 leaves a column out.
#[derive(Clone, Copy)]
struct WorkerWidths {
    name: usize,
    generation: usize,
    version: usize,
    shards: usize,
}

impl WorkerWidths {
    /// The name gets what it needs first, then generation, version and shard numbers.
    fn fit(workers: &[v1::Worker], width: usize) -> Self {
        let longest = |text: fn(&v1::Worker) -> &str| {
            workers.iter().map(|worker| text(worker).chars().count()).max().unwrap_or(0)
        };
        // The other columns and the spaces between them.
        let mut left = width.saturating_sub(51);
        let name = longest(|worker| &worker.worker_id).clamp(6, 30).min(left.max(8));
        left = left.saturating_sub(name);
        let mut take = |wanted: usize, space: usize| {
            if left < wanted + space {
                return 0;
            }
            left -= wanted + space;
            wanted
        };
        let generation = take(longest(|worker| &worker.generation).clamp(3, 16), 2);
        let version = take(longest(|worker| &worker.version).clamp(7, 12), 1);
        let shards = take(6, 1);
        Self { name, generation, version, shards: if shards > 0 { shards + left } else { 0 } }
    }

    fn rest_headings(self) -> String {
        let column = |width: usize, space: &str, heading: &str| {
            if width > 0 { format!("{space}{}", field(heading, width)) } else { String::new() }
        };
        let generation = if self.generation < 10 { "GEN" } else { "GENERATION" };
        column(self.generation, "  ", generation)
            + &column(self.version, " ", "VERSION")
            + &column(self.shards, " ", "SHARDS")
    }
}

/// What the shards of a worker add up to.
#[derive(Clone, Copy, Debug, Default)]
struct WorkerFigures {
    ready: usize,
    shards: usize,
    guilds: u64,
    events: Option<f64>,
}

impl WorkerFigures {
    fn all(state: &State) -> HashMap<&str, Self> {
        let mut all: HashMap<&str, Self> = HashMap::new();
        for shard in &state.fleet.shards {
            let worker = all.entry(&shard.worker_id).or_default();
            worker.shards += 1;
            worker.ready += usize::from(shard.status == i32::from(v1::ShardStatus::Ready));
            worker.guilds += u64::from(shard.guilds);
            let events = state.rates.of_shard(shard.shard_id);
            worker.events = worker.events.into_iter().chain(events).reduce(|all, one| all + one);
        }
        all
    }
}

impl View<'_> {
    /// `counted`, for the detail.
    pub(super) fn of_worker(self, name: &str) -> String {
        let figures = WorkerFigures::all(self.state).get(name).copied().unwrap_or_default();
        format!("{} ({} ready)", counted(figures.shards as u64, "shard"), figures.ready)
    }
}
