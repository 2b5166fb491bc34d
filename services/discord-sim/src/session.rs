//! A gateway session: its sequence, replay buffer and connections.
//!
//! Pure: no socket, no clock. The buffer is the only queue. Each connection reads it with a cursor, so a slow reader needs no memory
//! of its own, and live events and replays use one mechanism. A reader that falls behind the buffer is closed. The guilds of READY
//! get their sequence only when the reader has caught up, which limits their pace. A session has one reader, or several if a
//! [switch](ResumeWhileOpen) allows it.
//!
//! RESUMED takes a sequence and stays in the buffer, so a later replay may repeat it. Discord documents neither. Contiguous sequences
//! let a client distinguish a gap from a RESUMED.

use crate::{
    event::{Event, SessionParams},
    intents::Gate,
    protocol::BotToken,
    report::{Delivery, SentTo, SequenceReport, SessionReport},
    request::OwnPresence,
    switches::ResumeWhileOpen,
    world::GuildIndex,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Deliveries kept per session for the ledger; older ones are dropped and counted.
const DELIVERIES_KEPT: usize = 1_024;
/// Events kept for a connection that is behind, beyond those kept for RESUME. A connection further behind is closed.
const BEHIND_MOST: usize = 16_384;
/// Limit of connections that share a session, if a switch allows sharing.
const READERS_MOST: usize = 8;
/// Guilds that get a sequence at once when the reader has caught up.
const GUILDS_AT_ONCE: usize = 4;

/// A connection's number, unique in this simulator.
pub(crate) type ConnectionId = u64;

/// The next events for a connection.
#[derive(Debug)]
pub(crate) enum NextEvents {
    /// Events in order; those up to `replay_until` are a replay.
    Events { events: Vec<(u64, Event)>, replay_until: u64 },
    /// The session has ended, or another connection resumed it.
    Detached,
    /// The connection is too far behind; the buffer no longer has its next event.
    Overrun,
}

/// Why a RESUME is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeError {
    /// The events after that sequence are no longer kept.
    TooOld,
    /// The sequence is beyond the session.
    BeyondSequence,
    /// The session has an open connection and may have only one; it continues there.
    StillOpen {
        /// The value of `d` in op 9.
        resumable: bool,
    },
}

/// A connection that reads the session.
#[derive(Debug)]
struct Reader {
    connection: ConnectionId,
    /// Last sequence handed to it.
    cursor: u64,
    /// Last sequence of its replay.
    replay_until: u64,
}

/// A gateway session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) params: SessionParams,
    pub(crate) token: BotToken,
    /// The bot's presence.
    pub(crate) presence: Option<OwnPresence>,
    log: VecDeque<Event>,
    capacity: usize,
    /// Sequence of the last event.
    sequence: u64,
    readers: Vec<Reader>,
    /// Last sequence handed to the newest reader, kept after it left.
    sent: u64,
    /// Guilds of READY without an event so far, with whether they have an outage.
    promised: BTreeMap<GuildIndex, bool>,
    detached_at: Option<Duration>,
    opened_at: Duration,
    ended: Option<(Duration, &'static str)>,
    /// Sequences of RESUMED.
    resumed_at: Vec<u64>,
    /// Highest sequence in a heartbeat or RESUME.
    acknowledged: u64,
    deliveries: VecDeque<Delivery>,
    deliveries_dropped: u64,
}

impl Session {
    /// Opens a session after IDENTIFY on `connection`, with READY in its buffer.
    pub(crate) fn open(
        params: SessionParams,
        token: BotToken,
        capacity: usize,
        ready: Event,
        promised: BTreeMap<GuildIndex, bool>,
        connection: ConnectionId,
        now: Duration,
    ) -> Self {
        let mut session = Self {
            params,
            token,
            presence: None,
            log: VecDeque::new(),
            capacity,
            sequence: 0,
            readers: vec![Reader { connection, cursor: 0, replay_until: 0 }],
            sent: 0,
            promised,
            detached_at: None,
            opened_at: now,
            ended: None,
            resumed_at: Vec::new(),
            acknowledged: 0,
            deliveries: VecDeque::new(),
            deliveries_dropped: 0,
        };
        session.push(ready);
        session
    }

    /// Moves the GUILD_CREATE of one guild before READY. Returns false if READY has no available guild. Only for a new session.
    pub(crate) fn put_guild_before_ready(&mut self) -> bool {
        let Some((guild, _)) = self.promised.iter().find(|(_, outage)| !**outage) else { return false };
        let guild = *guild;
        self.promised.remove(&guild);
        self.log.push_front(Event::GuildCreate { guild, just_joined: false });
        self.sequence += 1;
        true
    }

