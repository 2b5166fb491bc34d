//! Decides which commands wait here, and in which order they go. Pure.
//!
//! Presences and voice states are states: only the newest of a shard or guild waits, and an older one never goes out after a
//! newer one. All other commands go in the stream's order; those without room here stay in the stream, and are read again before
//! anything newer of their lane.

use std::collections::{HashMap, HashSet, VecDeque};

use fleet_model::ShardSlot;
use serde_json::Value;

use crate::EntryId;

/// The most commands that wait in one lane.
pub(super) const LANE: usize = 256;

/// The most states whose newest id is remembered.
const REMEMBERED: usize = 16_384;

/// A kind of command; one kind of a shard is sent in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LaneKind {
    /// The presence.
    Presence,
    /// The voice state in a guild.
    Voice(u64),
    /// Requests for members, and commands that will be refused.
    Other,
}

impl LaneKind {
    pub(super) fn of(payload: &Value) -> Self {
        match payload["op"].as_u64() {
            Some(3) => Self::Presence,
            Some(4) => {
                let guild = &payload["d"]["guild_id"];
                let guild = guild.as_u64().or_else(|| guild.as_str()?.parse().ok());
                guild.map_or(Self::Other, Self::Voice)
            }
            _ => Self::Other,
        }
    }

    fn is_state(self) -> bool {
        self != Self::Other
    }
}

/// A lane's key.
pub(super) type Key = (ShardSlot, LaneKind);

/// A command that was read from the stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QueuedCommand {
    pub(super) id: EntryId,
    pub(super) shard: ShardSlot,
    pub(super) payload: Value,
}

impl QueuedCommand {
    pub(super) fn key(&self) -> Key {
        (self.shard, LaneKind::of(&self.payload))
    }
}

/// The result of putting a command into its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutOutcome {
    /// Waiting; the lane is idle and has to be started.
    Start,
    /// Waiting.
    Waits,
    /// Known already.
    AtHand,
    /// Replaced by a newer one; finished.
    Outdated,
    /// No room; it stays in the stream.
    Deferred,
}

#[derive(Debug, Default)]
struct CommandLane {
    waiting: VecDeque<QueuedCommand>,
    /// Whether its task runs.
    runs: bool,
    /// From this id on its commands are in the stream.
    deferred_from: Option<EntryId>,
}

#[derive(Debug, Default)]
pub(super) struct CommandLanes {
    by_key: HashMap<Key, CommandLane>,
    /// The newest command of each state.
    newest: HashMap<Key, EntryId>,
    /// Commands that wait or are being sent.
    at_hand: HashSet<EntryId>,
}

impl CommandLanes {
    pub(super) fn at_hand(&self) -> usize {
        self.at_hand.len()
    }

    /// Puts a command into its lane. Also returns the command that it replaced, which is finished. `again`: the command was
    /// deferred before.
    pub(super) fn put(&mut self, taken: QueuedCommand, again: bool) -> (PutOutcome, Option<EntryId>) {
        let (id, key) = (taken.id, taken.key());
        if self.at_hand.contains(&id) {
            return (PutOutcome::AtHand, None);
        }
        let mut replaced = None;
        if key.1.is_state() {
            if self.newest.get(&key).is_some_and(|newest| *newest > id) {
                return (PutOutcome::Outdated, None);
            }
            self.newest.insert(key, id);
            replaced = self.by_key.get_mut(&key).and_then(|lane| lane.waiting.pop_back()).map(|old| old.id);
            if let Some(old) = &replaced {
                self.at_hand.remove(old);
            }
        }
        let lane = self.by_key.entry(key).or_default();
        let is_behind = !again && lane.deferred_from.is_some_and(|from| from <= id);
        if is_behind || lane.waiting.len() >= LANE {
            lane.deferred_from = Some(lane.deferred_from.filter(|_| !again).map_or(id, |from| from.min(id)));
            return (PutOutcome::Deferred, replaced);
        }
        lane.waiting.push_back(taken);
        self.at_hand.insert(id);
        (
            if std::mem::replace(&mut lane.runs, true) { PutOutcome::Waits } else { PutOutcome::Start },
            replaced,
        )
    }

    /// The next command of a lane; its task ends without one.
    pub(super) fn next(&mut self, key: Key) -> Option<QueuedCommand> {
        let lane = self.by_key.get_mut(&key)?;
        let next = lane.waiting.pop_front();
        if next.is_none() {
            lane.runs = false;
            if lane.deferred_from.is_none() {
                self.by_key.remove(&key);
            }
        }
        next
    }

    /// Whether a newer command has replaced this one.
    pub(super) fn is_outdated(&self, key: Key, id: EntryId) -> bool {
        self.newest.get(&key).is_some_and(|newest| *newest > id)
    }

    /// Forgets a finished command.
    pub(super) fn finished(&mut self, id: EntryId) {
        self.at_hand.remove(&id);
    }

    /// Lanes with room for deferred commands, and from which id.
    pub(super) fn to_refill(&self) -> Vec<(Key, EntryId)> {
        let has_room = |lane: &CommandLane| lane.waiting.len() <= LANE / 2;
        let lanes = self.by_key.iter().filter(|(_, lane)| has_room(lane));
        lanes.filter_map(|(key, lane)| Some((*key, lane.deferred_from?))).collect()
    }

