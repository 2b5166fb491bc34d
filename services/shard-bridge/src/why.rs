//! The most likely reason why a guild is silent, from facts alone. `altergolden why` and the live page say the same.

use altergolden_proto::v1::{self, ShardStatus};
use outside_text::printable;

/// Problems that say why a shard has no owner, the most telling first.
const WITHOUT_OWNER: [&str; 9] = [
    "generation_unchosen",
    "shard_held_back",
    "workers_held_back",
    "no_worker",
    "no_room",
    "unknown_workers",
    "shard_refused",
    "store_away",
    "term_unconfirmed",
];

/// Problems that say why a shard gets no permit to IDENTIFY.
const WITHOUT_PERMIT: [&str; 4] =
    ["identify_halted", "token_refused", "identify_budget_short", "shard_queued"];

/// How long a gap is worth a word, in milliseconds.
const RECENT_MS: u64 = 3600 * 1000;

/// What was found out about a guild or a shard.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The fleet; of its shards and workers, those that matter here are enough.
    pub status: &'a v1::FleetStatus,
    /// The shard, when the fleet has shards.
    pub shard_id: Option<u32>,
    /// The guild; `None` when only a shard was asked about.
    pub guild_id: Option<u64>,
    /// The answer of the lookup, or its error; `None` when only a shard was asked about.
    pub guild: Option<&'a Result<v1::FindGuildResponse, String>>,
    /// What happened to the shard, newest first.
    pub lately: &'a [v1::HistoryEntry],
    /// The time, in milliseconds since the Unix epoch.
    pub now_unix_ms: u64,
}

/// The conclusion, each with its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The fleet does its part.
    Works(String),
    /// The bot is not in the guild, or has no such shard.
    NotThere(String),
    /// Something is wrong, or unknown.
    Fails(String),
}

impl Verdict {
    /// The conclusion in one sentence.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Works(sentence) | Self::NotThere(sentence) | Self::Fails(sentence) => sentence,
        }
    }
}

impl<'a> Facts<'a> {
    /// The guild as its worker sees it, in one line; `None` when only a shard was asked about.
    pub fn guild_line(&self) -> Option<String> {
        let id = self.guild_id?;
        Some(match self.guild? {
            Err(error) => format!("guild {id}: the lookup failed: {error}"),
            Ok(guild) if !guild.found && guild.complete => format!("guild {id}: the bot is not in it"),
            Ok(guild) if !guild.found => format!("guild {id}: unknown: {}", printable(&guild.reason)),
            Ok(guild) => {
                let name = guild.name.as_deref().unwrap_or("(name not cached)");
                let members =
                    guild.member_count.map_or_else(String::new, |count| format!(", {count} members"));
                let outage = if guild.unavailable { ", unavailable: Discord reports an outage" } else { "" };
                let doubt =
                    if guild.complete { String::new() } else { format!(" (not complete: {})", guild.reason) };
                format!("guild {id}: {name}{members}{outage}{doubt}")
            }
        })
    }

    /// The shard as the coordinator sees it.
    pub fn shard(&self) -> Option<&'a v1::Shard> {
        let number = self.shard_id?;
        self.status.shards.iter().find(|shard| shard.shard_id == number)
    }

    fn worker(&self) -> Option<&'a v1::Worker> {
        let name = &self.shard()?.worker_id;
        self.status.workers.iter().find(|worker| worker.worker_id == *name)
    }

    /// The problems of the shard, of its worker, and of the whole fleet.
    pub fn problems(&self) -> Vec<&'a v1::Problem> {
        let worker = self.shard().map_or("", |shard| shard.worker_id.as_str());
        let names_worker = |message: &str| {
            !worker.is_empty()
                && message.split(|c: char| c.is_whitespace() || ",:;".contains(c)).any(|word| word == worker)
        };
        let concerns = |problem: &&v1::Problem| {
            if !problem.shards.is_empty() {
                return self.shard_id.is_some_and(|shard| {
                    problem.shards.iter().any(|span| (span.first..=span.last).contains(&shard))
                });
            }
            match problem.code.as_str() {
                // Every other worker of a standby, or with a problem of its own, is no reason here.
                code if code.starts_with("worker_") => names_worker(&problem.message),
                _ => true,
            }
        };
        self.status.problem_details.iter().filter(concerns).collect()
    }

    fn problem(&self, codes: &[&str]) -> Option<String> {
        let problems = self.problems();
        let found = codes.iter().find_map(|code| problems.iter().find(|problem| problem.code == *code))?;
        Some(format!("{} ({})", found.message, found.code))
    }
}

