//! One gateway session: its sequence, its replay buffer, who is connected to it.
//!
//! Pure: no socket, no clock. The buffer is the only queue there is: a connection reads it with a cursor, so a slow
//! reader holds no memory of its own, and live sending and replay are one mechanism. A reader that falls further
//! behind than the buffer reaches is cut off. Guilds that READY promised are given a sequence only when the reader has
//! caught up, which paces them. There is one reader, or more when a [switch](ResumeWhileOpen) lets two share a session.
//!
//! RESUMED takes a sequence number of its own here and stays in the buffer, so a later replay may repeat it: Discord
//! says neither, and sequences without holes let a client tell a gap from a RESUMED.

use crate::{
    event::{Event, Sight},
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

/// Deliveries kept for the ledger of one session; older ones are dropped and counted.
const DELIVERIES_KEPT: usize = 1_024;
/// Events kept for a connection that is behind, beyond those kept for RESUME: further behind it is cut off.
const BEHIND_MOST: usize = 16_384;
/// Connections that share a session at most, where a switch lets them.
const READERS_MOST: usize = 8;
/// Guilds given a sequence in one go once the reader has caught up.
const GUILDS_AT_ONCE: usize = 4;

/// A connection's number, unique in this simulator.
pub(crate) type ConnectionId = u64;

/// What a connection finds when it asks for more to send.
#[derive(Debug)]
pub(crate) enum Taken {
    /// These, in order; up to `replay_until` they are a replay.
    Events { events: Vec<(u64, Event)>, replay_until: u64 },
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
    /// A connection is open, and only one may be; the session goes on there.
    StillOpen {
        /// What op 9 says.
        resumable: bool,
    },
}

/// A connection that reads a session.
#[derive(Debug)]
struct Reader {
    connection: ConnectionId,
    /// The last sequence handed to it.
    cursor: u64,
    /// Up to here it gets a replay.
    replay_until: u64,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) sight: Sight,
    pub(crate) token: BotToken,
    /// How the client wants the bot to be shown.
    pub(crate) presence: Option<OwnPresence>,
    log: VecDeque<Event>,
    capacity: usize,
    /// The last sequence given.
    sequence: u64,
    readers: Vec<Reader>,
    /// The last sequence handed to the newest reader, even when it is gone.
    sent: u64,
    /// Guilds that READY promised and that got no event yet, and whether they have an outage.
    promised: BTreeMap<GuildIndex, bool>,
    detached_at: Option<Duration>,
    opened_at: Duration,
    ended: Option<(Duration, &'static str)>,
    /// The sequences that RESUMED took.
    resumed_at: Vec<u64>,
    /// The highest sequence that a heartbeat or RESUME named.
    acknowledged: u64,
    deliveries: VecDeque<Delivery>,
    deliveries_dropped: u64,
}

impl Session {
    /// A session that has just identified on `connection`; READY is in its buffer.
    pub(crate) fn open(
        sight: Sight,
        token: BotToken,
        capacity: usize,
        ready: Event,
        promised: BTreeMap<GuildIndex, bool>,
        connection: ConnectionId,
        now: Duration,
    ) -> Self {
        let mut session = Self {
            sight,
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

    /// Moves the GUILD_CREATE of one of READY's guilds before READY; false without guilds. Only for a session that was just
    /// opened.
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

    /// Forgets the oldest events that need not be kept, so that `more` fit in.
    fn make_room(&mut self, more: usize) {
        let handed = self.readers.iter().map(|reader| reader.cursor).min().unwrap_or(u64::MAX);
        let most = self.capacity.max(BEHIND_MOST);
        while self.log.len() + more > self.capacity
            && (self.forgotten() < handed || self.log.len() + more > most)
            && self.log.pop_front().is_some()
        {}
    }

    /// Sets how many events are kept for RESUME; at least 1.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.make_room(0);
    }

    /// The last sequence that is no longer in the buffer.
    fn forgotten(&self) -> u64 {
        self.sequence - self.log.len() as u64
    }

    /// The first sequence after which a RESUME may ask.
    fn resumable_from(&self) -> u64 {
        self.forgotten().max(self.sequence.saturating_sub(self.capacity as u64))
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
                Event::Ready(_)
                | Event::Resumed
                | Event::Message(_)
                | Event::MembersChunk { .. }
                | Event::Made(_) => {}
            }
            return None;
        }
        Some(self.push(event))
    }

    /// Takes up to `most` events that `connection` has not been handed yet.
    pub(crate) fn take(&mut self, connection: ConnectionId, most: usize) -> Taken {
        let forgotten = self.forgotten();
        let Some(reader) = self.readers.iter().position(|reader| reader.connection == connection) else {
            return Taken::NotYours;
        };
        let cursor = self.readers[reader].cursor;
        if cursor < forgotten {
            return Taken::Overrun;
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
        Taken::Events { events, replay_until: self.readers[reader].replay_until }
    }

    /// Notes that `connection` was sent these sequences; up to `replay_until` they are a replay.
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

    /// Attaches `connection`, which has seen everything up to `seen`; returns the connections that lose the session to it.
    ///
    /// # Errors
    ///
    /// When the events after `seen` can't be replayed, or a connection is open and that is not allowed.
    pub(crate) fn resume(
        &mut self,
        connection: ConnectionId,
        seen: u64,
        while_open: ResumeWhileOpen,
    ) -> Result<Vec<ConnectionId>, ResumeRefusal> {
        if !self.readers.is_empty() {
            match while_open {
                ResumeWhileOpen::Refuse => return Err(ResumeRefusal::StillOpen { resumable: false }),
                ResumeWhileOpen::RefuseForNow => return Err(ResumeRefusal::StillOpen { resumable: true }),
                ResumeWhileOpen::Takeover | ResumeWhileOpen::Both => {}
            }
        }
        if seen > self.sequence {
            return Err(ResumeRefusal::BeyondSequence);
        }
        if seen < self.resumable_from() {
            return Err(ResumeRefusal::TooOld);
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

    /// The connection is gone; the session can be resumed. False when it was not this one's.
    pub(crate) fn detach(&mut self, connection: ConnectionId, now: Duration) -> bool {
        let before = self.readers.len();
        self.readers.retain(|reader| reader.connection != connection);
        let own = self.readers.len() < before;
        if own && self.readers.is_empty() {
            self.detached_at = Some(now);
        }
        own
    }

    /// Ends the session for good; only what the ledger needs is kept.
    pub(crate) fn end(&mut self, now: Duration, why: &'static str) {
        if self.ended.is_none() {
            self.ended = Some((now, why));
            self.readers.clear();
            self.log = VecDeque::new();
            self.promised.clear();
        }
    }

    /// Whether it has ended for good.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether nobody was connected for `life`.
    pub(crate) fn expired(&self, now: Duration, life: Duration) -> bool {
        self.detached_at.is_some_and(|since| now.saturating_sub(since) >= life)
    }

    /// Notes a heartbeat's `d`; with `trim`, events up to it are forgotten that every reader has been handed.
    pub(crate) fn acknowledge(&mut self, sequence: u64, trim: bool) {
        self.acknowledged = self.acknowledged.max(sequence.min(self.sequence));
        if trim {
            let handed = self.readers.iter().map(|reader| reader.cursor).min().unwrap_or(0);
            let keep_after = self.acknowledged.min(handed);
            let keep = (self.sequence - keep_after.min(self.sequence)) as usize;
            self.log.drain(..self.log.len().saturating_sub(keep));
        }
    }

    /// What became of the sequences from `from` to `to`; of at most `most`.
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
                session_id: self.sight.session_id.clone(),
                shard: self.sight.shard,
                sequence,
                event: name(sequence),
                sent: sent(sequence),
                acknowledged: sequence <= self.acknowledged,
            })
            .collect()
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
