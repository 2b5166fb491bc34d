//! Formats the bridge's answers as texts. Pure; each text fits into one message.
//!
//! The text of an incomplete answer says so, with the reason. Names come from people, so Discord's markup is escaped.

use std::fmt::Write as _;

use gateway_worker::{FleetStats, GuildAnswer, ShardKey, ShardSlot, ShardStatus, TimedReport, UserAnswer};

/// Longest message, in characters.
/// [Source](https://discord.com/developers/docs/resources/message#create-message-jsonform-params).
pub(crate) const LONGEST: usize = 2_000;

/// Limit of numbers listed in a sentence.
const LISTED: usize = 20;

/// Longest reason shown, in characters.
const LONGEST_REASON: usize = 500;

/// Placeholder for an unknown value.
const NONE: &str = "–";

const FENCE: &str = "```";

/// Formats the size of the bot.
pub(crate) fn ping(stats: &FleetStats) -> String {
    let serving = format!("Serving {} servers across {} shards", stats.total_guilds, stats.shard_count);
    if stats.complete { serving } else { format!("{serving} (not complete: {})", incomplete_reason(stats)) }
}

/// Returns why totals are incomplete.
fn incomplete_reason(stats: &FleetStats) -> String {
    let waiting: Vec<ShardSlot> =
        stats.shards.iter().filter(|shard| !is_ready(shard)).map(|shard| shard.report.shard).collect();
    if stats.shard_count == 0 {
        "no shard runs yet".to_owned()
    } else if !stats.missing_shards.is_empty() {
        format!("no answer for {}", shard_list(&stats.missing_shards))
    } else if !waiting.is_empty() {
        let are = if waiting.len() == 1 { "is" } else { "are" };
        format!("{} {are} not ready", shard_list(&waiting))
    } else {
        "some guilds are still to come".to_owned()
    }
}

/// Formats a table of shards, as many as fit; shards that are not ready come first.
pub(crate) fn shards(stats: &FleetStats) -> String {
    let ready = stats.shards.iter().filter(|shard| is_ready(shard)).count();
    let mut rows: Vec<(bool, ShardSlot, [String; COLUMNS])> =
        stats.shards.iter().map(|shard| (is_ready(shard), shard.report.shard, row(shard))).collect();
    rows.extend(stats.missing_shards.iter().map(|shard| (false, shard.slot(), missing_row(*shard))));
    rows.sort_unstable_by_key(|(is_ready, shard, _)| (*is_ready, *shard));
    let rows: Vec<_> = rows.into_iter().map(|(.., row)| row).collect();

    let header = HEADER.map(str::to_owned);
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&header]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = format!("{ready} of {} shards ready\n{FENCE}\n", stats.shard_count);
    let mut left = LONGEST - text.chars().count() - FENCE.len() - more(usize::MAX).chars().count();
    let lines: Vec<String> = [header].iter().chain(&rows).map(|row| line(row, &widths)).collect();
    let fitting = lines.iter().take_while(|line| {
        let fits = left.checked_sub(line.chars().count());
        left = fits.unwrap_or(left);
        fits.is_some()
    });
    let shown = fitting.map(|line| text.push_str(line)).count();
    text.push_str(FENCE);
    if shown < lines.len() {
        text.push_str(&more(lines.len() - shown));
    }
    text
}

const COLUMNS: usize = 5;
const HEADER: [&str; COLUMNS] = ["shard", "worker", "state", "guilds", "latency"];
/// Columns aligned to the right.
const RIGHT_ALIGNED: [bool; COLUMNS] = [true, false, false, true, true];

fn row(shard: &TimedReport) -> [String; COLUMNS] {
    let report = &shard.report;
    [
        report.shard.to_string(),
        shard.worker.to_string(),
        report.status.as_str().to_owned(),
        report.guilds.to_string(),
        report.latency_ms.map_or_else(|| NONE.to_owned(), |ms| format!("{ms:.1} ms")),
    ]
}

fn missing_row(shard: ShardKey) -> [String; COLUMNS] {
    [shard.to_string(), NONE.to_owned(), "no answer".to_owned(), NONE.to_owned(), NONE.to_owned()]
}

fn line(row: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let mut line = String::new();
    for ((cell, width), right_aligned) in row.iter().zip(widths).zip(RIGHT_ALIGNED) {
        let between = if line.is_empty() { "" } else { "  " };
        // Writing to a String cannot fail.
        let _ = if right_aligned {
            write!(line, "{between}{cell:>width$}")
        } else {
            write!(line, "{between}{cell:<width$}")
        };
    }
    line.push('\n');
    line
}

fn more(shards: usize) -> String {
    format!("… and {shards} more")
}

/// Formats where a guild is.
pub(crate) fn guild(answer: &GuildAnswer) -> String {
    let (id, shard) = (answer.guild_id, answer.shard.map_or(ShardSlot(0), ShardKey::slot));
    let by =
        answer.worker.as_ref().map_or_else(String::new, |worker| format!(" on {}", escaped(worker.as_str())));
    if !answer.found && !answer.complete {
        return format!("Unknown whether the bot is in guild {id}: {}", reason(&answer.reason));
    }
    if !answer.found {
        return format!("The bot is not in guild {id}: it would be on shard {shard}{by}");
    }
    let name = answer.name.as_deref().map_or_else(|| format!("Guild {id}"), escaped);
    let members = answer.member_count.map_or_else(String::new, |count| format!(" ({count} members)"));
    let outage = if answer.unavailable { ", and has an outage" } else { "" };
    format!("{name}{members} is on shard {shard}{by}{outage}")
}

/// Formats where a user is.
pub(crate) fn user(answer: &UserAnswer) -> String {
    let id = answer.user_id;
    match (answer.found, answer.complete) {
        (true, true) => format!("{} is on {}", escaped(&answer.username), shard_list(&answer.shards)),
        (true, false) => format!(
            "{} is on {}, and perhaps on more: {}",
            escaped(&answer.username),
            shard_list(&answer.shards),
            reason(&answer.reason)
        ),
        (false, true) => format!("No shard knows user {id}"),
        (false, false) => format!("Unknown where user {id} is: {}", reason(&answer.reason)),
    }
}

fn is_ready(shard: &TimedReport) -> bool {
    // The owner of a moving shard answers for its guilds until the next owner is ready.
    matches!(shard.report.status, ShardStatus::Ready | ShardStatus::Moving)
}

fn shard_list<S: ToString>(shards: &[S]) -> String {
    let noun = if shards.len() == 1 { "shard" } else { "shards" };
    let listed: Vec<String> = shards.iter().take(LISTED).map(ToString::to_string).collect();
    let rest = shards.len() - listed.len();
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{noun} {}{rest}", listed.join(", "))
}

fn reason(text: &str) -> String {
    if text.is_empty() {
        return "there was no answer".to_owned();
    }
    escaped(&text.chars().take(LONGEST_REASON).collect::<String>())
}

/// Escapes Discord's markup and control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '#' | '[' | ']' | '@') {
            escaped.push('\\');
        }
        escaped.push(if c.is_control() { ' ' } else { c });
    }
    escaped
}

#[cfg(test)]
mod tests;
