//! One gateway session: its sequence, its replay buffer, who is connected to it.
//!
//! Pure: no socket, no clock. The buffer is the only queue there is: a connection reads it with a cursor, so a slow
//! reader holds no memory of its own, and live sending and replay are one mechanism. A reader that falls further
//! behind than the buffer reaches is cut off. Guilds that READY promised are given a sequence only when the reader has
//! caught up, which paces them.
//!
//! RESUMED takes a sequence number of its own here and stays in the buffer, so a later replay may repeat it: Discord
//! says neither, and sequences without holes let a client tell a gap from a RESUMED.

use crate::{
    event::{Event, Sight},
    intents::Gate,
    report::{Delivery, SessionReport},
    world::GuildIndex,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Deliveries kept for the ledger of one session; older ones are dropped and counted.
const DELIVERIES_KEPT: usize = 1_024;
/// Guilds given a sequence in one go once the reader has caught up.
const GUILDS_AT_ONCE: usize = 4;

/// A connection's number, unique in this simulator.
pub(crate) type ConnectionId = u64;

/// What a connection finds when it asks for more to send.
#[derive(Debug)]
pub(crate) enum Taken {
    /// These, in order.
    Events(Vec<(u64, Event)>),
    /// The session has another connection now, or has ended.
    NotYours,
    /// The connection is so far behind that events are lost to it.
    Overrun,
}

/// Why a RESUME is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeRefusal {
    /// Events after that sequence are no longer kept.
    TooOld,
    /// The session never reached that sequence.
    BeyondSequence,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) sight: Sight,
    pub(crate) token: String,
    log: VecDeque<Event>,
    capacity: usize,
    /// The last sequence given.
    sequence: u64,
    /// The last sequence handed to the connection.
    cursor: u64,
    /// Up to here the connection gets a replay.
    replay_until: u64,
    /// Guilds that READY promised and that got no event yet, and whether they have an outage.
    promised: BTreeMap<GuildIndex, bool>,
    connection: Option<ConnectionId>,
    detached_at: Option<Duration>,
    opened_at: Duration,
    ended: Option<(Duration, &'static str)>,
    resumes: u32,
    acknowledged: u64,
    deliveries: VecDeque<Delivery>,
    deliveries_dropped: u64,
}

impl Session {
    /// A session that has just identified on `connection`; READY is in its buffer.
    pub(crate) fn open(
        sight: Sight,
        token: String,
        capacity: usize,
        ready: Event,
        promised: BTreeMap<GuildIndex, bool>,
        connection: ConnectionId,
        now: Duration,
    ) -> Self {
        let mut session = Self {
            sight,
            token,
            log: VecDeque::new(),
            capacity,
            sequence: 0,
            cursor: 0,
            replay_until: 0,
            promised,
            connection: Some(connection),
            detached_at: None,
            opened_at: now,
            ended: None,
            resumes: 0,
            acknowledged: 0,
            deliveries: VecDeque::new(),
            deliveries_dropped: 0,
        };
        session.push(ready);
        session
    }

    fn push(&mut self, event: Event) -> u64 {
        if self.log.len() == self.capacity {
            self.log.pop_front();
        }
        self.log.push_back(event);
        self.sequence += 1;
        self.sequence
    }

    /// The last sequence that is no longer in the buffer.
    fn forgotten(&self) -> u64 {
        self.sequence - self.log.len() as u64
    }

    /// Gives an event its sequence; `None` when this session does not get it.
    pub(crate) fn dispatch(&mut self, event: Event) -> Option<u64> {
        if self.ended.is_some() || !event.gate().lets(self.sight.intents) {
            return None;
        }
        if event.gate() != Gate::Open
            && let Some(guild) = event.guild()
            && let Some(outage) = self.promised.get_mut(&guild)
        {
            // The guild's first event is still to come: it will tell how things are by then.
            match event {
                Event::GuildDelete { outage: true, .. } => *outage = true,
                Event::GuildCreate { .. } => *outage = false,
                Event::GuildDelete { outage: false, .. } => {
                    self.promised.remove(&guild);
                    return Some(self.push(event));
                }
                Event::Ready(_) | Event::Resumed | Event::Message(_) | Event::Made(_) => {}
            }
            return None;
        }
        Some(self.push(event))
    }

