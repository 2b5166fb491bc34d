//! Who gets in: connections, IDENTIFY, RESUME, and how they leave.

use super::{Connection, Hub, Order, SessionCell, ids};
use crate::{
    config::MAX_SHARDS,
    event::{Event, Sight},
    identify::Verdict,
    intents::Intents,
    protocol::{Identify, Resume, close},
    report::{IdentifyRecord, ViolationKind},
    session::{ConnectionId, ResumeRefusal, Session},
    shard::Shard,
    world::Draw,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// A client closes one socket and opens the next; which of the two we read first is chance. This long a
/// newcomer waits for the old connection to go before both count as open.
const SETTLE: Duration = Duration::from_millis(50);

/// Orders that wait for a connection at most; more are not given.
const ORDERS: usize = 64;

/// How an IDENTIFY or RESUME is turned down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// With a close code.
    Close(u16, &'static str),
    /// With op 9.
    InvalidSession {
        /// The value of `d`.
        resumable: bool,
    },
}

/// How a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The client closed with 1000 or 1001: its session ends.
    Goodbye,
    /// Any other way: its session can be resumed.
    Resumable,
}

impl Hub {
    /// Registers a new connection; `None` when it shall be dropped at once.
    pub(crate) fn open(&self) -> Option<(ConnectionId, mpsc::Receiver<Order>)> {
        let opened_at = self.now();
        let mut state = self.lock();
        if state.standing.accept_then_close > 0 {
            state.standing.accept_then_close -= 1;
            return None;
        }
        state.connections_opened += 1;
        let id = state.connections_opened;
        let (sender, orders) = mpsc::channel(ORDERS);
        state.connections.insert(id, Connection { opened_at, shard: None, orders: sender });
        Some((id, orders))
    }

    /// Waits until no other connection of the shard is open, at most [`SETTLE`].
    async fn settle(&self, shard: Shard) {
        let alone = async {
            loop {
                let gone = self.gone.notified();
                tokio::pin!(gone);
                gone.as_mut().enable();
                if self.lock().shards.get(&shard).is_none_or(|counts| counts.open == 0) {
                    return;
                }
                gone.await;
            }
        };
        // Running out of time is an answer too: then both count.
        let _ = tokio::time::timeout(SETTLE, alone).await;
    }

    /// Judges an IDENTIFY and opens a session; `now` is when it arrived.
    pub(crate) async fn identify(
        &self,
        connection: ConnectionId,
        asked: Identify,
        now: Duration,
    ) -> Result<Arc<SessionCell>, Refusal> {
        let shard = asked.shard;
        let judged = self.judge(connection, &asked, now);
        let record = |session_id, refused| IdentifyRecord {
            at_ms: now.as_millis() as u64,
            shard,
            connection,
            session_id,
            refused,
        };
        if let Err((refusal, why)) = judged {
            self.lock().identifies.push(record(None, Some(why)));
            return Err(refusal);
        }
        self.settle(shard).await;
        let cell = self.open_session(connection, asked);
        let id = cell.lock().sight.session_id.clone();
        tracing::debug!(connection, %shard, session = id, "identified");
        self.lock().identifies.push(record(Some(id), None));
        Ok(cell)
    }

