//! A seeded fault schedule: the same seed gives the same faults at the same times. Pure.

use crate::{
    faults::{Fault, NewPreset},
    presets,
    world::{Draw, Snowflake},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// A kind of fault in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Op 7 for a shard.
    Reconnect,
    /// Op 9 `true` for a shard.
    InvalidSessionResumable,
    /// Op 9 `false` for a shard, which costs an IDENTIFY.
    InvalidSession,
    /// A close code that allows a RESUME, for a shard.
    Close,
    /// A TCP reset for a shard.
    Abort,
    /// Freezes a shard's connection for up to 10 s.
    Freeze,
    /// Op 1 for a shard.
    RequestHeartbeat,
    /// A guild outage of up to 10 s.
    GuildOutage,
    /// REST answers 503 for up to 5 s.
    RestDown,
    /// The next connection is reset before HELLO.
    AcceptThenClose,
}

impl FaultKind {
    /// Kinds that a correct client survives without an IDENTIFY.
    pub const RESUMABLE: [Self; 9] = [
        Self::Reconnect,
        Self::InvalidSessionResumable,
        Self::Close,
        Self::Abort,
        Self::Freeze,
        Self::RequestHeartbeat,
        Self::GuildOutage,
        Self::RestDown,
        Self::AcceptThenClose,
    ];
}

/// A fault schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Seed of the faults.
    pub seed: u64,
    /// Mean time between faults, in milliseconds; at least 10.
    pub mean_ms: u64,
    /// Kinds of faults; by default those that a correct client survives without an IDENTIFY.
    #[serde(default = "resumable")]
    pub kinds: Vec<FaultKind>,
    /// Presets to inject too, each as often as a kind of fault and for up to 10 s.
    #[serde(default)]
    pub presets: Vec<String>,
    /// The bot's shard total; by default the recommended one.
    #[serde(default)]
    pub shards: Option<u32>,
    /// Number of faults; unlimited by default. A fault that starts and ends, such as an outage, is one.
    #[serde(default)]
    pub count: Option<u64>,
}

fn resumable() -> Vec<FaultKind> {
    FaultKind::RESUMABLE.to_vec()
}

impl Schedule {
    /// Validates the schedule.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        if self.mean_ms < 10 {
            return Err("with a mean interval (mean_ms) of at least 10 ms");
        }
        if self.kinds.is_empty() && self.presets.is_empty() {
            return Err("with at least one entry in kinds or presets");
        }
        if !self.presets.iter().all(|name| presets::exists(name)) {
            return Err("with known presets (GET /sim/presets)");
        }
        if self.shards == Some(0) {
            return Err("for at least one shard (shards)");
        }
        Ok(())
    }
}

/// The faults of a schedule, sorted by time.
#[derive(Debug)]
pub(crate) struct FaultPlan {
    draw: Draw,
    schedule: Schedule,
    shards: u32,
    guilds: Vec<Snowflake>,
    drawn: u64,
    /// Time of the next fault.
    next: Duration,
    /// Faults that end earlier ones, by time.
    ends: BTreeMap<(Duration, u64), Fault>,
}

impl FaultPlan {
    /// Plans faults for a bot with these shards and guilds.
    pub(crate) fn new(schedule: Schedule, shards: u32, guilds: Vec<Snowflake>) -> Self {
        let draw = Draw::new(schedule.seed, &[200]);
        let shards = schedule.shards.unwrap_or(shards).max(1);
        let mut plan =
            Self { draw, schedule, shards, guilds, drawn: 0, next: Duration::ZERO, ends: BTreeMap::new() };
        plan.next = plan.gap();
        plan
    }

    /// Removes the end of the last fault, which could not be injected.
    pub(crate) fn cancel_end_of_last(&mut self) {
        let last = self.drawn;
        self.ends.retain(|(_, drawn), _| *drawn != last);
    }

    /// Returns the time of the next fault since the schedule's start.
    pub(crate) fn due(&self) -> Option<Duration> {
        let end = self.ends.keys().next().map(|(at, _)| *at);
        let next = self.has_more().then_some(self.next);
        end.into_iter().chain(next).min()
    }

    fn has_more(&self) -> bool {
        self.schedule.count.is_none_or(|count| self.drawn < count)
    }

    /// Returns the faults that end everything that is still on.
    pub(crate) fn into_ends(self) -> impl Iterator<Item = Fault> {
        self.ends.into_values()
    }

    /// Draws an exponentially distributed interval.
    fn gap(&mut self) -> Duration {
        let uniform = (self.draw.range(1, 1_000_000) as f64) / 1_000_000.0;
        Duration::from_millis(self.schedule.mean_ms).mul_f64(-uniform.ln())
    }

    fn ends_after(&mut self, at: Duration, most_ms: u64, end: Fault) {
        let lasts = Duration::from_millis(self.draw.range(100, most_ms));
        self.ends.insert((at + lasts, self.drawn), end);
    }