    /// Takes up to `most` events that `connection` has not been handed yet.
    pub(crate) fn take(&mut self, connection: ConnectionId, most: usize) -> Taken {
        if self.connection != Some(connection) || self.ended.is_some() {
            return Taken::NotYours;
        }
        if self.cursor < self.forgotten() {
            return Taken::Overrun;
        }
        if self.cursor == self.sequence {
            for _ in 0..GUILDS_AT_ONCE.min(self.capacity) {
                let Some((guild, outage)) = self.promised.pop_first() else { break };
                self.push(if outage {
                    Event::GuildDelete { guild, outage }
                } else {
                    Event::GuildCreate { guild, just_joined: false }
                });
            }
        }
        let skip = (self.cursor - self.forgotten()) as usize;
        let first = self.cursor + 1;
        let events: Vec<_> = (first..).zip(self.log.iter().skip(skip).take(most).cloned()).collect();
        self.cursor += events.len() as u64;
        Taken::Events(events)
    }

    /// Notes that `connection` was sent these sequences.
    pub(crate) fn record_sent(&mut self, connection: ConnectionId, from: u64, to: u64) {
        if from <= self.replay_until && self.replay_until < to {
            self.record(Delivery { connection, from, to: self.replay_until, replayed: true });
            self.record(Delivery { connection, from: self.replay_until + 1, to, replayed: false });
        } else {
            self.record(Delivery { connection, from, to, replayed: to <= self.replay_until });
        }
    }

    fn record(&mut self, delivery: Delivery) {
        if let Some(last) = self.deliveries.back_mut()
            && (last.connection, last.replayed, last.to + 1)
                == (delivery.connection, delivery.replayed, delivery.from)
        {
            last.to = delivery.to;
            return;
        }
        if self.deliveries.len() == DELIVERIES_KEPT {
            self.deliveries.pop_front();
            self.deliveries_dropped += 1;
        }
        self.deliveries.push_back(delivery);
    }

    /// Attaches `connection`, which has seen everything up to `seen`; returns the connection that it takes over from.
    ///
    /// # Errors
    ///
    /// When the events after `seen` can't be replayed.
    pub(crate) fn resume(
        &mut self,
        connection: ConnectionId,
        seen: u64,
    ) -> Result<Option<ConnectionId>, ResumeRefusal> {
        if seen > self.sequence {
            return Err(ResumeRefusal::BeyondSequence);
        }
        if seen < self.forgotten() {
            return Err(ResumeRefusal::TooOld);
        }
        self.replay_until = self.sequence;
        self.cursor = seen;
        self.detached_at = None;
        self.resumes += 1;
        // The buffer may be full: then the oldest event makes room, unless the client still needs it.
        if self.log.len() == self.capacity && seen == self.forgotten() {
            self.capacity += 1;
        }
        self.push(Event::Resumed);
        Ok(self.connection.replace(connection))
    }

    /// The connection is gone; the session can be resumed. False when it was not this one's.
    pub(crate) fn detach(&mut self, connection: ConnectionId, now: Duration) -> bool {
        let own = self.connection == Some(connection);
        if own {
            self.connection = None;
            self.detached_at = Some(now);
        }
        own
    }

    /// Ends the session for good; only what the ledger needs is kept.
    pub(crate) fn end(&mut self, now: Duration, why: &'static str) {
        if self.ended.is_none() {
            self.ended = Some((now, why));
            self.connection = None;
            self.log = VecDeque::new();
            self.promised.clear();
        }
    }

    /// Whether nobody was connected for `life`.
    pub(crate) fn expired(&self, now: Duration, life: Duration) -> bool {
        self.detached_at.is_some_and(|since| now.saturating_sub(since) >= life)
    }

    /// Notes a heartbeat's `d`.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        self.acknowledged = self.acknowledged.max(sequence.min(self.sequence));
    }

    /// What the ledger shows.
    pub(crate) fn report(&self) -> SessionReport {
        SessionReport {
            session_id: self.sight.session_id.clone(),
            shard: self.sight.shard,
            intents: self.sight.intents.0,
            opened_at_ms: self.opened_at.as_millis() as u64,
            ended_at_ms: self.ended.map(|(at, _)| at.as_millis() as u64),
            ended_why: self.ended.map(|(_, why)| why.to_owned()),
            connection: self.connection,
            sequence: self.sequence,
            sent: self.cursor,
            acknowledged: self.acknowledged,
            guilds_to_come: self.promised.len(),
            resumes: self.resumes,
            deliveries: self.deliveries.iter().cloned().collect(),
            deliveries_dropped: self.deliveries_dropped,
        }
    }
}

#[cfg(test)]
mod tests;
