//! What becomes of a dispatch: into the cache, to the handlers' queue, then `read` moves on. In Discord's order, and once.
//!
//! Owns the way between the socket and the rest over all connections of a shard: where its session stands, what of it was
//! restored from a checkpoint, what was lost, and who writes the next checkpoint. Decides nothing about connections: it says
//! what it could not take, and [`life`](super::life) acts on that.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use checkpoint::{Head, Session};
use dispatch::{Decision, Pressure};
use fleet_model::{Gap, StartKind, StartOutcome};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use twilight_gateway::{Event as Parsed, EventTypeFlags};
use twilight_model::gateway::{event::EventType, payload::incoming::Ready};

use super::{Progress, Shard, connection::TRANSPORT};
use crate::{
    bot::{Deliveries, Queued, Told, dispatch_clock, guild_of},
    checkpoints::{
        Checkpoints, Keep, LostSession, Outranked,
        restore::{Beginning, LoadError, Needs, Restored, ToRead},
        unix_ms,
        writer::Writer,
    },
    handler::{Event, Mark},
    metrics::ShardMetrics,
};

/// Events that wait for the guilds to be read, and their bytes.
const HELD: usize = 8_192;
const HELD_BYTES: usize = 32 * 1024 * 1024;

/// A dispatch as it came.
pub(super) struct Dispatch {
    pub(super) name: String,
    pub(super) sequence: u64,
    pub(super) text: String,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was taken.
    Yes,
    /// It was taken before: Discord may repeat events.
    Again,
    /// It waits until the guilds are read.
    Held,
    /// There is no room for it: not received.
    Full,
}

/// See the module's documentation.
pub(super) struct Intake {
    shard: Arc<Shard>,
    deliveries: Deliveries,
    checkpoints: Checkpoints,
    metrics: ShardMetrics,
    wanted: EventTypeFlags,
    intents: u64,
    resources: Vec<String>,
    restoring: Option<Restoring>,
    writer: Option<Writer>,
    serial: u64,
    /// The ordinal of the session before.
    ordinal: u64,
    /// A session that can't be resumed: the next READY ends a gap.
    lost: Option<LostSession>,
    /// What comes until RESUMED may have been handled by another worker.
    mark: Mark,
    replayed: u64,
    /// A gap within the session, until the way to ready is over.
    gap: Option<Gap>,
    pressure: Pressure,
    /// When the way to ready began.
    began: Instant,
}

/// A checkpoint that is being read.
struct Restoring {
    load: AbortOnDropHandle<Result<Restored, LoadError>>,
    /// Came meanwhile.
    held: VecDeque<Dispatch>,
    held_bytes: usize,
    exact: bool,
    session: u64,
}

/// What an intake is made of.
pub(super) struct IntakeParts {
    pub(super) shard: Arc<Shard>,
    pub(super) deliveries: Deliveries,
    pub(super) checkpoints: Checkpoints,
    pub(super) metrics: ShardMetrics,
    pub(super) intents: u64,
    /// Names of the cache resources that a checkpoint must hold.
    pub(super) resources: Vec<String>,
}

impl Intake {
    /// Claims the shard's checkpoint and begins to read it. `go_on`: whether to wait for a store that is away.
    pub(super) async fn begin(parts: IntakeParts, go_on: impl Fn() -> bool) -> Result<Self, Outranked> {
        let IntakeParts { shard, deliveries, checkpoints, metrics, intents, resources } = parts;
        let kept = if checkpoints.keep == Keep::Full { resources.clone() } else { Vec::new() };
        let needs = Needs { total: shard.total(), intents, transport: TRANSPORT.to_owned(), resources: kept };
        let (number, epoch) = (shard.number(), shard.epoch());
        let beginning = checkpoints.claim(number, epoch, &needs, go_on).await?;
        let mut intake = Self {
            wanted: shard.cache().wanted_events(),
            shard,
            deliveries,
            checkpoints,
            metrics,
            intents,
            resources,
            restoring: None,
            writer: None,
            serial: 0,
            ordinal: 0,
            lost: None,
            mark: Mark::Fresh,
            replayed: 0,
            gap: None,
            pressure: Pressure::default(),
            began: Instant::now(),
        };
        match beginning {
            Beginning::Anew { serial, lost } => {
                intake.serial = serial;
                intake.lost = lost;
                intake.write(None, BTreeSet::new());
            }
            Beginning::From { head, serial, records } => {
                intake.serial = serial;
                intake.restore(*head, ToRead { shard: number, epoch, serial, records });
            }
        }
        intake.check_suspects();
        Ok(intake)
    }

    /// Once what was pending is queued, and what comes is new, nothing can come any more that an owner before died of.
    fn check_suspects(&self) {
        if self.restoring.is_none() && self.mark == Mark::Fresh {
            self.deliveries.suspects_came();
        }
    }