    fn judge(
        &self,
        connection: ConnectionId,
        asked: &Identify,
        now: Duration,
    ) -> Result<(), (Refusal, String)> {
        let shard = asked.shard;
        let refuse = |kind, refusal, why: String| {
            self.violation(kind, connection, Some(shard), why.clone());
            Err((refusal, why))
        };
        if !self.token_is_good(&asked.token.0) {
            let refusal = Refusal::Close(close::AUTHENTICATION_FAILED, "Authentication failed.");
            if self.lock().standing.reject_token {
                return Err((refusal, "the token is rejected by a fault".into()));
            }
            return refuse(ViolationKind::BadToken, refusal, "not the bot's token".into());
        }
        let unknown = asked.intents.without(Intents::ALL);
        if !unknown.is_empty() {
            let refusal = Refusal::Close(close::INVALID_INTENTS, "Invalid intent(s).");
            return refuse(ViolationKind::InvalidIntents, refusal, format!("intent bits {:#x}", unknown.0));
        }
        let disallowed =
            Intents(asked.intents.0 & Intents::PRIVILEGED.0).without(self.config.privileged_intents);
        if !disallowed.is_empty() {
            let refusal = Refusal::Close(close::DISALLOWED_INTENTS, "Disallowed intent(s).");
            return refuse(
                ViolationKind::DisallowedIntents,
                refusal,
                format!("intent bits {:#x}", disallowed.0),
            );
        }
        let valid = (1..=MAX_SHARDS).contains(&shard.total)
            && shard.number < shard.total
            && shard.total.is_multiple_of(self.config.shard_multiple);
        if !valid {
            let refusal = Refusal::Close(close::INVALID_SHARD, "Invalid shard.");
            let why = format!("shard {shard}, total must be a multiple of {}", self.config.shard_multiple);
            return refuse(ViolationKind::InvalidShard, refusal, why);
        }
        let mut state = self.lock();
        let guilds = state.guilds_of(&self.world, shard).len();
        if guilds > self.config.max_guilds_per_shard as usize {
            drop(state);
            let refusal = Refusal::Close(close::SHARDING_REQUIRED, "Sharding required.");
            return refuse(
                ViolationKind::ShardingRequired,
                refusal,
                format!("{guilds} guilds on shard {shard}"),
            );
        }
        let verdict = state.limiter.ask(shard.number, now);
        match verdict {
            Verdict::Allowed => Ok(()),
            Verdict::TooSoon(ago) => {
                let bucket = shard.number % u32::from(state.limiter.max_concurrency());
                drop(state);
                let why = format!("bucket {bucket} had its last IDENTIFY {} ms ago", ago.as_millis());
                let refusal = Refusal::InvalidSession { resumable: false };
                refuse(ViolationKind::IdentifyConcurrency, refusal, why)
            }
            Verdict::OverBudget => {
                // As Discord does: all sessions end and the token is no longer good.
                state.standing.reject_token = true;
                let every: Vec<String> = state.sessions.keys().cloned().collect();
                for id in &every {
                    state.end_session(&self.world, id, now, "the identify budget was overrun");
                }
                drop(state);
                let refusal = Refusal::Close(close::AUTHENTICATION_FAILED, "Authentication failed.");
                let why = format!("more than {} IDENTIFYs in a day", self.config.daily_identifies);
                refuse(ViolationKind::IdentifyBudget, refusal, why)
            }
        }
    }

    fn open_session(&self, connection: ConnectionId, asked: Identify) -> Arc<SessionCell> {
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut promised = state.guilds_of(&self.world, asked.shard);
        let ready = Event::Ready(ids(&self.world, &promised).into());
        if !asked.intents.contains(Intents::GUILDS) {
            promised = BTreeMap::new();
        }
        state.sessions_opened += 1;
        let id = Draw::new(self.config.seed, &[100, state.sessions_opened]).hex();
        let sight = Sight {
            session_id: id.clone(),
            shard: asked.shard,
            intents: asked.intents,
            large_threshold: asked.large_threshold,
            names_shard: asked.names_shard,
        };
        let capacity = state.switches.replay_buffer;
        let mut session = Session::open(sight, asked.token, capacity, ready, promised, connection, now);
        session.presence = asked.presence;
        if let Some(left) = state.standing.guild_before_ready.checked_sub(1)
            && session.put_guild_before_ready()
        {
            state.standing.guild_before_ready = left;
        }
        let cell = SessionCell::new(session);
        state.sessions.insert(id, Arc::clone(&cell));
        let numbers = state.routes.entry(asked.shard.total).or_default();
        numbers.entry(asked.shard.number).or_default().push(Arc::clone(&cell));
        state.take_place(connection, asked.shard);
        state.shards.entry(asked.shard).or_default().identifies += 1;
        cell
    }