    fn fault(&mut self, at: Duration) -> Fault {
        let kinds = self.schedule.kinds.len() as u64;
        // Without presets a seed must give the same faults as in earlier versions.
        let drawn = self.draw.range(0, kinds + self.schedule.presets.len() as u64 - 1);
        if let Some(name) = drawn.checked_sub(kinds).and_then(|at| self.schedule.presets.get(at as usize)) {
            let name = name.clone();
            self.ends_after(at, 10_000, Fault::ClearOddities { name: Some(name.clone()) });
            return Fault::Preset(NewPreset { name, ..NewPreset::default() });
        }
        let kind = self.schedule.kinds[drawn as usize];
        let shards = Some(vec![self.draw.range(0, u64::from(self.shards) - 1) as u32]);
        match kind {
            FaultKind::Reconnect => Fault::Reconnect { shards },
            FaultKind::InvalidSessionResumable => Fault::InvalidSession { shards, resumable: true },
            FaultKind::InvalidSession => Fault::InvalidSession { shards, resumable: false },
            FaultKind::Close => {
                let code = self.draw.pick(&[1001, 4000, 4000, 4009]);
                Fault::Close { shards, code, reason: String::new() }
            }
            FaultKind::Abort => Fault::Abort { shards },
            FaultKind::Freeze => {
                self.ends_after(at, 10_000, Fault::Freeze { shards: shards.clone(), on: false });
                Fault::Freeze { shards, on: true }
            }
            FaultKind::RequestHeartbeat => Fault::RequestHeartbeat { shards },
            FaultKind::GuildOutage if !self.guilds.is_empty() => {
                let guild_id = self.guilds[self.draw.range(0, self.guilds.len() as u64 - 1) as usize];
                self.ends_after(at, 10_000, Fault::GuildOutage { guild_id, on: false });
                Fault::GuildOutage { guild_id, on: true }
            }
            FaultKind::RestDown => {
                self.ends_after(at, 5_000, Fault::RestDown { on: false });
                Fault::RestDown { on: true }
            }
            FaultKind::AcceptThenClose | FaultKind::GuildOutage => Fault::AcceptThenClose { connections: 1 },
        }
    }
}

impl Iterator for FaultPlan {
    /// Time since the schedule's start, and the fault.
    type Item = (Duration, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        let more = self.has_more();
        if let Some(end) = self.ends.first_entry()
            && (end.key().0 <= self.next || !more)
        {
            let ((at, _), fault) = end.remove_entry();
            return Some((at, fault));
        }
        if !more {
            return None;
        }
        let at = self.next;
        self.drawn += 1;
        let fault = self.fault(at);
        self.next = at + self.gap();
        Some((at, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, kinds: Vec<FaultKind>, count: u64) -> Vec<(Duration, Fault)> {
        let schedule = Schedule {
            seed,
            mean_ms: 1_000,
            kinds,
            presets: Vec::new(),
            shards: Some(4),
            count: Some(count),
        };
        FaultPlan::new(schedule, 1, vec![Snowflake(1), Snowflake(2)]).collect()
    }

    #[test]
    fn same_seed_gives_same_faults_in_order() {
        let first = plan(1, resumable(), 200);
        assert_eq!(first, plan(1, resumable(), 200));
        assert_ne!(first, plan(2, resumable(), 200));
        assert!(first.is_sorted_by_key(|(at, _)| *at));
        let mean = first.last().unwrap().0 / 200;
        assert!((700..1_400).contains(&mean.as_millis()), "{mean:?}");
    }

    #[test]
    fn every_started_fault_is_ended() {
        let faults = plan(3, vec![FaultKind::Freeze, FaultKind::GuildOutage, FaultKind::RestDown], 100);
        let on = |fault: &Fault| match fault {
            Fault::Freeze { on, .. } | Fault::GuildOutage { on, .. } | Fault::RestDown { on } => *on,
            other => panic!("{other:?}"),
        };
        let begun = faults.iter().filter(|(_, fault)| on(fault)).count();
        assert_eq!((begun, faults.len()), (100, 200));
    }

    #[test]
    fn presets_are_drawn_and_cleared() {
        let presets = vec!["resumed_then_close".to_owned()];
        let schedule =
            Schedule { seed: 1, mean_ms: 1_000, kinds: Vec::new(), presets, shards: None, count: Some(20) };
        schedule.validate().unwrap();
        let faults: Vec<_> =
            FaultPlan::new(schedule.clone(), 1, Vec::new()).map(|(_, fault)| fault).collect();
        let begun = faults.iter().filter(|fault| matches!(fault, Fault::Preset(_))).count();
        let ended = faults.iter().filter(|fault| matches!(fault, Fault::ClearOddities { .. })).count();
        assert_eq!((begun, ended), (20, 20));
        assert!(Schedule { presets: vec!["nonsense".into()], ..schedule }.validate().is_err());
    }

    #[test]
    fn invalid_schedules_are_rejected() {
        let parse = |json| serde_json::from_str::<Schedule>(json);
        assert_eq!(parse(r#"{"seed":1,"mean_ms":1000}"#).unwrap().kinds.len(), 9);
        assert!(parse(r#"{"seed":1,"mean_ms":1}"#).unwrap().validate().is_err());
        assert!(parse(r#"{"seed":1,"mean_ms":1000,"kinds":["nonsense"]}"#).is_err());
    }
}
