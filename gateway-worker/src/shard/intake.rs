//! Applies each event to the cache, queues it for handlers, then moves the watermark: in Discord's order, and once.
//!
//! Owns what outlives a connection: the progress of the [session], what is [restored](restoring) from a checkpoint, what was
//! lost, and the writer of checkpoints. Decides nothing about connections: it returns what it could not take, and
//! [`connection`](super::connection) acts on that.

use std::{hash::BuildHasher as _, ops::Range, sync::Arc, time::Duration};

use dispatch::{Decision, Pressure};
use fleet_model::{Gap, Position, StartKind, StartOutcome};
use foldhash::quality::RandomState;
use relay::gap_event;
use tokio::time::Instant;

use self::{held::HeldEvents, reading::WarningCounts, restoring::Restoring};
use super::commands::inherit_presence;
use crate::{
    bot::EventQueue,
    checkpoints::{
        Checkpoints, Keep, LostSession, Outranked, Unread, older,
        restore::{Beginning, FreshStart, Needs, ToRead, unfit},
        writer::{LastCheckpoint, Stored, Writer},
    },
    clock::{dispatch_clock, unix_ms},
    event::{Arrived, Mark, late_mark},
    handoff::{CopySlot, HandoffState},
    metrics::ShardMetrics,
    payload::interaction_age,
    shard_state::ShardState,
};

mod handed_over;
mod held;
mod reading;
mod restoring;
mod session;

/// How far a sequence may be ahead of the one before: events may be missing, but no more than Discord can have sent.
const MOST_AHEAD: u64 = 1 << 20;

/// Number of recent events whose hashes are kept to recognize repeats.
const RECENT: usize = 256;

