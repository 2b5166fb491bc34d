//! The control API: tests observe and steer the simulator through [`Control`] in process, or over HTTP.
//!
//! | | |
//! |---|---|
//! | `GET /sim/ledger?shard=NUMBER&session=ID` | [`LedgerReport`] of all or some sessions |
//! | `GET /sim/sequences?shard=NUMBER&from=1&to=10` | list of [`SequenceReport`] |
//! | `GET /sim/violations`, `DELETE` | [`Listed`] of [`Violation`]; clears them |
//! | `GET /sim/identifies` | [`Listed`] of [`IdentifyRecord`] |
//! | `GET /sim/asked` | [`Listed`] of [`AskedRecord`]: presences, voice states, requests for members |
//! | `GET /sim/sessions` | [`SessionsReport`] |
//! | `GET /sim/guilds?limit=100&shard_total=1` | list of [`GuildReport`] |
//! | `GET /sim/users?limit=20` | list of [`UserReport`] |
//! | `GET /sim/stats?shard_total=1` | [`StatsReport`] |
//! | `GET /sim/interactions` | list of [`InteractionReport`], the newest 10,000 |
//! | `GET /sim/messages` | list of [`MessageReport`], the newest 10,000 of the bot |
//! | `GET /sim/commands` | list of [`CommandReport`] |
//! | `GET /sim/requests` | [`RequestsReport`] |
//! | `GET /sim/switches`, `PATCH` with some of them | [`Switches`] |
//! | `GET /sim/schedule`, `PUT`, `DELETE` | [`Schedule`] or null |
//! | `GET /sim/faults` | [`Listed`] of [`FaultRecord`] |
//! | `GET /sim/presets` | list of [`PresetReport`] |
//! | `GET /sim/oddities` | list of [`OddityReport`] |
//! | `POST /sim/faults` with a [`Fault`] | [`FaultOutcome`], or 400 and `{"error": "..."}` |

mod http;
mod inject;

pub(crate) use http::routes;

use crate::{
    AskedRecord, CommandReport, ConfigError, Fault, FaultError, FaultOutcome, FaultRecord, GuildReport,
    IdentifyRecord, InteractionReport, LedgerReport, Listed, MessageReport, OddityReport, PresetReport,
    RequestsReport, Schedule, SequenceReport, SessionsReport, Snowflake, StatsReport, Switches, UserReport,
    Violation, hub::Hub, presets, rest::Rest,
};
use std::{sync::Arc, time::Duration};

/// Interval in which [`Control::wait_until`] checks its condition.
const LOOK: Duration = Duration::from_millis(5);

/// Limit of sequences in one answer.
const SEQUENCES: usize = 10_000;

/// Handle of a running simulator in the same process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    hub: Arc<Hub>,
    rest: Rest,
}

impl Control {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let rest = Rest::new(Arc::clone(&hub));
        Self { hub, rest }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns the REST API of the same simulator.
    pub(crate) fn rest(&self) -> Rest {
        self.rest.clone()
    }

    /// Injects a fault of the schedule. Returns whether it was applied; the record has the error.
    pub(crate) fn inject_scheduled(&self, fault: Fault) -> bool {
        self.inject_and_record(fault, true).is_ok()
    }

    /// Returns the events sent to each session.
    pub fn ledger(&self) -> LedgerReport {
        self.hub.ledger()
    }

    /// Returns the rules that clients broke.
    pub fn violations(&self) -> Listed<Violation> {
        self.hub.violations()
    }

    /// Clears the violations.
    pub fn forget_violations(&self) {
        self.hub.forget_violations();
    }

    /// Returns every IDENTIFY.
    pub fn identifies(&self) -> Listed<IdentifyRecord> {
        self.hub.identifies()
    }

    /// Returns the gateway requests of identified clients.
    pub fn asked(&self) -> Listed<AskedRecord> {
        self.hub.asked()
    }

    /// Returns open connections, live sessions and connection counts per shard.
    pub fn sessions(&self) -> SessionsReport {
        self.hub.sessions()
    }

    /// Returns up to `limit` of the bot's guilds, with each one's shard among `shard_total`.
    pub fn guilds(&self, limit: usize, shard_total: u32) -> Vec<GuildReport> {
        self.hub.guilds(limit, shard_total)
    }

    /// Returns the bot's user id.
    pub fn bot_id(&self) -> Snowflake {
        self.hub.world.bot_id()
    }

    /// Returns up to `limit` users with their guilds: some in voice, some in several guilds, then others.
    pub fn users(&self, limit: usize) -> Vec<UserReport> {
        self.hub.users(limit)
    }

    /// Returns the totals that a bot should report.
    pub fn stats(&self, shard_total: u32) -> StatsReport {
        self.hub.stats(shard_total)
    }

    /// Returns the newest 10,000 interactions with their answers, oldest first.
    pub fn interactions(&self) -> Vec<InteractionReport> {
        self.rest.interactions()
    }

    /// Returns the bot's newest 10,000 messages, oldest first.
    pub fn messages(&self) -> Vec<MessageReport> {
        self.rest.messages()
    }

    /// Returns the bot's commands.
    pub fn commands(&self) -> Vec<CommandReport> {
        self.rest.commands()
    }

    /// Returns REST calls counted by route and status.
    pub fn requests(&self) -> RequestsReport {
        self.rest.requests()
    }

    /// Reports each sequence of a shard's sessions, at most 10,000.
    pub fn sequences(&self, shard: u32, from: u64, to: u64) -> Vec<SequenceReport> {
        self.hub.sequences(|session| session.params.shard.number == shard, from, to, SEQUENCES)
    }

    /// Returns the injected faults, without messages.
    pub fn faults(&self) -> Listed<FaultRecord> {
        self.hub.faults()
    }

    /// Returns all presets.
    pub fn presets() -> Vec<PresetReport> {
        presets::reports()
    }

    /// Returns the active oddities.
    pub fn oddities(&self) -> Vec<OddityReport> {
        self.hub.odd.reports()
    }

    /// Returns the running fault schedule.
    pub fn schedule(&self) -> Option<Schedule> {
        self.hub.schedule.borrow().clone()
    }

    /// Replaces or ends the fault schedule. Faults with a duration that the old schedule started end at once.
    ///
    /// # Errors
    ///
    /// The reason why the schedule is invalid.
    pub fn set_schedule(&self, schedule: Option<Schedule>) -> Result<(), &'static str> {
        schedule.as_ref().map_or(Ok(()), Schedule::validate)?;
        self.hub.schedule.send_replace(schedule);
        Ok(())
    }

    /// Returns the current switches.
    pub fn switches(&self) -> Switches {
        self.hub.switches()
    }

    /// Changes switches.
    ///
    /// # Errors
    ///
    /// A switch is invalid; no switch changed.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) -> Result<Switches, ConfigError> {
        self.hub.switch(|now| {
            let mut wanted = now.clone();
            change(&mut wanted);
            Ok(wanted)
        })
    }

    /// Injects a fault.
    ///
    /// # Errors
    ///
    /// The fault is impossible or invalid, such as an unknown guild or a close code out of range.
    pub fn inject(&self, fault: Fault) -> Result<FaultOutcome, FaultError> {
        self.inject_and_record(fault, false)
    }

    /// Waits until `condition` holds, checked every 5 ms. Returns false if it did not within `limit`.
    pub async fn wait_until(&self, limit: Duration, mut condition: impl FnMut(&Self) -> bool + Send) -> bool {
        let look = async {
            while !condition(self) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(limit, look).await.is_ok()
    }
}
