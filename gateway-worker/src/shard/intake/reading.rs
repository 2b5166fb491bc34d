//! Passes events to the cache: the readable parts, if the guild belongs to the shard.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{ProblemCode, ShardEvent};
use guild_cache::{Losses, is_structural};
use tokio::time::Instant;

use super::{DispatchOutcome, Intake, MOST_AHEAD, OUT_OF_ORDER};
use crate::{
    event::Arrived,
    reading::{self, SessionStart, Unreadable},
};

/// Why a READY is refused.
const WRONG_SESSION: &str = "Discord answered with the session of another shard";
/// Shortest time between two warnings of one kind.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Counts and limits warnings about a shard's events.
#[derive(Debug, Default)]
pub(super) struct WarningCounts(BTreeMap<(&'static str, &'static str), (Instant, u64)>);

impl WarningCounts {
    /// Adds to a count. Returns the unlogged total if a warning is due.
    fn due(&mut self, what: &'static str, part: &'static str, count: usize) -> Option<u64> {
        let now = Instant::now();
        let Some((at, unsaid)) = self.0.get_mut(&(what, part)) else {
            self.0.insert((what, part), (now, 0));
            return Some(count as u64);
        };
        *unsaid = unsaid.saturating_add(count as u64);
        (now.duration_since(*at) >= SAY_EVERY).then(|| {
            *at = now;
            std::mem::take(unsaid)
        })
    }
}

impl Intake {
    /// Applies an event to the cache, if the cache uses it.
    pub(super) fn apply(&mut self, arrived: &Arrived) {
        let ShardEvent { name, position, guild, .. } = &arrived.event;
        if !self.shard.cache().uses(name) {
            return;
        }
        let guild = *guild;
        if guild.is_some_and(|guild| self.is_foreign(guild)) {
            self.count_foreign(1);
            return;
        }
        let applied = self.shard.cache().apply(name, arrived.data(), position.sequence);
        if applied.is_unreadable {
            self.metrics.count_garbled();
        }
        self.count_losses(name, guild, &applied.losses);
    }

    /// Notes that an event was left out: what it may have changed is in doubt. `name`: `None` when unreadable.
    pub(in crate::shard) fn not_taken(&mut self, name: Option<&str>, guild: Option<u64>) {
        if guild.is_some_and(|guild| self.is_foreign(guild)) {
            self.count_foreign(1);
        } else if name.is_none_or(is_structural) {
            self.shard.cache().doubt_event(guild);
        }
    }

    /// Reads READY, leaving out guilds of other shards. Says how a READY is refused that begins no session of this
    /// shard.
    pub(super) fn read_ready(&mut self, ready: &Arrived) -> Result<SessionStart, DispatchOutcome> {
        let start = reading::session_start(ready.data());
        let mut start =
            start.map_err(|Unreadable| DispatchOutcome::Unusable("READY without a usable session id"))?;
        if ready.event.position.sequence > MOST_AHEAD {
            return Err(DispatchOutcome::Hopeless(OUT_OF_ORDER));
        }
        let key = self.shard.key();
        let own = (u64::from(key.number()), u64::from(key.total()));
        let guilds = &mut start.guilds.guilds;
        let named = guilds.len();
        guilds.retain(|guild| key.has_guild(*guild));
        let foreign = named - guilds.len();
        let is_without_guilds = guilds.is_empty();
        if foreign > 0 {
            self.count_foreign(foreign);
        }
        if start.shard.is_some_and(|shard| shard != own) || foreign > 0 && is_without_guilds {
            self.shard.set_cause(ProblemCode::WrongSession, WRONG_SESSION);
            return Err(DispatchOutcome::Hopeless(WRONG_SESSION));
        }
        start.unreadable().for_each(|part| self.count_unreadable("READY", None, part, 1));
        Ok(start)
    }

    /// Notes a guild that the cache may not know yet.
    pub(super) fn note_guild(&self, guild: u64, event: &ShardEvent) {
        // Discord sends these also for guilds that the bot is not in: users bring an app there, and guilds buy it.
        let is_of_members = &*event.name != "INTERACTION_CREATE" && !event.name.starts_with("ENTITLEMENT_");
        if is_of_members && !self.is_foreign(guild) {
            self.shard.cache().note_guild(guild, event.position.sequence);
        }
    }

    /// Whether a guild belongs to another shard.
    fn is_foreign(&self, guild: u64) -> bool {
        !self.shard.key().has_guild(guild)
    }

    fn count_foreign(&mut self, count: usize) {
        (0..count).for_each(|_| self.metrics.count_foreign());
        if let Some(count) = self.warnings.due("foreign", "guild", count) {
            tracing::warn!(
                shard.id = %self.shard.key(), count,
                "guilds of other shards ignored; check the shard total"
            );
        }
    }

    fn count_losses(&mut self, event: &str, guild: Option<u64>, losses: &Losses) {
        for (part, count) in losses.parts() {
            self.count_unreadable(event, guild, part.as_str(), count);
        }
    }

    /// `event` is a known name; nothing else of the payload is logged.
    fn count_unreadable(&mut self, event: &str, guild: Option<u64>, part: &'static str, count: usize) {
        self.metrics.count_unreadable(part, count);
        if let Some(count) = self.warnings.due("unreadable", part, count) {
            tracing::warn!(
                shard.id = %self.shard.key(), event, guild, part, count,
                "unreadable parts of an event left out"
            );
        }
    }
}

#[cfg(test)]
mod tests;