    fn push(&mut self, event: Event) -> u64 {
        self.make_room(1);
        self.log.push_back(event);
        self.sequence += 1;
        self.sequence
    }

    /// Drops the oldest events that need not be kept, so that `more` events fit.
    fn make_room(&mut self, more: usize) {
        let handed = self.readers.iter().map(|reader| reader.cursor).min().unwrap_or(u64::MAX);
        let most = self.capacity.max(BEHIND_MOST);
        while self.log.len() + more > self.capacity
            && (self.forgotten() < handed || self.log.len() + more > most)
            && self.log.pop_front().is_some()
        {}
    }

    /// Sets the number of events kept for RESUME, at least 1.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.make_room(0);
    }

    /// Returns the last sequence that is no longer in the buffer.
    fn forgotten(&self) -> u64 {
        self.sequence - self.log.len() as u64
    }

    /// Returns the lowest sequence from which a RESUME is possible.
    fn resumable_from(&self) -> u64 {
        self.forgotten().max(self.sequence.saturating_sub(self.capacity as u64))
    }

    /// Adds an event. Returns its sequence, or `None` if this session does not get it.
    pub(crate) fn dispatch(&mut self, event: Event) -> Option<u64> {
        if self.ended.is_some() || !event.gate().allows(self.params.intents) {
            return None;
        }
        if event.gate() != Gate::Open
            && let Some(guild) = event.guild()
            && let Some(outage) = self.promised.get_mut(&guild)
        {
            // The guild's first event follows later with its state at that time.
            match event {
                Event::GuildDelete { outage: true, .. } => *outage = true,
                Event::GuildCreate { .. } => *outage = false,
                Event::GuildDelete { outage: false, .. } => {
                    self.promised.remove(&guild);
                    return Some(self.push(event));
                }
                Event::Ready(_)
                | Event::Resumed
                | Event::Message(_)
                | Event::MembersChunk { .. }
                | Event::Prebuilt(_) => {}
            }
            return None;
        }
        Some(self.push(event))
    }

    /// Returns up to `most` events that `connection` has not got yet, and advances its cursor.
    pub(crate) fn next_events(&mut self, connection: ConnectionId, most: usize) -> NextEvents {
        let forgotten = self.forgotten();
        let Some(reader) = self.readers.iter().position(|reader| reader.connection == connection) else {
            return NextEvents::Detached;
        };
        let cursor = self.readers[reader].cursor;
        if cursor < forgotten {
            return NextEvents::Overrun;
        }
        if cursor == self.sequence {
            for _ in 0..GUILDS_AT_ONCE {
                let Some((guild, outage)) = self.promised.pop_first() else { break };
                self.push(if outage {
                    Event::GuildDelete { guild, outage }
                } else {
                    Event::GuildCreate { guild, just_joined: false }
                });
            }
        }
        let skip = (cursor - self.forgotten()) as usize;
        let events: Vec<_> = (cursor + 1..).zip(self.log.iter().skip(skip).take(most).cloned()).collect();
        self.readers[reader].cursor = cursor + events.len() as u64;
        if reader + 1 == self.readers.len() {
            self.sent = self.readers[reader].cursor;
        }
        NextEvents::Events { events, replay_until: self.readers[reader].replay_until }
    }

    /// Records that `connection` was sent these sequences; those up to `replay_until` are a replay.
    pub(crate) fn record_sent(&mut self, connection: ConnectionId, from: u64, to: u64, replay_until: u64) {
        if from <= replay_until && replay_until < to {
            self.record(Delivery { connection, from, to: replay_until, replayed: true });
            self.record(Delivery { connection, from: replay_until + 1, to, replayed: false });
        } else {
            self.record(Delivery { connection, from, to, replayed: to <= replay_until });
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

    /// Attaches `connection`, which has received all events up to `seen`. Returns the connections that lose the session.
    ///
    /// # Errors
    ///
    /// The events after `seen` can't be replayed, or a switch forbids resuming a session with an open connection.
    pub(crate) fn resume(
        &mut self,
        connection: ConnectionId,
        seen: u64,
        while_open: ResumeWhileOpen,
    ) -> Result<Vec<ConnectionId>, ResumeError> {
        if !self.readers.is_empty() {
            match while_open {
                ResumeWhileOpen::Refuse => return Err(ResumeError::StillOpen { resumable: false }),
                ResumeWhileOpen::RefuseForNow => return Err(ResumeError::StillOpen { resumable: true }),
                ResumeWhileOpen::Takeover | ResumeWhileOpen::Both => {}
            }
        }
        if seen > self.sequence {
            return Err(ResumeError::BeyondSequence);
        }
        if seen < self.resumable_from() {
            return Err(ResumeError::TooOld);
        }
        let replay_until = self.sequence;
        self.acknowledged = self.acknowledged.max(seen);
        self.detached_at = None;
        let stay = if while_open == ResumeWhileOpen::Both { READERS_MOST - 1 } else { 0 };
        let leave = self.readers.len().saturating_sub(stay);
        let previous = self.readers.drain(..leave).map(|reader| reader.connection).collect();
        self.readers.push(Reader { connection, cursor: seen, replay_until });
        let resumed = self.push(Event::Resumed);
        self.resumed_at.push(resumed);
        self.sent = seen;
        Ok(previous)
    }

    /// Detaches a connection; the session can be resumed. Returns false if the connection was not attached.
    pub(crate) fn detach(&mut self, connection: ConnectionId, now: Duration) -> bool {
        let before = self.readers.len();
        self.readers.retain(|reader| reader.connection != connection);
        let own = self.readers.len() < before;
        if own && self.readers.is_empty() {
            self.detached_at = Some(now);
        }
        own
    }

    /// Ends the session, keeping only what the ledger needs.
    pub(crate) fn end(&mut self, now: Duration, why: &'static str) {
        if self.ended.is_none() {
            self.ended = Some((now, why));
            self.readers.clear();
            self.log = VecDeque::new();
            self.promised.clear();
        }
    }

    /// Returns whether the session has ended.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns whether the session had no connection for `life`.
    pub(crate) fn expired(&self, now: Duration, life: Duration) -> bool {
        self.detached_at.is_some_and(|since| now.saturating_sub(since) >= life)
    }

    /// Records a heartbeat's sequence. With `trim`, drops the events up to it that every reader has got.
    pub(crate) fn acknowledge(&mut self, sequence: u64, trim: bool) {
        self.acknowledged = self.acknowledged.max(sequence.min(self.sequence));
        if trim {
            let handed = self.readers.iter().map(|reader| reader.cursor).min().unwrap_or(0);
            let keep_after = self.acknowledged.min(handed);
            let keep = (self.sequence - keep_after.min(self.sequence)) as usize;
            self.log.drain(..self.log.len().saturating_sub(keep));
        }
    }

    /// Reports the sequences from `from` to `to`, at most `most`.
    pub(crate) fn sequences(&self, from: u64, to: u64, most: usize) -> Vec<SequenceReport> {
        let name = |sequence: u64| {
            let at = sequence.checked_sub(self.forgotten() + 1)?;
            self.log.get(at as usize).map(|event| event.name().to_owned())
        };
        let sent = |sequence: u64| {
            let runs = self.deliveries.iter().filter(move |run| (run.from..=run.to).contains(&sequence));
            runs.map(|run| SentTo { connection: run.connection, replayed: run.replayed }).collect()
        };
        (from.max(1)..=to.min(self.sequence))
            .take(most)
            .map(|sequence| SequenceReport {
                session_id: self.params.session_id.clone(),
                shard: self.params.shard,
                sequence,
                event: name(sequence),
                sent: sent(sequence),
                acknowledged: sequence <= self.acknowledged,
            })
            .collect()
    }

    /// Returns the session's report for the ledger.
    pub(crate) fn report(&self) -> SessionReport {
        SessionReport {
            session_id: self.params.session_id.clone(),
            shard: self.params.shard,
            intents: self.params.intents.0,
            opened_at_ms: self.opened_at.as_millis() as u64,
            ended_at_ms: self.ended.map(|(at, _)| at.as_millis() as u64),
            ended_why: self.ended.map(|(_, why)| why.to_owned()),
            connection: self.readers.last().map(|reader| reader.connection),
            sequence: self.sequence,
            sent: self.sent,
            kept_from: self.resumable_from() + 1,
            acknowledged: self.acknowledged,
            presence: self.presence.as_ref().map_or(Value::Null, |presence| json!(presence)),
            guilds_to_come: self.promised.len(),
            resumes: self.resumed_at.len() as u32,
            resumed_at: self.resumed_at.clone(),
            deliveries: self.deliveries.iter().cloned().collect(),
            deliveries_dropped: self.deliveries_dropped,
        }
    }
}

#[cfg(test)]
mod tests;
