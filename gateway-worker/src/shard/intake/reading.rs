//! What the cache is given of a dispatch: what can be read of it, if the guild is one of the shard's.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::shard_of_guild;
use tokio::time::Instant;
use twilight_model::gateway::event::EventType;

use super::{Dispatch, Intake};
use crate::{
    payload::guild_of,
    reading::{self, Odd, Part, SessionStart, Unreadable},
};

/// How often a warning of one kind is logged at most.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Warnings about one shard's events, each kind at most once in a while.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<(&'static str, Part), (Instant, u64)>);

impl Said {
    /// How many are to be told of; `None` when one was told of lately.
    fn now(&mut self, what: &'static str, part: Part, count: usize) -> Option<u64> {
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
    /// Gives the cache an event, as far as it wants it. The text stays as it came.
    pub(super) fn apply(&mut self, dispatch: &Dispatch) {
        let Dispatch { name, sequence, text } = dispatch;
        let kind = EventType::try_from(name.as_str());
        if !kind.is_ok_and(|kind| self.wanted.contains(&kind)) {
            return;
        }
        let guild = guild_of(name, text);
        if guild.is_some_and(|guild| self.is_foreign(guild)) {
            self.count_foreign(1);
            return;
        }
        let shard = self.shard.clone();
        if let Ok(reading) = reading::read(name, text, |update| shard.cache().object_of_update(name, update))
        {
            shard.cache().apply(&reading, *sequence);
            self.count_odd(name, guild, &reading.odd);
        } else {
            self.metrics.count_garbled();
            self.count_unreadable(name, guild, Part::Event, 1);
            if reading::is_structural(name) {
                shard.cache().doubt_event(guild);
            }
        }
    }

    /// Reads READY. Guilds of other shards are not expected.
    pub(super) fn read_ready(&mut self, text: &str) -> Result<SessionStart, Unreadable> {
        let mut start = reading::session_start(text)?;
        let named = start.guilds.len();
        start.guilds.retain(|guild| !self.is_foreign(*guild));
        let foreign = named - start.guilds.len();
        if foreign > 0 {
            self.count_foreign(foreign);
        }
        self.count_odd("READY", None, &start.odd);
        Ok(start)
    }

    /// Whether Discord should have sent the guild to another shard.
    fn is_foreign(&self, guild: u64) -> bool {
        shard_of_guild(guild, self.shard.total()) != Some(self.shard.number())
    }

    fn count_foreign(&mut self, count: usize) {
        (0..count).for_each(|_| self.metrics.count_foreign());
        if let Some(count) = self.said.now("foreign", Part::Guild, count) {
            tracing::warn!(
                shard.id = %self.shard.number(), count,
                "guilds of other shards ignored: check that Discord and the fleet agree on the shard total"
            );
        }
    }

    fn count_odd(&mut self, event: &str, guild: Option<u64>, odd: &Odd) {
        for (part, count) in odd.parts() {
            self.count_unreadable(event, guild, part, count);
        }
    }

    /// `event` is a name that is known here; nothing else of the payload is logged.
    fn count_unreadable(&mut self, event: &str, guild: Option<u64>, part: Part, count: usize) {
        self.metrics.count_unreadable(part, count);
        if let Some(count) = self.said.now("unreadable", part, count) {
            tracing::warn!(
                shard.id = %self.shard.number(), event, guild, part = part.as_str(), count,
                "parts of an event could not be read: they are left out or replaced by defaults"
            );
        }
    }
}

#[cfg(test)]
mod tests;
