//! The tables, in Markdown: pure.

use std::fmt::Write as _;

use super::figures::Measured;

/// How a figure is printed.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Count,
    /// A number that is no cost, so that it has no ratio.
    Scale,
    Mib,
    Seconds,
    Millis,
    Micros,
    Percent,
}

struct Row {
    figure: &'static str,
    what: &'static str,
    unit: Unit,
}

const fn row(figure: &'static str, what: &'static str, unit: Unit) -> Row {
    Row { figure, what, unit }
}

struct Table {
    title: &'static str,
    rows: &'static [Row],
}

const TABLES: [Table; 4] = [
    Table {
        title: "Start, memory, events",
        rows: &[
            row("start_pss_mib", "memory of all processes (PSS)", Unit::Mib),
            row("start_rss_mib", "the same as RSS, which counts shared pages for each process", Unit::Mib),
            row("start_processes", "processes", Unit::Scale),
            row("start_cpu_s", "processor time until all guilds are cached", Unit::Seconds),
            row("start_ready_s", "time until then", Unit::Seconds),
            row("events_cpu_us", "processor time of an event, beyond idle", Unit::Micros),
            row("events_idle_cpu_percent", "a core, idle", Unit::Percent),
            row("events_lost", "events lost without a failure", Unit::Count),
        ],
    },
    Table {
        title: "Answers in calm, one call at a time",
        rows: &[
            row("calm_total_p50_ms", "number of all guilds, p50", Unit::Millis),
            row("calm_total_p99_ms", "number of all guilds, p99", Unit::Millis),
            row("calm_guild_p50_ms", "one guild by id, p50", Unit::Millis),
            row("calm_guild_p99_ms", "one guild by id, p99", Unit::Millis),
            row("calm_calls", "calls", Unit::Scale),
            row("calm_wrong", "wrong", Unit::Count),
            row("calm_unanswered", "unanswered", Unit::Count),
        ],
    },
    Table {
        title: "A process is killed (SIGKILL), then one is stopped for 6 s",
        rows: &[
            row("kill_took_s", "SIGKILL: until all shards are ready again", Unit::Seconds),
            row("kill_identifies", "SIGKILL: IDENTIFYs", Unit::Count),
            row("kill_sent", "SIGKILL: events sent", Unit::Scale),
            row("kill_lost", "SIGKILL: events lost", Unit::Count),
            row("kill_twice", "SIGKILL: events handled twice", Unit::Count),
            row("kill_twice_unmarked", "SIGKILL: of these not marked as replayed", Unit::Count),
            row("kill_calls", "SIGKILL: calls in the 10 s after it", Unit::Scale),
            row("kill_wrong", "SIGKILL: answered wrongly", Unit::Count),
            row("kill_incomplete", "SIGKILL: answered as incomplete", Unit::Count),
            row("kill_unanswered", "SIGKILL: not answered within 2 s", Unit::Count),
            row("kill_p99_ms", "SIGKILL: p99 of the calls", Unit::Millis),
            row("stop_calls", "SIGSTOP: calls in the 10 s after it", Unit::Scale),
            row("stop_wrong", "SIGSTOP: answered wrongly", Unit::Count),
            row("stop_incomplete", "SIGSTOP: answered as incomplete", Unit::Count),
            row("stop_unanswered", "SIGSTOP: not answered within 2 s", Unit::Count),
            row("stop_p99_ms", "SIGSTOP: p99 of the calls", Unit::Millis),
            row("stop_identifies", "SIGSTOP: IDENTIFYs", Unit::Count),
            row("stop_lost", "SIGSTOP: events lost", Unit::Count),
            row("stop_twice", "SIGSTOP: events handled twice", Unit::Count),
            row("stop_twice_unmarked", "SIGSTOP: of these not marked as replayed", Unit::Count),
        ],
    },
    Table {
        title: "A deployment: everything that runs shards and bot code is restarted",
        rows: &[
            row("deploy_took_s", "duration", Unit::Seconds),
            row("deploy_identifies", "IDENTIFYs", Unit::Count),
            row("deploy_sent", "events sent", Unit::Scale),
            row("deploy_lost", "events lost", Unit::Count),
            row("deploy_twice", "events handled twice", Unit::Count),
            row("deploy_calls", "calls", Unit::Scale),
            row("deploy_wrong", "answered wrongly", Unit::Count),
            row("deploy_incomplete", "answered as incomplete", Unit::Count),
            row("deploy_unanswered", "not answered within 2 s", Unit::Count),
            row("rules_broken", "rules of Discord's broken in the whole run", Unit::Count),
        ],
    },
];

/// Writes all tables. The first system is ours; ratios are to it.
pub(crate) fn markdown(systems: &[(&str, Measured)]) -> String {
    let mut out = String::new();
    for table in &TABLES {
        let names: Vec<&str> = systems.iter().map(|(name, _)| *name).collect();
        let _ = write!(
            out,
            "### {}\n\n| | {} |\n|---|{}\n",
            table.title,
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for row in table.rows {
            let cells = systems.iter().enumerate().map(|(place, (_, measured))| {
                let ours = systems[0].1.figures.get(row.figure).copied();
                cell(row, measured, ours.filter(|_| place > 0))
            });
            let _ = writeln!(out, "| {} | {} |", row.what, cells.collect::<Vec<_>>().join(" | "));
        }
        out.push('\n');
    }
    out
}

fn cell(row: &Row, measured: &Measured, ours: Option<f64>) -> String {
    let phase = row.figure.split('_').next().unwrap_or_default();
    let Some(value) = measured.figures.get(row.figure).copied() else {
        let reason = measured.failures.get(phase).or_else(|| measured.failures.get("start"));
        return reason.map_or_else(
            || "–".to_owned(),
            |reason| format!("failed: {}", reason.lines().next().unwrap_or_default()),
        );
    };
    let text = figure(row.unit, value);
    match ours {
        Some(ours) if ours > 0.0 && value > 0.0 && !matches!(row.unit, Unit::Scale) => {
            format!("{text} ({})", ratio(value / ours))
        }
        _ => text,
    }
}

fn figure(unit: Unit, value: f64) -> String {
    let short =
        |unit: &str| if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") };
    match unit {
        Unit::Count | Unit::Scale => thousands(value.round() as u64),
        Unit::Mib => format!("{} MiB", thousands(value.round() as u64)),
        Unit::Seconds if value < 1.0 => format!("{value:.2} s"),
        Unit::Seconds => short("s"),
        Unit::Millis if value < 1.0 => format!("{value:.2} ms"),
        Unit::Millis => short("ms"),
        Unit::Micros => short("us"),
        Unit::Percent => format!("{value:.1} %"),
    }
}

/// With a comma between thousands.
fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

/// How many times as much as ours.
fn ratio(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1} x") } else { format!("{} x", thousands(ratio.round() as u64)) }
}