    /// Judges a RESUME and attaches the connection to its session.
    pub(crate) async fn resume(
        &self,
        connection: ConnectionId,
        asked: Resume,
    ) -> Result<Arc<SessionCell>, Refusal> {
        if !self.token_is_good(&asked.token.0) {
            if !self.lock().standing.reject_token {
                self.violation(ViolationKind::BadToken, connection, None, "RESUME with another token".into());
            }
            return Err(Refusal::Close(close::AUTHENTICATION_FAILED, "Authentication failed."));
        }
        let known = self.lock().sessions.get(&asked.session_id).cloned();
        let Some(cell) = known else {
            tracing::debug!(connection, session = asked.session_id, "RESUME of an unknown session");
            return Err(Refusal::InvalidSession { resumable: false });
        };
        let shard = cell.lock().sight.shard;
        self.settle(shard).await;
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut session = cell.lock();
        if state.standing.deny_resumes
            || session.token != asked.token
            || session.expired(now, state.switches.session_life)
            || !state.sessions.contains_key(&asked.session_id)
        {
            drop(session);
            state.shards.entry(shard).or_default().resumes_refused += 1;
            state.end_session(&self.world, &asked.session_id, now, "a RESUME was refused");
            return Err(Refusal::InvalidSession { resumable: false });
        }
        let resumed = session.resume(connection, asked.seq, state.switches.resume_while_open);
        drop(session);
        match resumed {
            Ok(previous) => {
                state.take_place(connection, shard);
                let counts = state.shards.entry(shard).or_default();
                counts.resumes += 1;
                counts.takeovers += u32::from(!previous.is_empty());
                for previous in previous.iter().filter_map(|id| state.connections.get(id)) {
                    // Full means that it is about to close anyway; it gets no more events in any case.
                    let _ = previous.orders.try_send(Order::Superseded);
                }
                tracing::debug!(connection, %shard, session = asked.session_id, seq = asked.seq, "resumed");
                drop(guard);
                cell.ring();
                Ok(cell)
            }
            Err(ResumeRefusal::TooOld) => {
                state.shards.entry(shard).or_default().resumes_refused += 1;
                state.end_session(
                    &self.world,
                    &asked.session_id,
                    now,
                    "a RESUME asked for events that were no longer kept",
                );
                Err(Refusal::InvalidSession { resumable: false })
            }
            Err(ResumeRefusal::StillOpen { resumable }) => {
                state.shards.entry(shard).or_default().resumes_refused += 1;
                Err(Refusal::InvalidSession { resumable })
            }
            Err(ResumeRefusal::BeyondSequence) => {
                state.shards.entry(shard).or_default().resumes_refused += 1;
                drop(guard);
                let why = format!("RESUME from {} is beyond the session", asked.seq);
                self.violation(ViolationKind::InvalidSequence, connection, Some(shard), why);
                Err(Refusal::Close(close::INVALID_SEQ, "Invalid seq."))
            }
        }
    }

    /// The shard of a resumable session.
    pub(crate) fn shard_of_session(&self, id: &str) -> Option<Shard> {
        let cell = self.lock().sessions.get(id).cloned();
        cell.map(|cell| cell.lock().sight.shard)
    }

    /// Ends a session for an oddity.
    pub(crate) fn invalidate(&self, id: &str) {
        let now = self.now();
        self.lock().end_session(&self.world, id, now, "invalidated by a fault");
    }

    /// The connection leaves its session, but stays open: it was sent op 9.
    pub(crate) fn leave_session(
        &self,
        connection: ConnectionId,
        cell: &SessionCell,
        end: Option<&'static str>,
    ) {
        let now = self.now();
        let mut state = self.lock();
        let (own, id) = {
            let mut session = cell.lock();
            (session.detach(connection, now), session.sight.session_id.clone())
        };
        if own && let Some(why) = end {
            state.end_session(&self.world, &id, now, why);
        }
        state.give_place_up(connection);
        drop(state);
        self.gone.notify_waiters();
    }

    /// The connection is gone.
    pub(crate) fn close(&self, connection: ConnectionId, cell: Option<&SessionCell>, how: Departure) {
        if let Some(cell) = cell {
            let end = (how == Departure::Goodbye).then_some("the client closed with 1000 or 1001");
            self.leave_session(connection, cell, end);
        }
        self.lock().connections.remove(&connection);
    }

    /// Ends the sessions that nobody resumed in time.
    pub(crate) fn expire_sessions(&self) {
        let now = self.now();
        let mut state = self.lock();
        let life = state.switches.session_life;
        let expired: Vec<String> = state
            .sessions
            .iter()
            .filter(|(_, cell)| cell.lock().expired(now, life))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &expired {
            state.end_session(&self.world, id, now, "nobody resumed it in time");
        }
    }
}

impl super::State {
    fn take_place(&mut self, connection: ConnectionId, shard: Shard) {
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.shard = Some(shard);
            let counts = self.shards.entry(shard).or_default();
            counts.open += 1;
            counts.open_max = counts.open_max.max(counts.open);
        }
    }

    fn give_place_up(&mut self, connection: ConnectionId) {
        let shard = self.connections.get_mut(&connection).and_then(|entry| entry.shard.take());
        if let Some(counts) = shard.and_then(|shard| self.shards.get_mut(&shard)) {
            counts.open -= 1;
        }
    }
}