    fn restore(&mut self, head: Head, what: ToRead) {
        let (checkpoints, shard) = (self.checkpoints.clone(), self.shard.clone());
        let session = Arc::new(head.session.clone());
        self.ordinal = session.ordinal;
        self.shard.set_progress(Some(Progress {
            session,
            began_at: 0,
            read: head.read,
            read_at_unix_ms: head.read_at_unix_ms,
        }));
        self.mark = if head.exact { Mark::Fresh } else { Mark::Replayed };
        let (exact, session) = (head.exact, head.session.ordinal);
        let load = async move { checkpoints.restore(what, &head, shard.cache()).await };
        self.restoring = Some(Restoring {
            load: AbortOnDropHandle::new(tokio::spawn(load)),
            held: VecDeque::new(),
            held_bytes: 0,
            exact,
            session,
        });
    }

    /// Begins to write checkpoints. `stored`: the session that the store holds.
    fn write(&mut self, stored: Option<u64>, pending: BTreeSet<(u64, u64)>) {
        self.writer = Some(Writer::start(
            self.checkpoints.clone(),
            self.shard.clone(),
            self.deliveries.clone(),
            self.serial,
            stored,
            pending,
        ));
    }

    /// Waits until the checkpoint is read; for ever when there is none. Nothing is lost when the future is dropped.
    pub(super) async fn read_through(&mut self) -> Result<Restored, LoadError> {
        match &mut self.restoring {
            Some(restoring) => match (&mut restoring.load).await {
                Ok(loaded) => loaded,
                // Only a panic in it ends the task without an answer.
                Err(error) => Err(LoadError::Store(checkpoint::StoreError::Away(error.to_string()))),
            },
            None => std::future::pending().await,
        }
    }

