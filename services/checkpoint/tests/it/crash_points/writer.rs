//! Writes checkpoints of the model as a worker does, or with one rule broken.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use checkpoint::{
    CheckpointMemoryStore, CheckpointStore, ClaimAnswer, FORMAT_MAX, GuildCore, Head, HeadWrite, Members,
    PendingEvent, Record, RecordKey, Session, StepAnswer, WriteStep, encode_head, encode_record,
};
use fleet_model::{Epoch, Position};

use super::{
    Pass, SHARD,
    model::{Event, Guild, Guilds, Log},
    pack::{Group, pack},
    reader::Restored,
};

/// A rule of the write that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None is.
    None,
    /// The head comes with the first step instead of the last.
    HeadFirst,
    /// `read` is looked at after the changes were taken.
    ReadAfterChanges,
    /// Records are made later than the changes were taken, so the stamp is ahead of a part that changed meanwhile and is not written.
    EncodedLater,
    /// A guild's core and its channels are not in one group.
    GroupsSplit,
    /// A guild's core comes before its members, so it speaks for blocks of an earlier life of the guild.
    CoreBeforeBlocks,
    /// Pending events are written after the head that covers them.
    PendingAfterHead,
    /// The records of a guild that went stay.
    RemovedForgotten,
}

/// The ordinal of the one session there is.
const SESSION: u64 = 7;

/// What changed since it was last taken, by guild.
type Changed = BTreeMap<u64, Parts>;

/// What changed of a guild. Its core always does: it has the stamp.
#[derive(Default)]
struct Parts {
    channels: bool,
    blocks: BTreeSet<u32>,
}

pub(crate) struct Writer {
    store: CheckpointMemoryStore,
    epoch: Epoch,
    serial: u64,
    fault: Fault,
    max_bytes: usize,
    /// The store holds a checkpoint of this session.
    begun: bool,
    guilds: Guilds,
    read: u64,
    changed: Changed,
    pending: BTreeSet<u64>,
    /// What the store may hold.
    stored: BTreeSet<RecordKey>,
}

impl Writer {
    pub(crate) async fn new(
        store: CheckpointMemoryStore,
        epoch: Epoch,
        fault: Fault,
        max_bytes: usize,
    ) -> Self {
        let ClaimAnswer::Yours(stored) = store.claim(SHARD, epoch).await.unwrap() else {
            panic!("a second owner claimed")
        };
        Self {
            store,
            epoch,
            serial: stored.serial,
            fault,
            max_bytes,
            begun: false,
            guilds: Guilds::default(),
            read: 0,
            changed: BTreeMap::new(),
            pending: BTreeSet::new(),
            stored: BTreeSet::new(),
        }
    }

