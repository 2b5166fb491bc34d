//! Answers as tables for people.

use altergolden_proto::{convert, v1};
use outside_text::{printable, printable_within};

use self::grid::{Cell, Colour, Grid, WIDEST_CELL, number, text};
use crate::{
    screen::{SafeText, Screen},
    value_text::{data_text, failure_kind, problem_weight, set_aside_id, start_kind, status},
};

mod by_worker;
mod grid;

/// Stands for a value that is not known.
const UNKNOWN: &str = "–";

fn optional(figure: Option<impl ToString>) -> String {
    figure.map_or_else(|| UNKNOWN.to_owned(), |figure| figure.to_string())
}

fn latency(ms: Option<f64>) -> String {
    ms.map_or_else(|| UNKNOWN.to_owned(), |ms| format!("{ms:.1} ms"))
}

/// How a shard was connected: `resumed in 0.2 s, 3 replayed`.
fn start_text(outcome: Option<&v1::StartOutcome>) -> String {
    let Some(outcome) = outcome else { return UNKNOWN.to_owned() };
    let took = format!("{} in {:.1} s", start_kind(outcome.kind), outcome.took_ms as f64 / 1000.0);
    let replayed = match outcome.replayed {
        0 => String::new(),
        replayed => format!(", {replayed} replayed"),
    };
    let gap = match outcome.gap.as_ref().map(|gap| gap.last_sequence) {
        None => String::new(),
        Some(0) => ", GAP".to_owned(),
        Some(last) => format!(", GAP after {last}"),
    };
    took + &replayed + &gap
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { UNKNOWN.to_owned() } else { text.to_owned() }
}

