//! Admits connections, judges IDENTIFY and RESUME, and detaches connections.

use super::{ConnectionCommand, ConnectionEntry, Hub, SessionCell, ids};
use crate::{
    config::MAX_SHARDS,
    event::{Event, SessionParams},
    identify::IdentifyVerdict,
    intents::Intents,
    protocol::{Identify, Resume, close},
    report::{IdentifyRecord, ViolationKind},
    session::{ConnectionId, ResumeError, Session},
    shard::Shard,
    world::Draw,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How long IDENTIFY and RESUME wait for the shard's previous connection to close before both count as open. A client that closes
/// one socket and opens the next has no control over which of them the simulator reads first.
const SETTLE: Duration = Duration::from_millis(50);

/// Pending commands of one connection; more are dropped.
const COMMANDS: usize = 64;

/// How an IDENTIFY or RESUME is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdmissionError {
    /// With a close code.
    Close(u16, &'static str),
    /// With op 9.
    InvalidSession {
        /// The value of `d`.
        resumable: bool,
    },
}

/// What closing a connection means for its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disconnect {
    /// The client closed with 1000 or 1001: the session ends.
    EndsSession,
    /// Any other way: the session can be resumed.
    Resumable,
}

impl Hub {
    /// Registers a new connection. Returns `None` if it must be reset at once.
    pub(crate) fn open(&self) -> Option<(ConnectionId, mpsc::Receiver<ConnectionCommand>)> {
        let opened_at = self.now();
        let mut state = self.lock();
        if state.active_faults.accept_then_close > 0 {
            state.active_faults.accept_then_close -= 1;
            return None;
        }
        state.connections_opened += 1;
        let id = state.connections_opened;
        let (sender, commands) = mpsc::channel(COMMANDS);
        state.connections.insert(id, ConnectionEntry { opened_at, shard: None, commands: sender });
        Some((id, commands))
    }

    /// Waits until no other connection of the shard is open, at most [`SETTLE`].
    async fn wait_until_alone(&self, shard: Shard) {
        let alone = async {
            loop {
                let gone = self.connection_left.notified();
                tokio::pin!(gone);
                gone.as_mut().enable();
                if self.lock().shards.get(&shard).is_none_or(|counts| counts.open == 0) {
                    return;
                }
                gone.await;
            }
        };
        // After the timeout both connections count as open.
        let _ = tokio::time::timeout(SETTLE, alone).await;
    }

    /// Judges an IDENTIFY that arrived at `now` and opens a session.
    pub(crate) async fn identify(
        &self,
        connection: ConnectionId,
        request: Identify,
        now: Duration,
    ) -> Result<Arc<SessionCell>, AdmissionError> {
        let shard = request.shard;
        let judged = self.judge(connection, &request, now);
        let record = |session_id, refused| IdentifyRecord {
            at_ms: now.as_millis() as u64,
            shard,
            connection,
            session_id,
            refused,
        };
        if let Err((error, why)) = judged {
            self.lock().identifies.push(record(None, Some(why)));
            return Err(error);
        }
        self.wait_until_alone(shard).await;
        let cell = self.open_session(connection, request);
        let id = cell.lock().params.session_id.clone();
        tracing::debug!(connection, %shard, session = id, "identified");
        self.lock().identifies.push(record(Some(id), None));
        Ok(cell)
    }

