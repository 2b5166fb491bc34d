//! Injects faults: applies faults of REST and presets; the [hub](crate::hub) applies the others.

use super::Control;
use crate::{
    fault_error::FaultError,
    faults::{Fault, FaultOutcome, FaultRecord},
    presets::{self, PresetInput},
    report::GuildState,
};
use std::time::Duration;

/// The longest wait that an injected 429 may request.
const DAY: Duration = Duration::from_hours(24);

impl Control {
    /// Applies a fault and records it.
    ///
    /// # Errors
    ///
    /// The fault is impossible here or has invalid values.
    pub(super) fn inject_and_record(
        &self,
        fault: Fault,
        scheduled: bool,
    ) -> Result<FaultOutcome, FaultError> {
        tracing::info!(?fault, scheduled, "fault injected");
        // The ledger counts messages; thousands of them would push faults out of the record.
        if matches!(fault, Fault::Message { .. }) {
            return self.hub.apply(fault, scheduled);
        }
        let at_ms = self.hub.now().as_millis() as u64;
        let done = self.apply(fault.clone(), scheduled);
        let (connections, error) = match &done {
            Ok(outcome) => (outcome.connections, None),
            Err(error) => (0, Some(error.to_string())),
        };
        self.hub.record_fault(FaultRecord { at_ms, fault, scheduled, connections, error });
        done
    }

    fn apply(&self, fault: Fault, scheduled: bool) -> Result<FaultOutcome, FaultError> {
        match fault {
            Fault::RateLimit { count, scope, retry_after } => {
                let retry_after = Duration::try_from_secs_f64(retry_after)
                    .ok()
                    .filter(|time| *time <= DAY)
                    .ok_or(FaultError::BadRetryAfter)?;
                self.rest.state().inject_limits(count, scope, retry_after);
                Ok(FaultOutcome::default())
            }
            Fault::RestDelay { ms } => {
                self.rest.state().delay = Duration::from_millis(ms);
                Ok(FaultOutcome::default())
            }
            Fault::Interaction(wanted) => self.rest.begin_interaction(wanted),
            Fault::Preset(wanted) => {
                let hub = &self.hub;
                let mut all = 0..hub.world.all_guilds();
                let input = PresetInput {
                    world: &hub.world,
                    server: &hub.server,
                    shards: hub.session_limit().shards,
                    first_available: all.find(|guild| hub.guild_state(*guild) == GuildState::Available),
                    voice: &|guild| hub.voice(guild),
                };
                let mut outcome = FaultOutcome::default();
                for fault in presets::faults(&input, &wanted)? {
                    let part = self.apply(fault, scheduled)?;
                    outcome.connections += part.connections;
                    outcome.guild_id = outcome.guild_id.or(part.guild_id);
                    outcome.dispatched.extend(part.dispatched);
                }
                Ok(outcome)
            }
            fault => self.hub.apply(fault, scheduled),
        }
    }
}
