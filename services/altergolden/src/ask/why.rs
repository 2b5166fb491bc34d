//! Why a guild is silent: what is known of its shard, what happened to it lately, and the most likely reason in one sentence.
//!
//! [`shard_bridge::why`] draws the conclusion from facts alone; this module collects and shows them.

use std::io::{IsTerminal as _, stdout};

use altergolden_proto::v1;
use clap::Args;
use serde_json::{Value, json};
use shard_bridge::{
    ClientError,
    why::{Facts, Verdict, reason},
};

use super::{
    ServerArgs, discord_id,
    history::{self, FoundHistory},
    moment::{self, TimeStyle},
    set_aside::unix_ms,
    shard_number,
};
use crate::{exit::CommandOutcome, json, screen::SafeText, value_text::status};

/// How far back the history of a shard is read.
const LATELY_MS: u64 = 24 * 3600 * 1000;

/// The most entries of the history that are shown.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The guild's id
    #[arg(value_name = "GUILD", value_parser = discord_id, allow_negative_numbers = true, required_unless_present = "shard")]
    guild_id: Option<u64>,
    /// The number of a shard, in place of a guild
    #[arg(long, value_name = "NUMBER", value_parser = shard_number, allow_negative_numbers = true, conflicts_with = "guild_id")]
    shard: Option<u32>,
}

pub(super) async fn answer(args: WhyArgs, server: &ServerArgs) -> Result<CommandOutcome, ClientError> {
    let mut client = server.connect().await?;
    let status = client.fleet_status().await?;
    let guild = match args.guild_id {
        // The lookup may fail for the very reason that is asked for.
        Some(guild_id) => Some(client.find_guild(guild_id).await.map_err(|error| error.to_string())),
        None => None,
    };
    let shard_id = match (args.shard, &guild) {
        (Some(shard), _) => Some(shard),
        (None, Some(Ok(guild))) if status.shard_total > 0 => Some(guild.shard_id),
        // Discord's rule.
        (None, _) => args
            .guild_id
            .and_then(|guild| (guild >> 22).checked_rem(u64::from(status.shard_total)))
            .map(|shard| shard as u32),
    };
    let now_unix_ms = unix_ms();
    let lately = match shard_id {
        Some(shard) => {
            let question = v1::ListHistoryRequest {
                since_unix_ms: Some(now_unix_ms.saturating_sub(LATELY_MS)),
                shard_id: Some(shard),
                ..v1::ListHistoryRequest::default()
            };
            history::find(&mut client, question, SHOWN).await
        }
        None => Ok(FoundHistory::default()),
    };
    let lately = lately
        .unwrap_or_else(|error| FoundHistory { missing: Some(error.to_string()), ..FoundHistory::default() });
    let facts = Facts {
        status: &status,
        shard_id,
        guild_id: args.guild_id,
        guild: guild.as_ref(),
        lately: &lately.entries,
        now_unix_ms,
    };
    let verdict = reason(&facts);
    let style = if stdout().is_terminal() { TimeStyle::Local } else { TimeStyle::Utc };
    server.show(|_| text(&facts, &lately, &verdict, style), || to_json(&facts, &lately, &verdict));
    Ok(match verdict {
        Verdict::Works(_) if lately.missing.is_some() => CommandOutcome::incomplete(),
        Verdict::Works(_) => CommandOutcome::success(),
        Verdict::NotThere(_) => CommandOutcome::negative(),
        Verdict::Fails(_) => CommandOutcome::incomplete(),
    })
}

fn text(facts: &Facts<'_>, lately: &FoundHistory, verdict: &Verdict, style: TimeStyle) -> SafeText {
    let mut lines = Vec::new();
    lines.extend(facts.guild_line());
    lines.extend(facts.shard_id.map(|number| shard_line(facts, number, style)));
    let problems = facts.problems();
    for problem in &problems {
        let since = problem
            .since_unix_ms
            .map_or_else(String::new, |at| format!(" since {}", moment::show(at, style)));
        lines.push(format!("problem {}{since}: {}", problem.code, problem.message));
    }
    if !lately.entries.is_empty() {
        lines.push("in the last 24 hours:".to_owned());
        lines.extend(lately.entries.iter().rev().map(|entry| format!("  {}", history::line(entry, style))));
    } else if facts.shard_id.is_some() && lately.missing.is_none() {
        lines.push("in the last 24 hours: nothing happened to it".to_owned());
    }
    if lately.more {
        lines.push(format!("  (more: altergolden history --shard {})", facts.shard_id.unwrap_or_default()));
    }
    if let Some(why) = &lately.missing {
        lines.push(format!("history NOT COMPLETE: {why}"));
    }
    lines.push(format!("=> {}", verdict.sentence()));
    lines.join("\n").into()
}

fn shard_line(facts: &Facts<'_>, number: u32, style: TimeStyle) -> String {
    let total = facts.status.shard_total;
    let Some(shard) = facts.shard() else { return format!("shard {number}: there are {total} shards") };
    let worker = if shard.worker_id.is_empty() {
        "no worker".to_owned()
    } else {
        format!("worker {}", shard.worker_id)
    };
    let since =
        shard.since_unix_ms.map_or_else(String::new, |at| format!(" since {}", moment::show(at, style)));
    let detail = if shard.detail.is_empty() { String::new() } else { format!(" ({})", shard.detail) };
    let state = if facts.status.acting {
        status(shard.status)
    } else {
        "state unknown because this coordinator is a standby".to_owned()
    };
    let epoch = if shard.epoch > 0 { format!(", epoch {}", shard.epoch) } else { String::new() };
    format!("shard {number} of {total} on {worker}{epoch}: {state}{since}{detail}")
}

fn to_json(facts: &Facts<'_>, lately: &FoundHistory, verdict: &Verdict) -> Value {
    let (guild, error) = match facts.guild {
        Some(Ok(guild)) => (Some(json::guild(guild)), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let problems: Vec<Value> = facts.problems().into_iter().map(json::problem).collect();
    json!({
        "works": matches!(verdict, Verdict::Works(_)),
        "reason": verdict.sentence(),
        "guild_id": facts.guild_id.map(|id| id.to_string()),
        "guild": guild,
        "guild_error": error,
        "shard_id": facts.shard_id,
        "shard_total": facts.status.shard_total,
        "worker_id": facts.shard().map(|shard| &shard.worker_id),
        "status": facts.shard().filter(|_| facts.status.acting).map(|shard| status(shard.status)),
        "since_unix_ms": facts.shard().and_then(|shard| shard.since_unix_ms),
        "epoch": facts.shard().map(|shard| shard.epoch.to_string()),
        "detail": facts.shard().map(|shard| &shard.detail),
        "problems": problems,
        "history": lately.entries.iter().rev().map(history::entry_json).collect::<Vec<_>>(),
        "history_complete": lately.missing.is_none(),
    })
}
