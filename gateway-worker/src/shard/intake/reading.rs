//! Passes events to the cache: the readable parts, if the guild belongs to the shard.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{ProblemCode, ShardEvent};
use tokio::time::Instant;
use twilight_model::gateway::event::EventType;

use super::{DispatchOutcome, Intake, MOST_AHEAD, OUT_OF_ORDER};
use crate::{
    payload::guild_of,
    reading::{self, Odd, Part, SessionStart, Unreadable},
};

/// Why a READY is refused.
const WRONG_SESSION: &str = "Discord answered with the session of another shard";
/// Shortest time between two warnings of one kind.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Counts and limits warnings about a shard's events.
#[derive(Debug, Default)]
pub(super) struct WarningCounts(BTreeMap<(&'static str, Part), (Instant, u64)>);

impl WarningCounts {
    /// Adds to a count. Returns the unlogged total if a warning is due.
    fn due(&mut self, what: &'static str, part: Part, count: usize) -> Option<u64> {
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
    pub(super) fn apply(&mut self, event: &ShardEvent) {
        let ShardEvent { name, position, guild, text, .. } = event;
        if !self.is_for_cache(name) {
            return;
        }
        let guild = *guild;
        if guild.is_some_and(|guild| self.is_foreign(guild)) {
            self.count_foreign(1);
            return;
        }
        let shard = self.shard.clone();
        if let Ok(reading) = reading::read(name, text, |update| shard.cache().object_of_update(name, update))
        {
            shard.cache().apply(&reading, position.sequence);
            self.count_odd(name, guild, &reading.odd);
        } else {
            self.metrics.count_garbled();
            self.count_unreadable(name, guild, Part::Event, 1);
            if reading::is_structural(name) {
                shard.cache().doubt_event(guild);
            }
        }
    }

    /// Whether the cache uses events of this name.
    pub(super) fn is_for_cache(&self, name: &str) -> bool {
        EventType::try_from(name).is_ok_and(|kind| self.wanted.contains(&kind))
    }

    /// Notes that an event was left out: what it may have changed is in doubt. `name`: `None` when unreadable.
    pub(in crate::shard) fn not_taken(&mut self, name: Option<&str>, text: &str) {
        let guild = guild_of(name.unwrap_or_default(), text);
        if guild.is_some_and(|guild| self.is_foreign(guild)) {
            self.count_foreign(1);
        } else if name.is_none_or(reading::is_structural) {
            self.shard.cache().doubt_event(guild);
        }
    }

    /// Reads READY, leaving out guilds of other shards. Says how a READY is refused that begins no session of this
    /// shard.
    pub(super) fn read_ready(&mut self, ready: &ShardEvent) -> Result<SessionStart, DispatchOutcome> {
        let start = reading::session_start(&ready.text);
        let mut start =
            start.map_err(|Unreadable| DispatchOutcome::Unusable("READY without a usable session id"))?;
        if ready.position.sequence > MOST_AHEAD {
            return Err(DispatchOutcome::Hopeless(OUT_OF_ORDER));
        }
        let key = self.shard.key();
        let own = (u64::from(key.number()), u64::from(key.total()));
        let named = start.guilds.len();
        start.guilds.retain(|guild| !self.is_foreign(*guild));
        let foreign = named - start.guilds.len();
        if foreign > 0 {
            self.count_foreign(foreign);
        }
        if start.shard.is_some_and(|shard| shard != own) || foreign > 0 && start.guilds.is_empty() {
            self.shard.set_cause(ProblemCode::WrongSession, WRONG_SESSION);
            return Err(DispatchOutcome::Hopeless(WRONG_SESSION));
        }
        self.count_odd("READY", None, &start.odd);
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
        if let Some(count) = self.warnings.due("foreign", Part::Guild, count) {
            tracing::warn!(
                shard.id = %self.shard.key(), count,
                "guilds of other shards ignored; check the shard total"
            );
        }
    }

    fn count_odd(&mut self, event: &str, guild: Option<u64>, odd: &Odd) {
        for (part, count) in odd.parts() {
            self.count_unreadable(event, guild, part, count);
        }
    }

    /// `event` is a known name; nothing else of the payload is logged.
    fn count_unreadable(&mut self, event: &str, guild: Option<u64>, part: Part, count: usize) {
        self.metrics.count_unreadable(part, count);
        if let Some(count) = self.warnings.due("unreadable", part, count) {
            tracing::warn!(
                shard.id = %self.shard.key(), event, guild, part = part.as_str(), count,
                "unreadable parts of an event left out or replaced by defaults"
            );
        }
    }
}

#[cfg(test)]
mod tests;