/// Ranges as `0-3, 7`.
pub(crate) fn ranges(ranges: &[v1::ShardRange]) -> String {
    let one = |range: &v1::ShardRange| match (range.first, range.last) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    // Two ranges under different epochs may touch; a reader does not care.
    let mut joined: Vec<v1::ShardRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.last.checked_add(1) == Some(range.first) => last.last = range.last,
            _ => joined.push(*range),
        }
    }
    or_unknown(&joined.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Returns each shard as a range of its own, for [`ranges`] to join.
fn single_ranges(shards: &[u32]) -> Vec<v1::ShardRange> {
    let mut shards = shards.to_vec();
    shards.sort_unstable();
    shards
        .iter()
        .map(|&shard| v1::ShardRange { first: shard, last: shard, ..v1::ShardRange::default() })
        .collect()
}

/// The colour of a shard's state.
fn shard_colour(number: i32) -> Colour {
    match v1::ShardStatus::try_from(number) {
        Ok(v1::ShardStatus::Ready) => Colour::Good,
        Ok(v1::ShardStatus::Failed) => Colour::Bad,
        _ => Colour::Changing,
    }
}

/// How a shard was connected; red when events were lost.
fn start_cell(start: Option<&v1::StartOutcome>) -> Cell {
    let has_gap = start.is_some_and(|start| start.gap.is_some());
    Cell::coloured(&start_text(start), if has_gap { Colour::Bad } else { Colour::None })
}

/// Shards, by number.
pub(crate) fn shards(shards: &[v1::Shard], screen: Screen) -> SafeText {
    if shards.is_empty() {
        return "no shards are assigned".to_owned().into();
    }
    let mut grid = Grid::new([
        number("SHARD", 0),
        text("WORKER", 0),
        text("STATE", 0),
        number("GUILDS", 1),
        number("LATENCY", 4),
        number("UPTIME", 3),
        text("START", 2),
        text("DETAIL", 0),
    ]);
    for shard in shards {
        grid.add_row([
            shard.shard_id.to_string().into(),
            or_unknown(&shard.worker_id).into(),
            Cell::coloured(&status(shard.status), shard_colour(shard.status)),
            shard.guilds.to_string().into(),
            latency(shard.latency_ms).into(),
            span(shard.uptime_seconds).into(),
            start_cell(shard.outcome.as_ref()),
            shard.detail.clone().into(),
        ]);
    }
    grid.render(screen)
}

/// What an operator does about a fleet without workers.
const NO_WORKERS: &str = "no worker is registered with this coordinator\nhint: start `gateway-worker`, or your bot, with \
                          COORDINATOR_URL set to this coordinator's address";

/// Workers, by name.
pub(crate) fn workers(workers: &[v1::Worker], screen: Screen) -> SafeText {
    if workers.is_empty() {
        return NO_WORKERS.to_owned().into();
    }
    let mut grid = Grid::new([
        text("WORKER", 0),
        text("GENERATION", 1),
        text("SHARDS", 0),
        number("CAPACITY", 3),
        number("MEMORY", 2),
        text("STATE", 0),
        number("LAST SEEN", 0),
        text("ADDRESS", 0),
        text("VERSION", 4),
    ]);
    for worker in workers {
        let (state, colour) = match (worker.connected, worker.draining) {
            (false, _) => ("disconnected", Colour::Bad),
            (true, true) => ("draining", Colour::Changing),
            (true, false) => ("connected", Colour::Good),
        };
        grid.add_row([
            worker.worker_id.clone().into(),
            or_unknown(&worker.generation).into(),
            ranges(&worker.shards).into(),
            optional((worker.capacity > 0).then_some(worker.capacity)).into(),
            format!("{:.1} MiB", worker.rss_bytes as f64 / f64::from(1 << 20)).into(),
            Cell::coloured(state, colour),
            format!("{:.1} s ago", worker.last_heard_ms as f64 / 1000.0).into(),
            // `--url` takes it without the scheme too.
            worker.url.trim_start_matches("http://").to_owned().into(),
            or_unknown(&worker.version).into(),
        ]);
    }
    grid.render(screen)
}

/// The steps of a plan that was not started.
pub(crate) fn plan(plan: &v1::Plan, screen: Screen) -> SafeText {
    let mut grid = Grid::new([number("SHARD", 0), text("FROM", 0), text("TO", 0), text("BY", 0)]);
    for step in &plan.steps {
        let by = if step.identifies { "IDENTIFY" } else { "handoff" };
        grid.add_row([
            step.shard_id.to_string().into(),
            step.from.clone().into(),
            step.to.clone().into(),
            by.to_owned().into(),
        ]);
    }
    let summary = format!(
        "{}: {} shards, {} at once; IDENTIFYs: {}; about {:.1} s\n",
        plan.description,
        plan.steps.len(),
        plan.at_once,
        plan.identifies,
        plan.estimated_ms as f64 / 1000.0,
    );
    SafeText::from(summary) + grid.render(screen) + "\nnothing was done (--dry-run)".to_owned().into()
}

/// A line for each problem; empty without problems.
pub(crate) fn problems(problems: &[v1::Problem], now_unix_ms: u64) -> SafeText {
    let mut lines = String::new();
    for v1::Problem { code, message, weight, since_unix_ms, .. } in problems {
        let since = since_unix_ms.map_or_else(String::new, |at| format!(", began {}", ago(at, now_unix_ms)));
        let message = printable_within(message, WIDEST_CELL);
        lines.extend([problem_weight(*weight), format!(": {message} ({}{since})\n", printable(code))]);
    }
    lines.into()
}

/// Why there is no shard to show. `workers`: registered workers, when they are known.
pub(crate) fn no_shards(workers: Option<usize>) -> SafeText {
    let text = match workers {
        Some(0) => format!("no shards are running: {NO_WORKERS}"),
        Some(workers) => format!(
            "no shards are running: workers registered: {workers}, none of them with shards so far\nhint: see `altergolden workers`, and the \
             problems that /health of the coordinator lists"
        ),
        None => "no shards are running\nhint: `altergolden status` at the coordinator says why".to_owned(),
    };
    text.into()
}

/// A row for each shard.
fn stats_grid<'a>(shards: impl IntoIterator<Item = &'a v1::ShardStats>, screen: Screen) -> SafeText {
    let mut grid = Grid::new([
        number("SHARD", 0),
        text("WORKER", 0),
        text("STATE", 0),
        number("GUILDS", 0),
        number("USERS", 1),
        number("CHANNELS", 5),
        number("VOICE", 6),
        number("LATENCY", 4),
        number("UPTIME", 3),
        text("START", 2),
    ]);
    for shard in shards {
        grid.add_row([
            shard.shard_id.to_string().into(),
            or_unknown(&shard.worker_id).into(),
            Cell::coloured(&status(shard.status), shard_colour(shard.status)),
            shard.guilds.to_string().into(),
            optional(shard.users).into(),
            optional(shard.channels).into(),
            optional(shard.voice_connections).into(),
            latency(shard.latency_ms).into(),
            span(shard.uptime_seconds).into(),
            start_cell(shard.outcome.as_ref()),
        ]);
    }
    grid.render(screen)
}