    /// Goes on from what was restored: Discord sends again what is above `read`.
    pub(crate) fn resume(
        store: CheckpointMemoryStore,
        epoch: Epoch,
        fault: Fault,
        max_bytes: usize,
        restored: Restored,
        log: &Log,
    ) -> Self {
        let mut writer = Self {
            store,
            epoch,
            serial: restored.serial,
            fault,
            max_bytes,
            begun: true,
            guilds: restored.guilds,
            read: restored.read,
            changed: BTreeMap::new(),
            pending: restored.pending,
            stored: restored.keys,
        };
        for (at, event) in log.after(writer.read) {
            writer.take_in(at, event);
        }
        writer
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Writes a checkpoint, but for no more than the steps that are left; the first step that was not sent, if it came to that.
    pub(crate) async fn pass(&mut self, pass: &Pass, log: &mut Log, left: &mut usize) -> Option<WriteStep> {
        self.receive(&pass.before, log);
        for _ in 0..pass.finished {
            log.finished.extend(self.pending.pop_first());
        }
        if pass.from_scratch || !self.begun {
            self.begun = true;
            self.stored.clear();
            self.note_everything();
            // From here on the session can be resumed, with all guilds still to come. What is pending comes along.
            let groups = vec![Group { set: self.pending_records(0), ..Group::default() }];
            let begin = pack(true, groups, Some(head(0)), usize::MAX);
            if let Some(unsent) = self.send(begin, &[], log, left).await {
                return Some(unsent);
            }
        }
        let mut read = self.read;
        if !matches!(self.fault, Fault::ReadAfterChanges | Fault::EncodedLater) {
            self.receive(&pass.meanwhile, log);
        }
        let changed = std::mem::take(&mut self.changed);
        if self.fault == Fault::EncodedLater {
            self.receive(&pass.meanwhile, log);
        }
        let mut groups = self.guild_groups(changed);
        if self.fault == Fault::ReadAfterChanges {
            self.receive(&pass.meanwhile, log);
            read = self.read;
        }
        let pending = self.pending_groups(read);
        let mut steps = if self.fault == Fault::PendingAfterHead {
            let mut steps = pack(false, groups, Some(head(read)), self.max_bytes);
            steps.extend(pack(false, pending, None, self.max_bytes));
            steps
        } else {
            groups.extend(pending);
            pack(false, groups, Some(head(read)), self.max_bytes)
        };
        if self.fault == Fault::HeadFirst {
            let head = steps.last_mut().and_then(|last| last.head.take());
            steps[0].head = head;
        }
        self.send(steps, &pass.during, log, left).await
    }

    async fn send(
        &mut self,
        steps: Vec<WriteStep>,
        during: &[Event],
        log: &mut Log,
        left: &mut usize,
    ) -> Option<WriteStep> {
        let mut during = during.chunks(1);
        for step in steps {
            if *left == 0 {
                return Some(step);
            }
            *left -= 1;
            let written = self.store.write(SHARD, self.epoch, self.serial, &step).await.unwrap();
            let StepAnswer::Yes { serial } = written else { panic!("{written:?}") };
            self.serial = serial;
            self.receive(during.next().unwrap_or_default(), log);
        }
        None
    }

    fn receive(&mut self, events: &[Event], log: &mut Log) {
        for event in events {
            log.events.push(*event);
            self.take_in(log.events.len() as u64, *event);
        }
    }

    fn take_in(&mut self, at: u64, event: Event) {
        self.guilds.apply(at, event);
        if let Some(guild) = event.guild() {
            let parts = self.changed.entry(guild).or_default();
            parts.channels |= matches!(event, Event::Create(_) | Event::Channel(_));
            parts.blocks.extend(event.block());
        }
        self.pending.insert(at);
        self.read = at;
    }

    fn note_everything(&mut self) {
        for (guild, state) in &self.guilds.0 {
            let parts = self.changed.entry(*guild).or_default();
            parts.channels = true;
            parts.blocks.extend(state.blocks.keys());
        }
    }

    /// The records of what changed. Blocks come before the guild's core, and what no longer is goes with it.
    fn guild_groups(&mut self, changed: Changed) -> Vec<Group> {
        let mut groups = Vec::new();
        for (id, Parts { channels, blocks }) in changed {
            let guild = self.guilds.0.get(&id);
            let members: Vec<Group> =
                blocks.iter().filter_map(|block| member_record(id, *block, guild?)).map(setting).collect();
            let mut cores =
                guild.map_or_else(|| vec![Group::default()], |guild| self.core_groups(id, guild, channels));
            if self.fault != Fault::RemovedForgotten {
                let here = |key: &RecordKey| match (key, guild) {
                    (RecordKey::Members(_, block), Some(guild)) => guild.blocks.contains_key(block),
                    (_, guild) => guild.is_some(),
                };
                let gone = self.stored.iter().filter(|key| key.guild() == Some(id) && !here(key));
                cores[0].remove.extend(gone);
            }
            if self.fault == Fault::CoreBeforeBlocks {
                groups.extend(cores.into_iter().chain(members));
            } else {
                groups.extend(members.into_iter().chain(cores));
            }
        }
        self.note_stored(&groups);
        groups
    }

    fn core_groups(&self, id: u64, guild: &Guild, channels: bool) -> Vec<Group> {
        let core = GuildCore {
            stamp: guild.stamp,
            members: Some(guild.core.len() as u64),
            channels: guild.channels.len() as u32,
            in_voice: Vec::new(),
            unavailable: false,
            object: Some(list(&guild.core)),
            voice_states: Bytes::new(),
            member_blocks: guild.blocks.len() as u32,
            doubt: 0,
        };
        let core = (RecordKey::Core(id), record(Record::Core(core)));
        let channels =
            channels.then(|| (RecordKey::Channels(id), record(Record::Channels(list(&guild.channels)))));
        if self.fault == Fault::GroupsSplit {
            std::iter::once(core).chain(channels).map(setting).collect()
        } else {
            vec![Group { set: std::iter::once(core).chain(channels).collect(), ..Group::default() }]
        }
    }

    /// The pending events up to a sequence that the store does not hold, and the removal of those that were finished.
    fn pending_groups(&mut self, read: u64) -> Vec<Group> {
        let mut groups: Vec<_> = self.pending_records(read).into_iter().map(setting).collect();
        let finished =
            |key: &&RecordKey| matches!(key, RecordKey::Pending(at) if !self.pending.contains(&at.sequence));
        groups.extend(
            self.stored.iter().filter(finished).map(|key| Group { remove: vec![*key], ..Group::default() }),
        );
        self.note_stored(&groups);
        groups
    }

    fn pending_records(&self, read: u64) -> Vec<(RecordKey, Bytes)> {
        let up_to_read = self
            .pending
            .range(..=read)
            .map(|sequence| (RecordKey::Pending(Position::new(SESSION, *sequence)), *sequence));
        let unknown = up_to_read.filter(|(key, _)| !self.stored.contains(key));
        unknown
            .map(|(key, sequence)| {
                let text = format!("{{\"s\":{sequence}}}");
                let event = PendingEvent {
                    position: Position::new(SESSION, sequence),
                    started: false,
                    handled: false,
                    received_at_unix_ms: 1,
                    text: text.into(),
                };
                (key, record(Record::Pending(event)))
            })
            .collect()
    }

    /// From its sending on, the store may hold a record, even if the write fails; what is removed for good is no longer asked for.
    fn note_stored(&mut self, groups: &[Group]) {
        for group in groups {
            self.stored.retain(|key| !group.remove.contains(key));
            self.stored.extend(group.set.iter().map(|(key, _)| *key));
        }
    }
}

fn setting(record: (RecordKey, Bytes)) -> Group {
    Group { set: vec![record], ..Group::default() }
}

fn member_record(id: u64, number: u32, guild: &Guild) -> Option<(RecordKey, Bytes)> {
    let block = guild.blocks.get(&number)?;
    let members = Members { stamp: block.stamp, list: list(&block.changes) };
    Some((RecordKey::Members(id, number), record(Record::Members(members))))
}

fn record(record: Record) -> Bytes {
    encode_record(&record, FORMAT_MAX).unwrap()
}

/// Sequences as a JSON array.
fn list(changes: &[u64]) -> Bytes {
    format!("{changes:?}").into()
}

fn head(read: u64) -> HeadWrite {
    let session = Session {
        id: "0123456789abcdef".to_owned(),
        resume_url: "wss://resume".to_owned(),
        ordinal: SESSION,
        shard: None,
        total: 1,
        intents: 1,
        transport: "json".to_owned(),
        resources: Vec::new(),
        opened_at_unix_ms: 1,
    };
    let head = Head {
        session,
        read,
        read_at_unix_ms: 1,
        expecting: Vec::new(),
        doubt: 0,
        own_user: None,
        presence: None,
        epoch: Epoch(1),
        exact: false,
    };
    HeadWrite { bytes: encode_head(&head, FORMAT_MAX).unwrap(), total: 1 }
}