    /// Notes how far deferred commands were read; `None`: all of them.
    pub(super) fn refilled(&mut self, key: Key, from: Option<EntryId>) {
        if let Some(lane) = self.by_key.get_mut(&key) {
            lane.deferred_from = from;
            if from.is_none() && !lane.runs {
                self.by_key.remove(&key);
            }
        }
    }

    /// Forgets states older than this, in Redis's milliseconds: older commands are dropped anyway.
    pub(super) fn forget_before(&mut self, ms: u64) {
        if self.newest.len() >= REMEMBERED / 2 {
            self.newest.retain(|_, id| id.ms >= ms);
        }
        if self.newest.len() >= REMEMBERED {
            let waits: HashSet<Key> = self.by_key.keys().copied().collect();
            self.newest.retain(|key, _| waits.contains(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(number: u64) -> EntryId {
        EntryId { ms: 1_000, number }
    }

    fn taken(number: u64, shard: u32, payload: Value) -> QueuedCommand {
        QueuedCommand { id: id(number), shard: ShardSlot(shard), payload }
    }

    fn presence(number: u64, shard: u32) -> QueuedCommand {
        taken(number, shard, json!({ "op": 3, "d": { "status": "idle" } }))
    }

    fn voice(number: u64, guild: &Value) -> QueuedCommand {
        taken(number, 0, json!({ "op": 4, "d": { "guild_id": guild } }))
    }

    fn members(number: u64, shard: u32) -> QueuedCommand {
        taken(number, shard, json!({ "op": 8, "d": {} }))
    }

    #[test]
    fn newest_state_replaces_waiting_ones() {
        for (name, commands, left) in [
            ("presences", vec![presence(1, 0), presence(2, 0), presence(3, 0)], vec![3]),
            ("presences out of order", vec![presence(3, 0), presence(1, 0), presence(2, 0)], vec![3]),
            ("presences of two shards", vec![presence(1, 0), presence(2, 1), presence(3, 0)], vec![2, 3]),
            (
                "voice states, as numbers or texts",
                vec![voice(1, &json!("7")), voice(2, &json!(7)), voice(3, &json!("8"))],
                vec![2, 3],
            ),
            ("a presence between members", vec![members(1, 0), presence(2, 0), members(3, 0)], vec![1, 2, 3]),
            ("voice states of no guild", vec![voice(1, &json!(null)), voice(2, &json!(null))], vec![1, 2]),
        ] {
            let mut lanes = CommandLanes::default();
            let keys: HashSet<Key> = commands.iter().map(QueuedCommand::key).collect();
            for command in commands {
                lanes.put(command, false);
            }
            let mut ids = Vec::new();
            for key in keys {
                ids.extend(std::iter::from_fn(|| lanes.next(key)).map(|taken| taken.id.number));
            }
            ids.sort_unstable();
            assert_eq!(ids, left, "{name}");
            for number in left {
                lanes.finished(id(number));
            }
            assert_eq!(lanes.at_hand(), 0, "{name}");
            assert!(lanes.by_key.is_empty(), "{name}");
        }
    }

    #[test]
    fn newer_state_replaces_one_being_sent() {
        let mut lanes = CommandLanes::default();
        let key = presence(1, 0).key();
        assert_eq!(lanes.put(presence(1, 0), false), (PutOutcome::Start, None));
        let first = lanes.next(key).unwrap();
        assert!(!lanes.is_outdated(key, first.id));
        assert_eq!(lanes.put(presence(2, 0), false), (PutOutcome::Waits, None));
        assert!(lanes.is_outdated(key, first.id));
        assert_eq!(lanes.put(presence(3, 0), false), (PutOutcome::Waits, Some(id(2))));
        assert_eq!(lanes.put(presence(3, 0), false), (PutOutcome::AtHand, None));
        assert_eq!(lanes.put(presence(2, 0), false), (PutOutcome::Outdated, None));
    }

    #[test]
    fn full_lane_keeps_its_order_and_delays_no_other() {
        let mut lanes = CommandLanes::default();
        let key = members(1, 0).key();
        let count = LANE as u64 + 40;
        for number in 1..=count {
            lanes.put(members(number, 0), false);
        }
        assert_eq!(lanes.put(members(count + 1, 1), false), (PutOutcome::Start, None));
        assert!(lanes.to_refill().is_empty());
        let mut out: Vec<u64> = Vec::new();
        while let Some(taken) = lanes.next(key) {
            out.push(taken.id.number);
            // New commands wait behind deferred ones.
            if out.len() == 100 {
                assert_eq!(lanes.put(members(count + 2, 0), false), (PutOutcome::Deferred, None));
            }
            for (refill, from) in lanes.to_refill() {
                assert_eq!(refill, key);
                for number in (from.number..=count + 2).filter(|number| *number != count + 1) {
                    assert_ne!(lanes.put(members(number, 0), true).0, PutOutcome::Deferred);
                }
                lanes.refilled(key, None);
            }
        }
        assert_eq!(out, (1..=count).chain([count + 2]).collect::<Vec<_>>());
    }
}
