//! What happened in the fleet: asked in pages, shown oldest first.

use std::io::{IsTerminal as _, stdout};

use altergolden_proto::v1;
use clap::Args;
use serde_json::{Value, json};
use shard_bridge::{BridgeClient, ClientError};

use super::{
    ServerArgs,
    moment::{self, Moment, TimeStyle},
    shard_number,
};
use crate::{exit::CommandOutcome, screen::SafeText};

/// How much before and after `--at` is shown.
const AROUND_MS: u64 = 5 * 60 * 1000;

/// The most calls of one command: each reads 2,000 entries of the 10,000 that are kept.
const CALLS: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// What happened around this time: 03:12 or "2026-11-29 03:12" local, 03:12Z for UTC; five minutes before and after
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true, conflicts_with_all = ["since", "until"])]
    at: Option<Moment>,
    /// Only from this time on, or this long ago: 03:12, 2h
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Only up to this time, or this long ago: 03:30, 1h
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Only what is about this shard
    #[arg(long, value_name = "NUMBER", value_parser = shard_number, allow_negative_numbers = true)]
    shard: Option<u32>,
    /// Only what is about this worker
    #[arg(long, value_name = "NAME", default_value = "")]
    worker: String,
    /// Only entries of this kind, such as worker_lost or gap, or about problems with this code; may be repeated
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// The most entries: the newest ones
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// Entries, newest first, and what is missing of them.
#[derive(Debug, Default)]
pub(crate) struct FoundHistory {
    pub(crate) entries: Vec<v1::HistoryEntry>,
    /// There are older entries.
    pub(crate) more: bool,
    /// Why entries are missing, if some are.
    pub(crate) missing: Option<String>,
    /// When the oldest entry of the history happened, if that is known.
    pub(crate) begins_unix_ms: Option<u64>,
}

impl HistoryArgs {
    fn question(&self) -> v1::ListHistoryRequest {
        let (since, until) = match self.at {
            Some(at) => (
                Some(at.unix_ms.saturating_sub(AROUND_MS)),
                Some(at.unix_ms.saturating_add(at.lasts_ms).saturating_add(AROUND_MS)),
            ),
            None => (
                self.since.map(|since| since.unix_ms),
                self.until.map(|until| until.unix_ms.saturating_add(until.lasts_ms)),
            ),
        };
        v1::ListHistoryRequest {
            since_unix_ms: since,
            until_unix_ms: until,
            shard_id: self.shard,
            worker_id: self.worker.clone(),
            kinds: self.kind.clone(),
            ..v1::ListHistoryRequest::default()
        }
    }
}

pub(super) async fn answer(args: HistoryArgs, server: &ServerArgs) -> Result<CommandOutcome, ClientError> {
    let mut client = server.connect().await?;
    let found = find(&mut client, args.question(), args.limit as usize).await?;
    let style = if stdout().is_terminal() { TimeStyle::Local } else { TimeStyle::Utc };
    server.show(|_| text(&found, style), || json(&found));
    Ok(if found.missing.is_some() { CommandOutcome::incomplete() } else { CommandOutcome::success() })
}

/// Reads pages until `limit` entries are found, or the history ends.
pub(super) async fn find(
    client: &mut BridgeClient,
    question: v1::ListHistoryRequest,
    limit: usize,
) -> Result<FoundHistory, ClientError> {
    let mut found = FoundHistory::default();
    let mut before = String::new();
    for _ in 0..CALLS {
        let left = u32::try_from(limit - found.entries.len()).unwrap_or(u32::MAX);
        let page = client.history(v1::ListHistoryRequest { before, limit: left, ..question.clone() }).await?;
        found.entries.extend(page.entries.into_iter().take(left as usize));
        found.begins_unix_ms = page.begins_unix_ms;
        found.more = !page.next.is_empty();
        if !page.complete {
            found.missing.get_or_insert(page.reason);
        }
        before = page.next;
        if !found.more || found.entries.len() >= limit {
            break;
        }
    }
    // Entries are in the order of writing; those about many shards are written when the last one has come.
    found.entries.sort_by_key(|entry| std::cmp::Reverse(entry.at_unix_ms));
    Ok(found)
}

fn text(found: &FoundHistory, style: TimeStyle) -> SafeText {
    let mut lines: Vec<String> = found.entries.iter().rev().map(|entry| line(entry, style)).collect();
    if lines.is_empty() {
        let begins = found
            .begins_unix_ms
            .map_or_else(String::new, |at| format!("; the history goes back to {}", moment::show(at, style)));
        lines.push(format!("no entry of the history matches{begins}"));
    }
    if found.more {
        lines.push("(there are older entries: --limit, --until)".to_owned());
    }
    if let Some(why) = &found.missing {
        lines.push(format!("NOT COMPLETE: {why}"));
    }
    lines.join("\n").into()
}