/// Totals, then each shard; many shards on a terminal by worker.
pub(crate) fn stats(stats: &v1::GetAggregateStatsResponse, screen: Screen) -> SafeText {
    let missing = match stats.missing_shards.as_slice() {
        [] => String::new(),
        [shard] => format!(", no answer for shard {shard}"),
        shards => format!(", no answer for shards {}", ranges(&single_ranges(shards))),
    };
    let complete = if stats.complete { "complete" } else { "NOT COMPLETE" };
    let totals = format!(
        "{} guilds, {} users, {} channels, {} in voice, on {} shards ({complete}{missing})\n",
        stats.total_guilds,
        optional(stats.total_users),
        optional(stats.total_channels),
        optional(stats.total_voice_connections),
        stats.shard_count,
    );
    let shards = if stats.shards.is_empty() {
        SafeText::from(String::new())
    } else if by_worker::is_grouped(stats.shards.len(), screen) {
        by_worker::table(&stats.shards, screen)
    } else {
        stats_grid(&stats.shards, screen)
    };
    SafeText::from(totals) + shards
}

/// Shards at their start; many shards on a terminal by worker.
pub(crate) fn started(shards: &[v1::Shard], screen: Screen) -> SafeText {
    if !by_worker::is_grouped(shards.len(), screen) {
        return self::shards(shards, screen);
    }
    let stats = shards.iter().cloned().map(|shard| v1::ShardStats {
        shard_id: shard.shard_id,
        worker_id: shard.worker_id,
        status: shard.status,
        guilds: shard.guilds,
        latency_ms: shard.latency_ms,
        uptime_seconds: shard.uptime_seconds,
        outcome: shard.outcome,
        ..v1::ShardStats::default()
    });
    by_worker::table(&stats.collect::<Vec<_>>(), screen)
}

/// The longest reply that a table shows, in characters.
const LONGEST_REPLY: usize = 200;

/// Each shard's own reply.
pub(crate) fn replies(answer: &v1::RequestResponse, screen: Screen) -> SafeText {
    use v1::shard_reply::Outcome;
    let mut grid = Grid::new([number("SHARD", 0), text("WORKER", 0), text("REPLY", 0)]);
    let mut replied = 0;
    for reply in &answer.replies {
        let content = match &reply.outcome {
            Some(Outcome::Value(value)) => {
                replied += 1;
                cut(&data_text(&reply.value_json, || convert::to_json(value.clone())))
            }
            Some(Outcome::Failure(failure)) => {
                let kind = failure_kind(failure.kind).replace('_', " ");
                format!("({kind}) {}", failure.reason)
            }
            None => UNKNOWN.to_owned(),
        };
        grid.add_row([
            reply.shard_id.to_string().into(),
            or_unknown(&reply.worker_id).into(),
            content.into(),
        ]);
    }
    let summary = format!("{replied} of {} shards replied\n", answer.replies.len());
    SafeText::from(summary) + grid.render(screen)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_REPLY) {
        Some((end, _)) => format!("{}… ({} bytes: --json shows all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// A length of time, in its largest useful unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The age of a moment, in milliseconds since the Unix epoch.
fn ago(at_unix_ms: u64, now_unix_ms: u64) -> String {
    format!("{} ago", span(now_unix_ms.saturating_sub(at_unix_ms) / 1000))
}

/// Events that were set aside.
pub(crate) fn set_asides(events: &[v1::SetAside], now_unix_ms: u64, screen: Screen) -> SafeText {
    if events.is_empty() {
        return "no events are set aside".to_owned().into();
    }
    let mut grid = Grid::new([
        text("ID", 0),
        text("EVENT", 0),
        number("DEATHS", 0),
        number("RECEIVED", 1),
        number("SET ASIDE", 0),
    ]);
    for event in events {
        grid.add_row([
            set_aside_id(event.id).into(),
            event.name.clone().into(),
            event.deaths.to_string().into(),
            ago(event.received_at_unix_ms, now_unix_ms).into(),
            ago(event.at_unix_ms, now_unix_ms).into(),
        ]);
    }
    grid.render(screen)
}

#[cfg(test)]
mod tests;