/// Returns the most likely reason why the guild or shard is silent.
pub fn reason(facts: &Facts<'_>) -> Verdict {
    let status = facts.status;
    if status.shard_total == 0 {
        let why = status
            .problem_details
            .first()
            .map_or_else(String::new, |problem| format!(": {}", problem.message));
        return Verdict::Fails(format!("the fleet has no shards yet{why}"));
    }
    let Some(shard) = facts.shard() else {
        return Verdict::NotThere(format!(
            "there is no such shard: the bot has {} shards",
            status.shard_total
        ));
    };
    if let Some(failing) = connection(facts, shard) {
        return Verdict::Fails(failing);
    }
    match facts.guild {
        Some(Err(error)) => return Verdict::Fails(format!("the guild cannot be looked up: {error}")),
        Some(Ok(guild)) if !guild.complete => {
            let worker = &shard.worker_id;
            return Verdict::Fails(format!(
                "the lookup of the guild is not complete: {} (worker {worker})",
                guild.reason
            ));
        }
        Some(Ok(guild)) if !guild.found => {
            return Verdict::NotThere(
                "the bot is not in this guild: it was removed, or never added".to_owned(),
            );
        }
        Some(Ok(guild)) if guild.unavailable => {
            return Verdict::Fails(
                "Discord reports an outage of this guild, and sends no events of it".to_owned(),
            );
        }
        Some(Ok(_)) | None => {}
    }
    Verdict::Works(working(facts))
}

/// Returns why the shard is not connected, if it is not.
fn connection(facts: &Facts<'_>, shard: &v1::Shard) -> Option<String> {
    let number = shard.shard_id;
    if !facts.status.acting {
        // A guild that was found is proof enough.
        let is_found = matches!(facts.guild, Some(Ok(guild)) if guild.found && guild.complete);
        return (!is_found).then(|| {
            "this coordinator is a standby and does not know the states of shards: ask the one that acts"
                .to_owned()
        });
    }
    let worker = &shard.worker_id;
    if worker.is_empty() {
        let why = facts.problem(&WITHOUT_OWNER).unwrap_or_else(|| "it is being assigned".to_owned());
        return Some(format!("no worker runs shard {number}: {why}"));
    }
    let detail = if shard.detail.is_empty() { String::new() } else { format!(": {}", shard.detail) };
    let is_cut_off = facts.worker().is_some_and(|worker| !worker.connected);
    let state = ShardStatus::try_from(shard.status).unwrap_or(ShardStatus::Unspecified);
    match state {
        ShardStatus::Ready if is_cut_off => Some(format!(
            "worker {worker} is cut off from the coordinator; shard {number} was ready when it was last heard"
        )),
        ShardStatus::Ready => None,
        _ if is_cut_off => Some(format!(
            "worker {worker} is cut off from the coordinator: its process is gone, or cannot reach it"
        )),
        ShardStatus::Failed => Some(format!("Discord refuses shard {number}{detail}")),
        ShardStatus::Queued => {
            let why = facts.problem(&WITHOUT_PERMIT).map_or(detail, |why| format!(": {why}"));
            Some(format!("shard {number} waits for its turn to IDENTIFY{why}"))
        }
        ShardStatus::Identifying => {
            Some(format!("shard {number} is connecting: Discord has not sent all its guilds{detail}"))
        }
        ShardStatus::Resuming => Some(format!("shard {number} is resuming its session{detail}")),
        ShardStatus::Moving => {
            Some(format!("shard {number} is moving from {worker} to another worker{detail}"))
        }
        ShardStatus::Silent => Some(format!("nothing is heard from shard {number} on {worker}{detail}")),
        ShardStatus::Reconnecting => {
            Some(format!("shard {number} lost its connection to Discord and reconnects{detail}"))
        }
        ShardStatus::Stopped => Some(format!("worker {worker} has stopped shard {number}{detail}")),
        ShardStatus::Unassigned | ShardStatus::Unspecified => {
            Some(format!("the state of shard {number} is not known{detail}"))
        }
    }
}

/// What to say of a shard that works.
fn working(facts: &Facts<'_>) -> String {
    let is_recent = |at: u64| facts.now_unix_ms.saturating_sub(at) < RECENT_MS;
    let mut recent = facts.lately.iter().filter(|entry| is_recent(entry.until_unix_ms));
    if let Some(entry) = recent.clone().find(|entry| entry.kind == "gap") {
        let reason = entry.gap.as_ref().map_or("", |gap| gap.reason.as_str());
        return format!("it works now, but lost events within the last hour: {reason}");
    }
    if recent.any(|entry| entry.kind == "worker_lost") {
        return "it works now; its worker died within the last hour, and the shard resumed without a gap"
            .to_owned();
    }
    match facts.guild {
        None => "the shard works".to_owned(),
        Some(_) => "nothing is wrong in the fleet: the guild's shard is ready and its worker answers. Look at the bot's own log, \
                    its permissions in the guild, and its intents"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;
