//! The control API: what a test asks and tells the simulator, in process by [`Control`], else over HTTP.
//!
//! | | |
//! |---|---|
//! | `GET /sim/ledger?shard=NUMBER&session=ID` | [`LedgerReport`], all or some sessions |
//! | `GET /sim/sequences?shard=NUMBER&from=1&to=10` | list of [`SequenceReport`] |
//! | `GET /sim/violations`, `DELETE` | [`Listed`] of [`Violation`]; forgets them |
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

/// How often [`Control::wait_until`] looks.
const LOOK: Duration = Duration::from_millis(5);

/// Sequences told of in one answer at most.
const SEQUENCES: usize = 10_000;

/// Access to a running simulator in the same process; cheap to clone.
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

    /// The REST API of the same simulator.
    pub(crate) fn rest(&self) -> Rest {
        self.rest.clone()
    }

    /// Makes a fault of the schedule happen; true when it could be made. The record has the error otherwise.
    pub(crate) fn inject_scheduled(&self, fault: Fault) -> bool {
        self.inject_and_record(fault, true).is_ok()
    }

    /// What was sent to which session.
    pub fn ledger(&self) -> LedgerReport {
        self.hub.ledger()
    }

    /// The rules that clients broke.
    pub fn violations(&self) -> Listed<Violation> {
        self.hub.violations()
    }

    /// Forgets the violations so far.
    pub fn forget_violations(&self) {
        self.hub.forget_violations();
    }

    /// Every IDENTIFY.
    pub fn identifies(&self) -> Listed<IdentifyRecord> {
        self.hub.identifies()
    }

    /// What identified clients asked the gateway for.
    pub fn asked(&self) -> Listed<AskedRecord> {
        self.hub.asked()
    }

    /// Open connections, live sessions, and how many connections each shard had.
    pub fn sessions(&self) -> SessionsReport {
        self.hub.sessions()
    }

    /// Up to `limit` of the bot's guilds; `shard_total` decides which shard each is shown on.
    pub fn guilds(&self, limit: usize, shard_total: u32) -> Vec<GuildReport> {
        self.hub.guilds(limit, shard_total)
    }

    /// The bot's own user.
    pub fn bot_id(&self) -> Snowflake {
        self.hub.world.bot_id()
    }

    /// Up to `limit` users with their guilds: some in voice, some in several guilds, then others.
    pub fn users(&self, limit: usize) -> Vec<UserReport> {
        self.hub.users(limit)
    }

    /// The totals that a bot should come to.
    pub fn stats(&self, shard_total: u32) -> StatsReport {
        self.hub.stats(shard_total)
    }

    /// The interactions so far and how they were answered; the newest 10,000, oldest first.
    pub fn interactions(&self) -> Vec<InteractionReport> {
        self.rest.interactions()
    }

    /// The messages that the bot wrote; the newest 10,000, oldest first.
    pub fn messages(&self) -> Vec<MessageReport> {
        self.rest.messages()
    }

    /// The bot's commands.
    pub fn commands(&self) -> Vec<CommandReport> {
        self.rest.commands()
    }

    /// How often which REST call was answered with what.
    pub fn requests(&self) -> RequestsReport {
        self.rest.requests()
    }

    /// What became of each sequence of a shard's sessions, at most 10,000 of them.
    pub fn sequences(&self, shard: u32, from: u64, to: u64) -> Vec<SequenceReport> {
        self.hub.sequences(|session| session.sight.shard.number == shard, from, to, SEQUENCES)
    }

    /// The faults that were made, but for messages.
    pub fn faults(&self) -> Listed<FaultRecord> {
        self.hub.faults()
    }

    /// All named oddities.
    pub fn presets() -> Vec<PresetReport> {
        presets::reports()
    }

    /// The active oddities.
    pub fn oddities(&self) -> Vec<OddityReport> {
        self.hub.odd.reports()
    }

    /// The schedule of faults that runs.
    pub fn schedule(&self) -> Option<Schedule> {
        self.hub.schedule.borrow().clone()
    }

    /// Starts a schedule of faults in place of the one that runs, or ends it; what it has begun ends at once.
    ///
    /// # Errors
    ///
    /// When it can't work, in words.
    pub fn set_schedule(&self, schedule: Option<Schedule>) -> Result<(), &'static str> {
        schedule.as_ref().map_or(Ok(()), Schedule::validate)?;
        self.hub.schedule.send_replace(schedule);
        Ok(())
    }

    /// The switches as they are now.
    pub fn switches(&self) -> Switches {
        self.hub.switches()
    }

    /// Changes switches.
    ///
    /// # Errors
    ///
    /// When a switch can't work; then none is changed.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) -> Result<Switches, ConfigError> {
        self.hub.switch(|now| {
            let mut wanted = now.clone();
            change(&mut wanted);
            Ok(wanted)
        })
    }

    /// Makes a fault happen.
    ///
    /// # Errors
    ///
    /// When it can't: an unknown guild, a rate or code out of range.
    pub fn inject(&self, fault: Fault) -> Result<FaultOutcome, FaultError> {
        self.inject_and_record(fault, false)
    }

    /// Waits until `condition` holds, looking every 5 ms; false when it did not within `limit`.
    pub async fn wait_until(&self, limit: Duration, mut condition: impl FnMut(&Self) -> bool + Send) -> bool {
        let look = async {
            while !condition(self) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(limit, look).await.is_ok()
    }
}
