//! Answers as tables for people.

use std::fmt;

use altergolden_proto::{
    convert::{self, status_from_wire},
    v1,
};
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use outside_text::{printable, printable_within};

use crate::json::data_text;

/// What stands for a figure that nobody tells.
const NONE: &str = "–";

/// The most characters of one cell.
const WIDEST_CELL: usize = 1_000;

/// A table whose cells may hold text from outside.
struct Rows(Table);

impl Rows {
    /// Adds a row. Control characters are escaped and a cell stays within [`WIDEST_CELL`].
    fn add_row<const CELLS: usize>(&mut self, cells: [String; CELLS]) {
        self.0.add_row(cells.map(|cell| printable_within(&cell, WIDEST_CELL).to_string()));
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn table(header: &[&str], numbers: &[usize]) -> Rows {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header.iter().copied());
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Rows(table)
}

fn optional(figure: Option<impl ToString>) -> String {
    figure.map_or_else(|| NONE.to_owned(), |figure| figure.to_string())
}

fn latency(ms: Option<f64>) -> String {
    ms.map_or_else(|| NONE.to_owned(), |ms| format!("{ms:.1} ms"))
}

/// A status in lower case; a number that this version does not know as it is.
pub(crate) fn status(number: i32) -> String {
    status_from_wire(number).map_or_else(|_| number.to_string(), |status| status.to_string())
}

/// How a shard came to be connected: `resumed in 0.2 s, 3 replayed`.
fn outcome(outcome: Option<&v1::StartOutcome>) -> String {
    let Some(outcome) = outcome else { return NONE.to_owned() };
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

/// By which greeting, in lower case; a number that this version does not know as it is.
pub(crate) fn start_kind(number: i32) -> String {
    match v1::StartKind::try_from(number) {
        Ok(v1::StartKind::Identified) => "identified".to_owned(),
        Ok(v1::StartKind::Resumed) => "resumed".to_owned(),
        Ok(v1::StartKind::Reidentified) => "reidentified".to_owned(),
        Ok(v1::StartKind::Unspecified) | Err(_) => number.to_string(),
    }
}

fn text(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { text.to_owned() }
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
            Some(last) if last.last + 1 == range.first => last.last = range.last,
            _ => joined.push(*range),
        }
    }
    text(&joined.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Shards, by number.
pub(crate) fn shards(shards: &[v1::Shard]) -> String {
    let header = ["shard", "worker", "state", "guilds", "latency", "up", "came by", "detail"];
    let mut table = table(&header, &[0, 3, 4, 5]);
    for shard in shards {
        table.add_row([
            shard.shard_id.to_string(),
            text(&shard.worker_id),
            status(shard.status),
            shard.guilds.to_string(),
            latency(shard.latency_ms),
            format!("{} s", shard.uptime_seconds),
            outcome(shard.outcome.as_ref()),
            shard.detail.clone(),
        ]);
    }
    table.to_string()
}

/// Workers, by name.
pub(crate) fn workers(workers: &[v1::Worker]) -> String {
    let mut table = table(
        &["worker", "generation", "shards", "capacity", "memory", "state", "heard", "address", "version"],
        &[3, 4, 6],
    );
    for worker in workers {
        let state = match (worker.connected, worker.draining) {
            (false, _) => "cut off",
            (true, true) => "draining",
            (true, false) => "connected",
        };
        table.add_row([
            worker.worker_id.clone(),
            text(&worker.generation),
            ranges(&worker.shards),
            optional((worker.capacity > 0).then_some(worker.capacity)),
            format!("{:.1} MiB", worker.rss_bytes as f64 / f64::from(1 << 20)),
            state.to_owned(),
            format!("{} ms ago", worker.last_heard_ms),
            worker.url.clone(),
            text(&worker.version),
        ]);
    }
    table.to_string()
}

/// What a plan would do.
pub(crate) fn plan(plan: &v1::Plan) -> String {
    let mut table = table(&["shard", "from", "to", "by"], &[0]);
    for step in &plan.steps {
        let by = if step.identifies { "IDENTIFY" } else { "handoff" };
        table.add_row([step.shard_id.to_string(), step.from.clone(), step.to.clone(), by.to_owned()]);
    }
    format!(
        "{}: {} shards, {} at once; IDENTIFYs: {}; about {:.1} s\n{table}\nnothing was done (--dry-run)",
        plan.description,
        plan.steps.len(),
        plan.at_once,
        plan.identifies,
        plan.estimated_ms as f64 / 1000.0,
    )
}

/// How a plan stands, in lower case; a number that this version does not know as it is.
pub(crate) fn plan_state(number: i32) -> String {
    match v1::PlanState::try_from(number) {
        Ok(state) => state.as_str_name().trim_start_matches("PLAN_STATE_").to_lowercase(),
        Err(_) => number.to_string(),
    }
}

/// A problem's weight in lower case; unknown numbers as they are.
pub(crate) fn problem_weight(number: i32) -> String {
    match v1::ProblemWeight::try_from(number) {
        Ok(weight) => weight.as_str_name().trim_start_matches("PROBLEM_WEIGHT_").to_lowercase(),
        Err(_) => number.to_string(),
    }
}

/// A line for each problem; empty without problems.
pub(crate) fn problems(problems: &[v1::Problem], now_unix_ms: u64) -> String {
    let mut lines = String::new();
    for v1::Problem { code, message, weight, since_unix_ms } in problems {
        let since = since_unix_ms.map_or_else(String::new, |at| format!(", began {}", ago(at, now_unix_ms)));
        let message = printable_within(message, WIDEST_CELL);
        lines.extend([problem_weight(*weight), format!(": {message} ({}{since})\n", printable(code))]);
    }
    lines
}

/// Totals, then each shard.
pub(crate) fn stats(stats: &v1::GetAggregateStatsResponse) -> String {
    let mut by_shard = table(
        &["shard", "worker", "state", "guilds", "users", "channels", "voice", "latency", "up", "came by"],
        &[0, 3, 4, 5, 6, 7, 8],
    );
    for shard in &stats.shards {
        by_shard.add_row([
            shard.shard_id.to_string(),
            shard.worker_id.clone(),
            status(shard.status),
            shard.guilds.to_string(),
            optional(shard.users),
            optional(shard.channels),
            optional(shard.voice_connections),
            latency(shard.latency_ms),
            format!("{} s", shard.uptime_seconds),
            outcome(shard.outcome.as_ref()),
        ]);
    }
    let missing = if stats.missing_shards.is_empty() {
        String::new()
    } else {
        let shards: Vec<String> = stats.missing_shards.iter().map(u32::to_string).collect();
        format!(", nobody answered for {}", shards.join(", "))
    };
    let complete = if stats.complete { "complete" } else { "NOT COMPLETE" };
    format!(
        "{} guilds, {} users, {} channels, {} in voice, on {} shards ({complete}{missing})\n{by_shard}",
        stats.total_guilds,
        optional(stats.total_users),
        optional(stats.total_channels),
        optional(stats.total_voice_connections),
        stats.shard_count,
    )
}

/// The longest reply that a table shows, in characters.
const LONGEST_REPLY: usize = 200;

/// Each shard's own reply.
pub(crate) fn replies(answer: &v1::RequestResponse) -> String {
    use v1::shard_reply::Outcome;
    let mut table = table(&["shard", "worker", "reply"], &[0]);
    let mut replied = 0;
    for reply in &answer.replies {
        let told = match &reply.outcome {
            Some(Outcome::Value(value)) => {
                replied += 1;
                cut(&data_text(&reply.value_json, || convert::to_json(value.clone())))
            }
            Some(Outcome::Failure(failure)) => {
                let kind = failure_kind(failure.kind).replace('_', " ");
                format!("({kind}) {}", failure.reason)
            }
            None => NONE.to_owned(),
        };
        table.add_row([reply.shard_id.to_string(), text(&reply.worker_id), told]);
    }
    format!("{replied} of {} shards replied\n{table}", answer.replies.len())
}

/// Why there is no reply, in lower case; a number that this version does not know as it is.
pub(crate) fn failure_kind(number: i32) -> String {
    match v1::ReplyFailureKind::try_from(number) {
        Ok(kind) => kind.as_str_name().trim_start_matches("REPLY_FAILURE_KIND_").to_lowercase(),
        Err(_) => number.to_string(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_REPLY) {
        Some((end, _)) => format!("{}… ({} bytes: --json shows all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// An event that was set aside, as it is named on the command line.
pub(crate) fn set_aside_id(id: Option<v1::SetAsideId>) -> String {
    let v1::SetAsideId { shard_id, session, sequence } = id.unwrap_or_default();
    format!("{shard_id}/{session}/{sequence}")
}

/// How long ago a moment was, in milliseconds since the Unix epoch.
fn ago(at_unix_ms: u64, now_unix_ms: u64) -> String {
    let seconds = now_unix_ms.saturating_sub(at_unix_ms) / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Events that were set aside.
pub(crate) fn set_asides(events: &[v1::SetAside], now_unix_ms: u64) -> String {
    if events.is_empty() {
        return "nothing is set aside".to_owned();
    }
    let mut table = table(&["id", "event", "deaths", "received", "set aside"], &[2, 3, 4]);
    for event in events {
        table.add_row([
            set_aside_id(event.id),
            event.name.clone(),
            event.deaths.to_string(),
            ago(event.received_at_unix_ms, now_unix_ms),
            ago(event.at_unix_ms, now_unix_ms),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_shard_came_reads_well() {
        let resumed = v1::StartOutcome {
            kind: v1::StartKind::Resumed.into(),
            took_ms: 180,
            replayed: 3,
            ..v1::StartOutcome::default()
        };
        assert_eq!(outcome(Some(&resumed)), "resumed in 0.2 s, 3 replayed");
        let gap = Some(v1::Gap { last_sequence: 41, ..v1::Gap::default() });
        let kind = v1::StartKind::Reidentified.into();
        let lost = v1::StartOutcome { kind, took_ms: 2_000, replayed: 0, gap, at_unix_ms: 0 };
        assert_eq!(outcome(Some(&lost)), "reidentified in 2.0 s, GAP after 41");
        assert_eq!(outcome(None), NONE);
    }

    #[test]
    fn names_from_outside_cannot_forge_rows() {
        let shard = v1::Shard { detail: "x\u{1b}[2K\r\nshard 9 ready".to_owned(), ..v1::Shard::default() };
        let shown = shards(&[shard]);
        assert!(
            !shown.contains(['\u{1b}', '\r']) && shown.contains(r"x\u{1b}[2K\r\nshard 9 ready"),
            "{shown}"
        );
        let problem = v1::Problem {
            message: "a\nb".to_owned(),
            code: "store_away".to_owned(),
            weight: 1,
            since_unix_ms: Some(1),
        };
        assert_eq!(problems(&[problem], 5_001), "problem: a\\nb (store_away, began 5 s ago)\n");
    }

    #[test]
    fn ages_read_well() {
        let cases = [
            (0, "0 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 d ago"),
        ];
        for (seconds, words) in cases {
            assert_eq!(ago(1_000, 1_000 + seconds * 1_000), words);
        }
        assert_eq!(ago(2_000, 1_000), "0 s ago", "clocks differ");
    }

    #[test]
    fn what_is_set_aside_is_named_as_the_command_line_takes_it() {
        let event = v1::SetAside {
            id: Some(v1::SetAsideId { shard_id: 3, session: 17, sequence: 42 }),
            name: "MESSAGE_CREATE".to_owned(),
            at_unix_ms: 70_000,
            received_at_unix_ms: 10_000,
            deaths: 2,
            payload: String::new(),
        };
        let shown = set_asides(&[event], 100_000);
        let row = shown.lines().find(|line| line.contains("3/17/42")).unwrap();
        for cell in ["MESSAGE_CREATE", " 2 ", "90 s ago", "30 s ago"] {
            assert!(row.contains(cell), "{cell} is missing in {row}");
        }
        assert_eq!(set_asides(&[], 0), "nothing is set aside");
    }

    #[test]
    fn replies_read_well() {
        use v1::shard_reply::Outcome;
        let reply = |shard_id, worker: &str, outcome| v1::ShardReply {
            shard_id,
            worker_id: worker.to_owned(),
            outcome: Some(outcome),
            value_json: String::new(),
        };
        let value = |json| Outcome::Value(convert::from_json(json));
        let late = v1::ReplyFailure { kind: 3, reason: "worker b did not answer".to_owned() };
        let newer = v1::ReplyFailure { kind: 77, reason: "who knows".to_owned() };
        let answer = v1::RequestResponse {
            complete: false,
            replies: vec![
                reply(0, "a", value(serde_json::json!({"guilds": 25}))),
                reply(1, "a", value("é".repeat(1_000).into())),
                reply(2, "b", Outcome::Failure(late)),
                reply(3, "", Outcome::Failure(newer)),
            ],
        };
        let shown = replies(&answer);
        assert!(shown.starts_with("2 of 4 shards replied\n"), "{shown}");
        for cell in
            [r#"{"guilds":25}"#, "… (2002 bytes: --json", "(too late) worker b did not", "(77) who knows"]
        {
            assert!(shown.contains(cell), "{cell} is missing in {shown}");
        }
        assert!(shown.lines().all(|line| line.chars().count() < 300), "{shown}");
    }

    #[test]
    fn ranges_read_well() {
        let range = |first, last, epoch| v1::ShardRange { first, last, epoch };
        assert_eq!(ranges(&[range(0, 2, 1), range(3, 3, 2), range(7, 7, 1)]), "0-3, 7");
        assert_eq!(ranges(&[]), NONE);
    }
}