    fn judge(
        &self,
        connection: ConnectionId,
        request: &Identify,
        now: Duration,
    ) -> Result<(), (AdmissionError, String)> {
        let shard = request.shard;
        let refuse = |kind, error, why: String| {
            self.violation(kind, connection, Some(shard), why.clone());
            Err((error, why))
        };
        if !self.accepts_token(&request.token.0) {
            let error = AdmissionError::Close(close::AUTHENTICATION_FAILED, "Authentication failed.");
            if self.lock().active_faults.reject_token {
                return Err((error, "the token is rejected by a fault".into()));
            }
            return refuse(ViolationKind::BadToken, error, "not the bot's token".into());
        }
        let unknown = request.intents.without(Intents::ALL);
        if !unknown.is_empty() {
            let error = AdmissionError::Close(close::INVALID_INTENTS, "Invalid intent(s).");
            return refuse(ViolationKind::InvalidIntents, error, format!("intent bits {:#x}", unknown.0));
        }
        let disallowed =
            Intents(request.intents.0 & Intents::PRIVILEGED.0).without(self.config.privileged_intents);
        if !disallowed.is_empty() {
            let error = AdmissionError::Close(close::DISALLOWED_INTENTS, "Disallowed intent(s).");
            return refuse(
                ViolationKind::DisallowedIntents,
                error,
                format!("intent bits {:#x}", disallowed.0),
            );
        }
        let valid = (1..=MAX_SHARDS).contains(&shard.total)
            && shard.number < shard.total
            && shard.total.is_multiple_of(self.config.shard_multiple);
        if !valid {
            let error = AdmissionError::Close(close::INVALID_SHARD, "Invalid shard.");
            let why = format!("shard {shard}, total must be a multiple of {}", self.config.shard_multiple);
            return refuse(ViolationKind::InvalidShard, error, why);
        }
        let mut state = self.lock();
        let guilds = state.guilds_of(&self.world, shard).len();
        if guilds > self.config.max_guilds_per_shard as usize {
            drop(state);
            let error = AdmissionError::Close(close::SHARDING_REQUIRED, "Sharding required.");
            return refuse(
                ViolationKind::ShardingRequired,
                error,
                format!("{guilds} guilds on shard {shard}"),
            );
        }
        let verdict = state.limiter.judge(shard.number, now);
        match verdict {
            IdentifyVerdict::Allowed => Ok(()),
            IdentifyVerdict::TooSoon(ago) => {
                let bucket = shard.number % u32::from(state.limiter.max_concurrency());
                drop(state);
                let why = format!("bucket {bucket} had its last IDENTIFY {} ms ago", ago.as_millis());
                let error = AdmissionError::InvalidSession { resumable: false };
                refuse(ViolationKind::IdentifyConcurrency, error, why)
            }
            IdentifyVerdict::OverBudget => {
                // As on Discord: all sessions end and the token is invalid from now on.
                state.active_faults.reject_token = true;
                let every: Vec<String> = state.sessions.keys().cloned().collect();
                for id in &every {
                    state.end_session(&self.world, id, now, "the identify budget was exceeded");
                }
                drop(state);
                let error = AdmissionError::Close(close::AUTHENTICATION_FAILED, "Authentication failed.");
                let why = format!("more than {} IDENTIFYs in a day", self.config.daily_identifies);
                refuse(ViolationKind::IdentifyBudget, error, why)
            }
        }
    }

    fn open_session(&self, connection: ConnectionId, request: Identify) -> Arc<SessionCell> {
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut promised = state.guilds_of(&self.world, request.shard);
        let ready = Event::Ready(ids(&self.world, &promised).into());
        if !request.intents.contains(Intents::GUILDS) {
            promised = BTreeMap::new();
        }
        state.sessions_opened += 1;
        let id = Draw::new(self.config.seed, &[100, state.sessions_opened]).hex();
        let params = SessionParams {
            session_id: id.clone(),
            shard: request.shard,
            intents: request.intents,
            large_threshold: request.large_threshold,
            names_shard: request.names_shard,
        };
        let capacity = state.switches.replay_buffer;
        let mut session = Session::open(params, request.token, capacity, ready, promised, connection, now);
        session.presence = request.presence;
        if let Some(left) = state.active_faults.guild_before_ready.checked_sub(1)
            && session.put_guild_before_ready()
        {
            state.active_faults.guild_before_ready = left;
        }
        let cell = SessionCell::new(session);
        state.sessions.insert(id, Arc::clone(&cell));
        let numbers = state.routes.entry(request.shard.total).or_default();
        numbers.entry(request.shard.number).or_default().push(Arc::clone(&cell));
        state.attach_to_shard(connection, request.shard);
        state.shards.entry(request.shard).or_default().identifies += 1;
        cell
    }

