//! From READY or RESUMED to a ready shard: waits for the guilds, and ends the trace of the start.

use std::time::Duration;

use fleet_model::{ShardStatus, StartKind};
use tokio::time::Instant;

use super::{Connection, stage::Stage};

/// A guild of READY that has not come this long after the last one counts as not coming: the shard is ready
/// without it. discord.js waits as long.
const GUILD_GAP: Duration = Duration::from_secs(15);

impl Connection<'_> {
    pub(super) fn ready(&mut self) {
        self.dialing.succeeded();
        self.outcome.taken_at = Some(Instant::now());
        self.stage = Stage::Running;
        self.identified = true;
        self.parts.metrics.count_identified();
        self.intake.session_began();
        self.parts.commands.session_began();
        self.step("receive_guilds");
        self.shard().session_began();
        self.filling_since = Some(Instant::now());
        self.shard().set_status(ShardStatus::Identifying, "");
        self.check_filled();
    }

    pub(super) fn resumed(&mut self) {
        self.dialing.succeeded();
        self.outcome.taken_at = Some(Instant::now());
        self.stage = Stage::Running;
        self.parts.metrics.count_resumed();
        self.intake.resumed();
        if self.shard().cache().pending_guilds() > 0 {
            self.filling_since = Some(Instant::now());
            self.shard().set_status(ShardStatus::Identifying, "");
        }
        self.check_filled_or_ready();
    }

    pub(super) fn check_filled_or_ready(&mut self) {
        if self.filling_since.is_none() {
            self.mark_ready(String::new());
        } else {
            self.check_filled();
        }
    }

    /// Marks the shard ready once every guild of READY has come, or none has for a while.
    pub(super) fn check_filled(&mut self) {
        let Some(since) = self.filling_since else { return };
        if !matches!(self.stage, Stage::Running) || self.intake.is_reading() {
            return;
        }
        let pending = self.shard().cache().pending_guilds();
        let has_guilds_intent =
            self.parts.settings.intents.contains(twilight_model::gateway::Intents::GUILDS);
        if pending == 0 || !has_guilds_intent {
            self.filling_since = None;
            self.mark_ready(String::new());
        } else if since.elapsed() >= GUILD_GAP {
            self.filling_since = None;
            self.mark_ready(format!("{pending} guilds have not come"));
        }
    }

    fn mark_ready(&mut self, detail: String) {
        self.shard().set_status(ShardStatus::Ready, detail);
        // None: it was ready before, and only silent for a while.
        if let Some(starting) = self.starting.take() {
            let outcome = self.intake.ready(self.identified);
            // The coordinator logs the progress of shards that IDENTIFY one by one.
            if outcome.kind == StartKind::Resumed {
                tracing::info!(batch = true, shard.id = %self.shard().key(), "shards resumed");
            }
            tracing::debug!(
                shard.id = %self.shard().key(), epoch = %self.shard().epoch(), how = %outcome.kind,
                took_ms = outcome.took.as_millis() as u64, replayed = outcome.replayed,
                gap = outcome.gap.is_some(), "shard ready"
            );
            starting.ready(&outcome);
        }
    }

    pub(super) fn step(&mut self, name: &'static str) {
        if let Some(starting) = &mut self.starting {
            starting.step(name);
        }
    }

    pub(super) fn greets(&mut self, how: &'static str) {
        if let Some(starting) = &mut self.starting {
            starting.greets(how);
        }
    }
}