    /// The checkpoint is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.restoring.is_some()
    }

    /// Waits until the checkpoint is read, and takes it, when there is no connection.
    pub(super) async fn read_and_install(&mut self) -> Result<(), String> {
        let restored = self.read_through().await;
        self.install(restored).map(drop)
    }

    /// Takes what was read. What came meanwhile is to be taken now, in order; `Err` says why the session is of no use.
    pub(super) fn install(
        &mut self,
        restored: Result<Restored, LoadError>,
    ) -> Result<VecDeque<Dispatch>, String> {
        let Some(restoring) = self.restoring.take() else { return Ok(VecDeque::new()) };
        let same_session = self.shard.progress().is_some_and(|it| it.session.ordinal == restoring.session);
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => {
                self.metrics_refused(&error.to_string());
                self.write(None, BTreeSet::new());
                self.check_suspects();
                // A session that has begun meanwhile does not need it.
                return if same_session { Err(error.to_string()) } else { Ok(restoring.held) };
            }
        };
        let Restored { guilds, pending } = restored;
        if same_session {
            self.shard.cache().adopt(guilds);
        }
        let positions = pending.iter().map(|event| (event.session, event.sequence)).collect();
        for event in pending {
            let mark = if restoring.exact && !event.started { Mark::Fresh } else { Mark::Replayed };
            if mark == Mark::Replayed {
                self.replayed += 1;
            }
            match Queued::from_pending(event, mark) {
                Some(queued) => self.deliveries.push_restored(queued),
                None => self.metrics.count_garbled(),
            }
        }
        self.write(Some(restoring.session), positions);
        self.check_suspects();
        Ok(restoring.held)
    }

    fn metrics_refused(&self, why: &str) {
        self.checkpoints.metrics.count_refused();
        tracing::warn!(shard.id = %self.shard.number(), why, "the checkpoint can't be used: the shard identifies");
    }

    /// The connection is over and the next one resumes from `read`: what waits will come again.
    pub(super) fn forget_held(&mut self) {
        if let Some(restoring) = &mut self.restoring {
            restoring.held.clear();
            restoring.held_bytes = 0;
        }
    }

    /// A way to ready begins: a connection was lost.
    pub(super) fn lost_connection(&mut self) {
        self.began = Instant::now();
    }

    /// The session can't be resumed.
    pub(super) fn lost_session(&mut self, reason: &str) {
        if let Some(Progress { read, read_at_unix_ms, .. }) = self.shard.progress() {
            self.lost = Some(LostSession {
                since_unix_ms: read_at_unix_ms,
                last_sequence: read,
                reason: reason.to_owned(),
            });
            self.shard.set_progress(None);
        }
    }

    /// Takes a dispatch.
    pub(super) fn take(&mut self, mut dispatch: Dispatch) -> Taken {
        if dispatch.name == "READY" {
            // Whatever waits is of the session before.
            self.forget_held();
            self.begin_session(&dispatch);
        } else if let Some(restoring) = &mut self.restoring
            && self.shard.progress().is_some_and(|progress| progress.session.ordinal == restoring.session)
        {
            if restoring.held.len() >= HELD || restoring.held_bytes + dispatch.text.len() > HELD_BYTES {
                return Taken::Full;
            }
            restoring.held_bytes += dispatch.text.len();
            restoring.held.push_back(dispatch);
            return Taken::Held;
        }
        let read = self.shard.progress().map_or(0, |progress| progress.read);
        let is_first = dispatch.name == "READY";
        if !is_first && dispatch.sequence <= read {
            return Taken::Again;
        }
        let handled = self.deliveries.wants(&dispatch.name);
        let size = dispatch.text.len();
        let now = dispatch_clock();
        let queued = handled && !self.is_shed(&dispatch, now);
        if queued && !self.deliveries.has_room(size) {
            self.deliveries.count_overflow();
            self.pressure.overflowed(now);
            return Taken::Full;
        }
        let received_at = unix_ms();
        if !is_first && read > 0 && dispatch.sequence > read + 1 {
            self.note_missing(read, received_at);
        }
        self.apply(&mut dispatch, queued);
        if queued {
            let session = self.ordinal;
            let Dispatch { name, sequence, text } = dispatch;
            let guild = guild_of(&name, &text);
            let event = Event {
                name: name.as_str().into(),
                session,
                sequence,
                guild,
                mark: self.mark,
                received_at_unix_ms: received_at,
                text,
            };
            if self.mark == Mark::Replayed {
                self.replayed += 1;
            }
            // Closed: the shard ends, and the last checkpoint has it as pending or not received.
            if !self.deliveries.push(Queued::Event(event)) {
                return Taken::Full;
            }
            self.shard.set_read(sequence, received_at);
        } else {
            self.shard.set_read(dispatch.sequence, received_at);
        }
        Taken::Yes
    }

    /// Under pressure it is left out.
    fn is_shed(&mut self, dispatch: &Dispatch, now: Duration) -> bool {
        self.pressure.observed(self.deliveries.at_most_half(), now);
        self.pressure.decision(now) == Decision::Shed
            && self.deliveries.sheds(&dispatch.name, dispatch.text.len(), interaction_age(dispatch))
    }

    /// Sequence numbers are missing: Discord kept fewer events than came.
    fn note_missing(&mut self, read: u64, until_unix_ms: u64) {
        let since_unix_ms = self.shard.progress().map_or(0, |progress| progress.read_at_unix_ms);
        let reason = "Discord did not keep all events that came meanwhile".to_owned();
        let gap = Gap { since_unix_ms, until_unix_ms, last_sequence: read, reason };
        self.tell_gap(gap.clone(), read + 1);
        self.gap = Some(gap);
    }

    /// Tells the handlers of a gap.
    fn tell_gap(&self, gap: Gap, sequence: u64) {
        self.metrics.count_gap();
        tracing::warn!(
            shard.id = %self.shard.number(), last_sequence = gap.last_sequence, since_unix_ms = gap.since_unix_ms,
            reason = %gap.reason, "gap: events were or may have been lost"
        );
        if self.deliveries.wants_anything() {
            self.deliveries.push_restored(Queued::Gap(Told::new(gap, self.ordinal, sequence)));
        }
    }

    /// Into the cache, as far as it wants it. Takes the text when nobody needs it any more.
    fn apply(&self, dispatch: &mut Dispatch, text_is_needed: bool) {
        // Parsing takes the text; most events are not parsed at all.
        let kind = EventType::try_from(dispatch.name.as_str());
        let wanted = kind.is_ok_and(|kind| self.wanted.contains(EventTypeFlags::from(kind)));
        if !wanted || dispatch.name == "READY" {
            return;
        }
        let text = if text_is_needed { dispatch.text.clone() } else { std::mem::take(&mut dispatch.text) };
        match twilight_gateway::parse(text, self.wanted) {
            Ok(Some(event)) => self.shard.cache().apply(&Parsed::from(event), dispatch.sequence),
            Ok(None) => {}
            Err(error) => {
                self.metrics.count_garbled();
                tracing::warn!(
                    shard.id = %self.shard.number(), event = dispatch.name, %error, "an event could not be read"
                );
            }
        }
    }

    /// READY: a new session.
    fn begin_session(&mut self, dispatch: &Dispatch) {
        self.lost_session("Discord began another session");
        // Above any that another worker gave, even if the store forgot it.
        self.ordinal = unix_ms().max(self.ordinal + 1);
        let now = unix_ms();
        let ready = ready(&dispatch.text);
        if ready.is_none() {
            self.metrics.count_garbled();
            tracing::error!(shard.id = %self.shard.number(), "READY could not be read: the guilds are not known");
        }
        let Named { session_id, resume_gateway_url } = named(&dispatch.text);
        let session = Session {
            id: session_id,
            resume_url: resume_gateway_url,
            ordinal: self.ordinal,
            total: self.shard.total(),
            intents: self.intents,
            transport: TRANSPORT.to_owned(),
            resources: self.resources.clone(),
            opened_at_unix_ms: now,
        };
        self.shard.cache().begin_session(self.ordinal, ready.as_ref());
        self.shard.set_progress(Some(Progress {
            session: Arc::new(session),
            began_at: dispatch.sequence,
            read: 0,
            read_at_unix_ms: now,
        }));
        self.mark = Mark::Fresh;
        self.replayed = 0;
        if let Some(lost) = self.lost.clone() {
            self.tell_gap(lost.until(now), 0);
        }
        self.check_suspects();
    }

    /// READY was taken: its head is worth writing at once.
    pub(super) fn session_began(&self) {
        if let Some(writer) = &self.writer {
            writer.write_soon();
        }
    }

    /// RESUMED: what comes now is new, and is handled once a checkpoint reaches this far.
    pub(super) fn resumed(&mut self) {
        self.mark = Mark::Fresh;
        self.check_suspects();
        if let (Some(writer), Some(progress)) = (&self.writer, self.shard.progress())
            && self.checkpoints.keep != Keep::Off
        {
            self.deliveries.hold_until_covered((progress.session.ordinal, progress.read));
            writer.write_soon();
        }
    }

    /// The shard is ready: how it came there.
    pub(super) fn ready(&mut self, identified: bool) -> StartOutcome {
        let at_unix_ms = unix_ms();
        let lost = self.lost.take();
        let kind = match (identified, &lost) {
            (false, _) => StartKind::Resumed,
            (true, None) => StartKind::Identified,
            (true, Some(_)) => StartKind::Reidentified,
        };
        let gap = match lost {
            Some(lost) if identified => Some(lost.until(at_unix_ms)),
            _ => self.gap.take(),
        };
        let outcome = StartOutcome {
            kind,
            took: self.began.elapsed(),
            replayed: std::mem::take(&mut self.replayed),
            at_unix_ms,
            gap,
        };
        self.shard.set_outcome(outcome.clone());
        outcome
    }

    /// Waits until there may be room again.
    pub(super) async fn room(&mut self) {
        if self.restoring.is_some() {
            return;
        }
        let now = dispatch_clock();
        let shut =
            self.pressure.next_change(now).map_or(Duration::from_secs(30), |at| at.saturating_sub(now));
        let drained = tokio::time::timeout(shut, self.deliveries.drained_to_half()).await.is_ok();
        self.pressure.observed(drained, dispatch_clock());
    }

    /// Whether the socket may be open.
    pub(super) fn may_open(&self) -> bool {
        self.pressure.decision(dispatch_clock()) != Decision::Shut
    }

    /// The last checkpoint of an owner that stops in order: what was not begun is another's.
    pub(super) async fn finish(mut self, patience: Duration) {
        let pending = self.deliveries.close(patience).await;
        // Without a writer the checkpoint that was found still holds.
        if let Some(writer) = self.writer.take() {
            writer.finish(pending).await;
        }
    }
}

