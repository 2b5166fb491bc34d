//! Oddities: ways in which Discord breaks its own rules, for testing bots.
//!
//! There are three mechanisms: a [`Script`] runs actions on a gateway connection, a [`Patch`] changes events before they are sent, a
//! [`RestAnswer`] replaces or changes REST answers. [presets](crate::presets) name common ones. An oddity is active until it has
//! applied `times` times or is cleared. This module owns the list of active oddities; connections run the actions.

mod edit;
mod patch;
mod rest;
mod script;

pub use edit::Edit;
pub use patch::Patch;
pub use rest::RestAnswer;
pub use script::{Action, Address, Moment, Script};

pub(crate) use rest::Replacement;
pub(crate) use script::from_hex;

use crate::{event::Event, fault_error::FaultError, shard::Shard, world::Snowflake};
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

/// Limit of active oddities.
const MOST: usize = 256;
/// Value of `left` without a limit.
const ALWAYS: u64 = u64::MAX;

/// An oddity of one of the three kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// Runs actions on gateway connections.
    Script(Script),
    /// Changes events.
    Patch(Patch),
    /// Changes REST answers.
    RestAnswer(RestAnswer),
}

impl Oddity {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Script(script) => script.name.as_deref(),
            Self::Patch(patch) => patch.name.as_deref(),
            Self::RestAnswer(answer) => answer.name.as_deref(),
        }
    }

    const fn times(&self) -> Option<u32> {
        match self {
            Self::Script(script) => script.times,
            Self::Patch(patch) => patch.times,
            Self::RestAnswer(answer) => answer.times,
        }
    }
}

/// An active oddity, as shown by `GET /sim/oddities`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OddityReport {
    /// Number of applications so far.
    pub applied: u64,
    /// Remaining applications; null without a limit.
    pub left: Option<u64>,
    /// The oddity.
    pub oddity: Oddity,
}

#[derive(Debug)]
struct ActiveOddity {
    left: AtomicU64,
    applied: AtomicU64,
    oddity: Oddity,
}

impl ActiveOddity {
    /// Counts one application. Returns false if none are left.
    fn take(&self) -> bool {
        let took = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
            ALWAYS => Some(ALWAYS),
            left => left.checked_sub(1),
        });
        if took.is_ok() {
            self.applied.fetch_add(1, Ordering::Relaxed);
        }
        took.is_ok()
    }

    fn is_used_up(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

/// The active oddities, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Oddities(RwLock<Arc<Vec<Arc<ActiveOddity>>>>);

impl Oddities {
    fn active(&self) -> Arc<Vec<Arc<ActiveOddity>>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<ActiveOddity>>)) {
        let mut guard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::clone(&guard);
        list.retain(|one| !one.is_used_up());
        change(&mut list);
        *guard = Arc::new(list);
    }

    /// Adds an oddity.
    ///
    /// # Errors
    ///
    /// The oddity is invalid, or [`MOST`] are already active.
    pub(crate) fn add(&self, oddity: Oddity) -> Result<(), FaultError> {
        match &oddity {
            Oddity::Script(script) => script.validate()?,
            Oddity::Patch(patch) => patch.validate()?,
            Oddity::RestAnswer(answer) => answer.validate()?,
        }
        let left = AtomicU64::new(oddity.times().map_or(ALWAYS, u64::from));
        let active = Arc::new(ActiveOddity { left, applied: AtomicU64::new(0), oddity });
        let mut full = false;
        self.change(|list| {
            full = list.len() >= MOST;
            if !full {
                list.push(active);
            }
        });
        if full { Err(FaultError::TooManyOddities(MOST)) } else { Ok(()) }
    }

    /// Removes the oddities with this name, or all.
    pub(crate) fn clear(&self, name: Option<&str>) {
        self.change(|list| list.retain(|one| name.is_some() && one.oddity.name() != name));
    }

    /// Lists the active oddities.
    pub(crate) fn reports(&self) -> Vec<OddityReport> {
        let report = |one: &Arc<ActiveOddity>| OddityReport {
            applied: one.applied.load(Ordering::Relaxed),
            left: Some(one.left.load(Ordering::Relaxed)).filter(|left| *left != ALWAYS),
            oddity: one.oddity.clone(),
        };
        self.active().iter().map(report).collect()
    }

    /// Returns and counts the script for a moment of a connection. `shard` is `None` before IDENTIFY.
    pub(crate) fn script(&self, at: Moment, address: Address, shard: Option<Shard>) -> Option<Script> {
        let list = self.active();
        list.iter().find_map(|one| match &one.oddity {
            Oddity::Script(script) if script.is_for(at, address, shard) && one.take() => Some(script.clone()),
            _ => None,
        })
    }

    /// Returns and counts the oddity for a REST call.
    pub(crate) fn rest_answer(&self, method: &str, route: &str) -> Option<RestAnswer> {
        let list = self.active();
        list.iter().find_map(|one| match &one.oddity {
            Oddity::RestAnswer(answer) if answer.is_for(method, route) && one.take() => Some(answer.clone()),
            _ => None,
        })
    }

    /// Patches an event's body, which begins at `start`. Returns the number of copies to send.
    pub(crate) fn patch(
        &self,
        event: &Event,
        guild: Option<Snowflake>,
        shard: Shard,
        payload: &mut Vec<u8>,
        start: usize,
    ) -> u32 {
        let list = self.active();
        let mut copies = 1_u32;
        for one in list.iter() {
            if let Oddity::Patch(patch) = &one.oddity
                && patch.is_for(event.name(), guild, shard)
                && one.take()
            {
                let body = patch.apply(&payload[start..]);
                payload.truncate(start);
                payload.extend_from_slice(&body);
                copies = if patch.leave_out { 0 } else { copies.saturating_add(patch.repeat) };
            }
        }
        copies
    }
}

#[cfg(test)]
mod tests;