/// The reason when events may have been mistaken for repeats, or repeats for events.
const OUT_OF_ORDER: &str = "sequence numbers out of order";

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DispatchOutcome {
    /// It was applied and queued.
    Applied,
    /// It was applied before: Discord may repeat events.
    Repeated,
    /// It waits until the guilds are read.
    Held,
    /// There is no room for it: not received.
    Full,
    /// The connection cannot be used: why.
    Unusable(&'static str),
    /// The session cannot be used, here or on another connection: why.
    Hopeless(&'static str),
}

/// See the module's documentation.
pub(super) struct Intake {
    shard: Arc<ShardState>,
    event_queue: EventQueue,
    checkpoints: Checkpoints,
    metrics: ShardMetrics,
    intents: u64,
    resources: Vec<String>,
    transport: &'static str,
    restoring: Option<Restoring>,
    writer: Option<Writer>,
    serial: u64,
    /// The ordinal of the session before.
    ordinal: u64,
    /// A session that cannot be resumed: the next READY ends a gap.
    lost: Option<LostSession>,
    /// A pending event that can no longer be read: the gap of its session begins before it.
    unread: Option<Unread>,
    /// A session has begun by READY, and the shard has not been ready since.
    began_session: bool,
    /// The mark of events until RESUMED: another worker may have handled them.
    mark: Mark,
    replayed: u64,
    /// The first gap that was reported since the shard was last ready.
    gap: Option<Gap>,
    pressure: Pressure,
    /// When the start of the shard began.
    began: Instant,
    /// Neither READY nor RESUMED has come on this connection: Discord may repeat events.
    replaying: bool,
    /// Hashes of the last events, each at index `sequence % RECENT`, and the hasher. Discord may send
    /// an event twice ([Consistency](https://discord.com/developers/docs/reference#consistency)).
    recent: Box<[u64]>,
    hasher: RandomState,
    /// The last missing sequences that were reported as a gap.
    missing: Range<u64>,
    /// Events that arrived before READY.
    early: HeldEvents,
    warnings: WarningCounts,
}

/// The parts of an intake.
pub(super) struct IntakeParts {
    pub(super) shard: Arc<ShardState>,
    pub(super) event_queue: EventQueue,
    pub(super) checkpoints: Checkpoints,
    pub(super) metrics: ShardMetrics,
    pub(super) intents: u64,
    /// Names of the cache resources that a checkpoint must hold.
    pub(super) resources: Vec<String>,
    /// The transport of the shard's sessions.
    pub(super) transport: &'static str,
    /// The handoff state from the previous owner.
    pub(super) handed_over: Option<HandoffState>,
    /// Another worker ran the shard before, as the coordinator says.
    pub(super) ran_before: bool,
}

impl Intake {
    /// Claims the shard's checkpoint, and goes on from what was handed over, or begins to read it. `go_on`: whether to wait for a
    /// store that is away.
    pub(super) async fn begin(parts: IntakeParts, go_on: impl Fn() -> bool) -> Result<Self, Outranked> {
        let IntakeParts {
            shard,
            event_queue,
            checkpoints,
            metrics,
            intents,
            resources,
            transport,
            handed_over,
            ran_before,
        } = parts;
        let kept = if checkpoints.keep == Keep::Full { resources.clone() } else { Vec::new() };
        let (key, epoch) = (shard.key(), shard.epoch());
        let needs =
            Needs { ran_before, shard: key, intents, transport: transport.to_owned(), resources: kept };
        if let Some(presence) =
            handed_over.as_ref().and_then(|handed_over| handed_over.head.presence.as_deref())
        {
            inherit_presence(&shard, presence);
        }
        // Who has it all in hand waits for no store.
        let go_on = || handed_over.is_none() && go_on();
        let beginning = checkpoints.claim(key, epoch, &needs, go_on).await?;
        let mut intake = Self {
            shard,
            event_queue,
            checkpoints,
            metrics,
            intents,
            resources,
            transport,
            restoring: None,
            writer: None,
            serial: 0,
            ordinal: 0,
            lost: None,
            unread: None,
            began_session: false,
            mark: Mark::Fresh,
            replayed: 0,
            gap: None,
            pressure: Pressure::default(),
            began: Instant::now(),
            replaying: true,
            recent: vec![0; RECENT].into(),
            missing: 0..0,
            hasher: RandomState::default(),
            early: HeldEvents::default(),
            warnings: WarningCounts::default(),
        };
        let beginning = match handed_over {
            None => beginning,
            Some(handed_over) => match unfit(&handed_over.head, &needs) {
                None => {
                    intake.go_on_from(handed_over, beginning);
                    intake.check_suspects();
                    return Ok(intake);
                }
                Some(why) => Beginning::Fresh(handed_over.without_session(why, &beginning)),
            },
        };
        match beginning {
            Beginning::Fresh(start) => intake.begin_fresh(start),
            Beginning::Resume { head, serial, records, .. } => {
                intake.serial = serial;
                intake.restore(*head, ToRead { shard: key, epoch, serial, records });
            }
        }
        intake.check_suspects();
        Ok(intake)
    }

    /// Begins without a session. Pending events need none, and come before anything new.
    fn begin_fresh(&mut self, start: FreshStart) {
        let FreshStart { serial, lost, presence, ordinal, pending, exact } = start;
        self.serial = serial;
        self.ordinal = ordinal;
        if let Some(presence) = presence {
            inherit_presence(&self.shard, &presence);
        }
        self.queue_all_pending(pending, exact);
        // Without the session it is unknown what followed an unreadable event.
        self.lost = match self.unread.take() {
            Some(_) => Some(LostSession::because(lost.map_or_else(String::new, |lost| lost.reason))),
            None => lost,
        };
        self.write(None);
    }

    /// Once what was pending is queued it can be relayed. When moreover what comes is new, nothing can come any more that an owner
    /// before died of.
    fn check_suspects(&self) {
        if self.restoring.is_some() {
            return;
        }
        self.event_queue.pending_came();
        if self.mark == Mark::Fresh {
            self.event_queue.suspects_came();
        }
    }

    /// Begins to write checkpoints. `stored`: what the store holds.
    fn write(&mut self, stored: Option<Stored>) {
        self.writer = Some(Writer::start(
            self.checkpoints.clone(),
            self.shard.clone(),
            self.event_queue.clone(),
            self.serial,
            stored,
        ));
    }

    /// A way to ready begins: a connection was lost.
    pub(super) fn lost_connection(&mut self) {
        self.early = HeldEvents::default();
        self.replaying = true;
        self.began = Instant::now();
        // A panic may have come between an event and the start of its handler.
        self.start_handlers();
    }

    /// Takes an event and queues it. [`Intake::start_handlers`] starts its handler.
    pub(super) fn take(&mut self, mut arrived: Arrived) -> DispatchOutcome {
        if &*arrived.event.name == "READY" {
            return self.take_ready(arrived);
        }
        if let Some(restoring) = self.restoring_this_session() {
            return restoring.hold(arrived);
        }
        let Some(read) = self.shard.read() else {
            return match self.early.hold(arrived) {
                DispatchOutcome::Full => DispatchOutcome::Unusable("too many events came before READY"),
                taken => taken,
            };
        };
        let event = &arrived.event;
        let sequence = event.position.sequence;
        let hash = self.hasher.hash_one((sequence, &event.name, &event.text));
        let place = (sequence % RECENT as u64) as usize;
        if sequence <= read {
            let is_known = self.recent[place] == hash || self.missing.contains(&sequence);
            return if self.replaying || is_known {
                DispatchOutcome::Repeated
            } else {
                DispatchOutcome::Hopeless(OUT_OF_ORDER)
            };
        }
        if sequence - read > MOST_AHEAD {
            return DispatchOutcome::Hopeless(OUT_OF_ORDER);
        }
        let now = dispatch_clock();
        let queued = self.event_queue.wants(&event.name) && !self.shed(&arrived, now);
        let event = &arrived.event;
        if queued && !self.event_queue.has_room(&event.name, event.text.len()) {
            return self.overflowed(now);
        }
        let received_at = unix_ms();
        if read > 0 && sequence > read + 1 {
            self.note_missing(read, received_at);
            self.missing = read + 1..sequence;
        }
        if queued || self.shard.cache().uses(&event.name) {
            self.complete(&mut arrived, received_at);
            self.apply(&arrived);
        }
        self.show(&arrived, received_at);
        if queued {
            let Arrived { event, .. } = arrived;
            if let Some(guild) = event.guild {
                self.note_guild(guild, &event);
            }
            // Room was checked before anything changed. A shut queue means that the shard ends and the event was not
            // received.
            if !self.event_queue.add(event) {
                return DispatchOutcome::Full;
            }
            self.replayed += u64::from(self.mark.is_late());
        }
        self.shard.set_read(sequence, received_at);
        self.recent[place] = hash;
        DispatchOutcome::Applied
    }

    /// Shows an event to the operators who watch.
    fn show(&self, Arrived { event, .. }: &Arrived, received_at_unix_ms: u64) {
        self.event_queue.taps().offer(self.shard.key().slot(), event, self.ordinal, received_at_unix_ms);
    }

    fn overflowed(&mut self, now: Duration) -> DispatchOutcome {
        self.event_queue.count_overflow();
        self.pressure.overflowed(now);
        DispatchOutcome::Full
    }

    /// Starts the handlers of the events that were taken. Called once for all events that have already arrived on a connection:
    /// waking another thread for each event costs more than handling it.
    pub(super) fn start_handlers(&self) {
        self.event_queue.start_handlers();
    }

    /// Sets the session, time and mark, which an arriving event does not have.
    fn complete(&self, Arrived { event, id, .. }: &mut Arrived, received_at_unix_ms: u64) {
        event.position.session = self.ordinal;
        event.received_at_unix_ms = received_at_unix_ms;
        if self.mark.is_late() {
            event.mark = late_mark(&event.name, *id, received_at_unix_ms);
        }
    }

    /// Updates the pressure, and returns whether the event is dropped because of it.
    fn shed(&mut self, Arrived { event, id, .. }: &Arrived, now: Duration) -> bool {
        self.pressure.observed(self.event_queue.at_most_half(), now);
        self.pressure.decision(now) == Decision::Shed
            && self.event_queue.sheds(
                &event.name,
                event.text.len(),
                interaction_age(&event.name, *id, unix_ms()),
            )
    }

    /// Sequence numbers are missing: Discord kept fewer events than came.
    fn note_missing(&mut self, read: u64, until_unix_ms: u64) {
        let since_unix_ms = self.shard.progress().map_or(0, |progress| progress.read_at_unix_ms);
        let reason = "Discord did not keep all events that came meanwhile".to_owned();
        let gap = Gap { since_unix_ms, until_unix_ms, last_sequence: read, reason };
        self.shard.cache().doubt_everything();
        self.tell_gap(gap, Position::new(self.ordinal, read + 1));
    }

    /// Reports a gap to the handlers. `at`: a position that no event has, before everything after the gap.
    fn tell_gap(&mut self, gap: Gap, at: Position) {
        self.gap.get_or_insert_with(|| gap.clone());
        self.metrics.count_gap();
        tracing::warn!(
            shard.id = %self.shard.key(), last_sequence = gap.last_sequence, since_unix_ms = gap.since_unix_ms,
            reason = %gap.reason, "gap: events were or may have been lost"
        );
        if self.event_queue.wants_anything() {
            // Shut: the shard ends.
            let _ = self.event_queue.push(gap_event(&gap, at));
        }
    }

    /// Reports how the shard became ready. `identified`: on this connection; an IDENTIFY on an earlier one, lost while
    /// guilds arrived, counts as well.
    pub(super) fn ready(&mut self, identified: bool) -> StartOutcome {
        let at_unix_ms = unix_ms();
        let identified = std::mem::take(&mut self.began_session) || identified;
        let gap = self.gap.take();
        let kind = match (identified, &gap) {
            (false, _) => StartKind::Resumed,
            (true, None) => StartKind::Identified,
            (true, Some(_)) => StartKind::Reidentified,
        };
        let outcome = StartOutcome {
            kind,
            took: self.began.elapsed(),
            replayed: std::mem::take(&mut self.replayed),
            at_unix_ms,
            gap,
        };
        self.metrics.count_replayed(outcome.replayed);
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
        let drained = tokio::time::timeout(shut, self.event_queue.drained_to_half()).await.is_ok();
        self.pressure.observed(drained, dispatch_clock());
    }

    /// Whether the socket may be open.
    pub(super) fn may_open(&self) -> bool {
        self.pressure.decision(dispatch_clock()) != Decision::Shut
    }

    /// The last checkpoint of an owner that stops in order. It is exact unless Discord may still repeat events that a
    /// previous owner handled.
    pub(super) async fn finish(mut self, patience: Duration, copy_slot: &CopySlot) {
        let pending = self.event_queue.close(patience).await;
        let last = LastCheckpoint { pending, exact: self.mark == Mark::Fresh };
        // Before the store, which may take its time: the next owner has all it needs.
        copy_slot.hand_over(&self.shard, &last);
        // Without a writer the checkpoint that was found still holds.
        if let Some(writer) = self.writer.take() {
            writer.finish(last).await;
        }
    }
}

#[cfg(test)]
mod tests;