/// One entry: its time, what happened, and the ids for a search in logs.
pub(super) fn line(entry: &v1::HistoryEntry, style: TimeStyle) -> String {
    let at = moment::show(entry.at_unix_ms, style);
    let lasted = entry.until_unix_ms.saturating_sub(entry.at_unix_ms);
    let until = match lasted {
        0..1_000 => String::new(),
        _ => format!(", within {} s", lasted.div_ceil(1000)),
    };
    let gap = entry.gap.as_ref().filter(|gap| gap.since_unix_ms > 0).map_or_else(String::new, |gap| {
        let (since, until) = (moment::show(gap.since_unix_ms, style), moment::show(gap.until_unix_ms, style));
        format!("; between {since} and {until}")
    });
    format!("{at}  {}{gap}{until}  [{}]", entry.message, ids(entry))
}

fn ids(entry: &v1::HistoryEntry) -> String {
    let mut ids = vec![entry.kind.clone()];
    if !entry.incarnation.is_empty() {
        // What follows says which process it was, for other programs.
        let (id, _) = entry.incarnation.split_once('.').unwrap_or((&entry.incarnation, ""));
        ids.push(format!("incarnation {id}"));
    }
    match (entry.lowest_epoch, entry.highest_epoch) {
        (_, 0) => {}
        (low, high) if low == high => ids.push(format!("epoch {high}")),
        (low, high) => ids.push(format!("epochs {low} to {high}")),
    }
    if let Some(sequence) = entry.gap.as_ref().map(|gap| gap.last_sequence).filter(|sequence| *sequence > 0) {
        ids.push(format!("after sequence {sequence}"));
    }
    ids.extend(entry.plan_id.map(|plan| format!("plan {plan}")));
    if !entry.peer.is_empty() {
        ids.push(format!("by {}", entry.peer));
    }
    ids.push(format!("term {}", entry.term));
    ids.join(", ")
}

fn json(found: &FoundHistory) -> Value {
    json!({
        "entries": found.entries.iter().rev().map(entry_json).collect::<Vec<_>>(),
        "more": found.more,
        "complete": found.missing.is_none(),
        "reason": found.missing.clone().unwrap_or_default(),
        "begins_unix_ms": found.begins_unix_ms,
    })
}

/// One entry for programs. Terms, epochs and plans are beyond what JavaScript's numbers hold, so they are text.
pub(super) fn entry_json(entry: &v1::HistoryEntry) -> Value {
    let gap = entry.gap.as_ref().map(|gap| {
        json!({
            "since_unix_ms": gap.since_unix_ms,
            "until_unix_ms": gap.until_unix_ms,
            "last_sequence": gap.last_sequence,
            "reason": gap.reason,
        })
    });
    json!({
        "kind": entry.kind,
        "at": moment::show(entry.at_unix_ms, TimeStyle::Utc),
        "at_unix_ms": entry.at_unix_ms,
        "until_unix_ms": entry.until_unix_ms,
        "term": entry.term.to_string(),
        "worker_id": entry.worker_id,
        "incarnation": entry.incarnation,
        "from_worker_id": entry.from_worker_id,
        "shards": entry.shards.iter().map(|span| json!([span.first, span.last])).collect::<Vec<_>>(),
        "lowest_epoch": entry.lowest_epoch.to_string(),
        "highest_epoch": entry.highest_epoch.to_string(),
        "plan_id": entry.plan_id.map(|plan| plan.to_string()),
        "problem_code": entry.problem_code,
        "peer": entry.peer,
        "count": entry.count,
        "gap": gap,
        "message": entry.message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_unix_ms: u64, message: &str) -> v1::HistoryEntry {
        v1::HistoryEntry {
            kind: "gap".to_owned(),
            at_unix_ms,
            until_unix_ms: at_unix_ms + 2_400,
            term: 7,
            incarnation: "life".to_owned(),
            lowest_epoch: 8,
            highest_epoch: 9,
            message: message.to_owned(),
            gap: Some(v1::Gap {
                since_unix_ms: 1_000,
                until_unix_ms: 2_000,
                last_sequence: 5,
                reason: String::new(),
            }),
            ..v1::HistoryEntry::default()
        }
    }

    #[test]
    fn entries_are_shown_oldest_first_with_their_ids() {
        let found = FoundHistory {
            entries: vec![entry(61_000, "second"), entry(60_000, "first\u{1b}[2J")],
            more: true,
            missing: Some("the store is away".to_owned()),
            begins_unix_ms: None,
        };
        let shown = text(&found, TimeStyle::Utc).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[0],
            "1970-01-01T00:01:00.000Z  first\\u{1b}[2J; between 1970-01-01T00:00:01.000Z and 1970-01-01T00:00:02.000Z, \
             within 3 s  [gap, incarnation life, epochs 8 to 9, after sequence 5, term 7]"
        );
        assert!(lines[1].contains("second"));
        assert_eq!(
            lines[2..],
            ["(there are older entries: --limit, --until)", "NOT COMPLETE: the store is away"]
        );
        let json = json(&found);
        assert_eq!((&json["entries"][0]["at_unix_ms"], &json["complete"]), (&json!(60_000), &json!(false)));
    }

    #[test]
    fn no_match_says_how_far_the_history_goes_back() {
        let found = FoundHistory { begins_unix_ms: Some(0), ..FoundHistory::default() };
        assert_eq!(
            text(&found, TimeStyle::Utc).to_string(),
            "no entry of the history matches; the history goes back to 1970-01-01T00:00:00.000Z"
        );
    }
}