/// How old an interaction is by its id, as a RESUME brings it late
/// ([Snowflakes](https://discord.com/developers/docs/reference#snowflakes)); zero for any other event.
fn interaction_age(dispatch: &Dispatch) -> Duration {
    #[derive(serde::Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        d: Data<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        id: &'a str,
    }
    /// The first second of 2015.
    const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;
    if dispatch.name != "INTERACTION_CREATE" {
        return Duration::ZERO;
    }
    let id =
        serde_json::from_str(&dispatch.text).ok().and_then(|payload: Payload<'_>| payload.d.id.parse().ok());
    let made_at = id.map_or(u64::MAX, |id: u64| (id >> 22) + DISCORD_EPOCH_MS);
    Duration::from_millis(unix_ms().saturating_sub(made_at))
}

/// What READY names the session: all that a RESUME needs, whatever else is in it.
#[derive(Default, serde::Deserialize)]
struct Named {
    session_id: String,
    resume_gateway_url: String,
}

fn named(text: &str) -> Named {
    #[derive(serde::Deserialize)]
    struct Payload {
        d: Named,
    }
    serde_json::from_str(text).map(|payload: Payload| payload.d).unwrap_or_default()
}

fn ready(text: &str) -> Option<Ready> {
    match twilight_gateway::parse(text.to_owned(), EventTypeFlags::READY) {
        Ok(Some(event)) => match Parsed::from(event) {
            Parsed::Ready(ready) => Some(ready),
            _ => None,
        },
        _ => None,
    }
}