    /// Judges a RESUME and attaches the connection to the session.
    pub(crate) async fn resume(
        &self,
        connection: ConnectionId,
        request: Resume,
    ) -> Result<Arc<SessionCell>, AdmissionError> {
        if !self.accepts_token(&request.token.0) {
            if !self.lock().active_faults.reject_token {
                self.violation(ViolationKind::BadToken, connection, None, "RESUME with another token".into());
            }
            return Err(AdmissionError::Close(close::AUTHENTICATION_FAILED, "Authentication failed."));
        }
        let known = self.lock().sessions.get(&request.session_id).cloned();
        let Some(cell) = known else {
            tracing::debug!(connection, session = request.session_id, "RESUME of an unknown session");
            return Err(AdmissionError::InvalidSession { resumable: false });
        };
        let shard = cell.lock().params.shard;
        self.wait_until_alone(shard).await;
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut session = cell.lock();
        if state.active_faults.deny_resumes
            || session.token != request.token
            || session.expired(now, state.switches.session_life)
            || !state.sessions.contains_key(&request.session_id)
        {
            drop(session);
            state.shards.entry(shard).or_default().resumes_refused += 1;
            state.end_session(&self.world, &request.session_id, now, "a RESUME was refused");
            return Err(AdmissionError::InvalidSession { resumable: false });
        }
        let resumed = session.resume(connection, request.seq, state.switches.resume_while_open);
        drop(session);
        match resumed {
            Ok(previous) => {
                state.attach_to_shard(connection, shard);
                let counts = state.shards.entry(shard).or_default();
                counts.resumes += 1;
                counts.takeovers += u32::from(!previous.is_empty());
                for previous in previous.iter().filter_map(|id| state.connections.get(id)) {
                    // A connection with a full queue is about to close; it gets no more events in any case.
                    let _ = previous.commands.try_send(ConnectionCommand::Superseded);
                }
                tracing::debug!(connection, %shard, session = request.session_id, seq = request.seq, "resumed");
                drop(guard);
                cell.notify();
                Ok(cell)
            }
            Err(ResumeError::TooOld) => {
                state.shards.entry(shard).or_default().resumes_refused += 1;
                state.end_session(
                    &self.world,
                    &request.session_id,
                    now,
                    "a RESUME asked for events that were no longer kept",
                );
                Err(AdmissionError::InvalidSession { resumable: false })
            }
            Err(ResumeError::StillOpen { resumable }) => {
                state.shards.entry(shard).or_default().resumes_refused += 1;
                Err(AdmissionError::InvalidSession { resumable })
            }
            Err(ResumeError::BeyondSequence) => {
                state.shards.entry(shard).or_default().resumes_refused += 1;
                drop(guard);
                let why = format!("RESUME from {} is beyond the session", request.seq);
                self.violation(ViolationKind::InvalidSequence, connection, Some(shard), why);
                Err(AdmissionError::Close(close::INVALID_SEQ, "Invalid seq."))
            }
        }
    }

    /// Returns the shard of a resumable session.
    pub(crate) fn shard_of_session(&self, id: &str) -> Option<Shard> {
        let cell = self.lock().sessions.get(id).cloned();
        cell.map(|cell| cell.lock().params.shard)
    }

    /// Ends a session because an oddity invalidated it.
    pub(crate) fn invalidate(&self, id: &str) {
        let now = self.now();
        self.lock().end_session(&self.world, id, now, "invalidated by a fault");
    }

    /// Detaches a connection from its session; the connection may stay open after op 9.
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
            (session.detach(connection, now), session.params.session_id.clone())
        };
        if own && let Some(why) = end {
            state.end_session(&self.world, &id, now, why);
        }
        state.detach_from_shard(connection);
        drop(state);
        self.connection_left.notify_waiters();
    }

    /// Removes a closed connection.
    pub(crate) fn close(&self, connection: ConnectionId, cell: Option<&SessionCell>, how: Disconnect) {
        if let Some(cell) = cell {
            let end = (how == Disconnect::EndsSession).then_some("the client closed with 1000 or 1001");
            self.leave_session(connection, cell, end);
        }
        self.lock().connections.remove(&connection);
    }

    /// Ends the sessions that were not resumed in time.
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
            state.end_session(&self.world, id, now, "not resumed in time");
        }
    }
}

impl super::State {
    fn attach_to_shard(&mut self, connection: ConnectionId, shard: Shard) {
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.shard = Some(shard);
            let counts = self.shards.entry(shard).or_default();
            counts.open += 1;
            counts.open_max = counts.open_max.max(counts.open);
        }
    }

    fn detach_from_shard(&mut self, connection: ConnectionId) {
        let shard = self.connections.get_mut(&connection).and_then(|entry| entry.shard.take());
        if let Some(counts) = shard.and_then(|shard| self.shards.get_mut(&shard)) {
            counts.open -= 1;
        }
    }
}
