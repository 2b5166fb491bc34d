//! Restores a checkpoint of the model as the next owner does, and compares it with what truly happened.

use std::collections::{BTreeMap, BTreeSet};

use checkpoint::{
    CheckpointMemoryStore, CheckpointStore, ClaimAnswer, Cursor, PageRead, Record, RecordKey, decode_head,
    decode_record,
};
use fleet_model::Epoch;

use super::{
    SHARD,
    model::{Block, Event, Guild, Guilds, Log},
};

/// What a reader has.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) serial: u64,
    pub(crate) read: u64,
    pub(crate) guilds: Guilds,
    /// Up to `read`.
    pub(crate) pending: BTreeSet<u64>,
    /// All records that there are.
    pub(crate) keys: BTreeSet<RecordKey>,
}

/// How a checkpoint is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// There is no head, though one was written.
    NoHead,
    /// A guild is older than `read`.
    Older { guild: u64 },
    /// After the replay a guild is not what it truly is.
    Differs { guild: u64 },
    /// An event up to `read` was not finished, and is not pending.
    NotPending { sequence: u64 },
}

/// Takes a shard over; `None` without a head.
pub(crate) async fn restore(store: &CheckpointMemoryStore, epoch: Epoch) -> Option<Restored> {
    let ClaimAnswer::Yours(stored) = store.claim(SHARD, epoch).await.unwrap() else { panic!("outranked") };
    let head = decode_head(&stored.head?.bytes).unwrap();
    let mut guilds: BTreeMap<u64, Guild> = BTreeMap::new();
    let (mut pending, mut keys, mut whole) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut next = Some(Cursor::START);
    while let Some(cursor) = next {
        let PageRead::Page(page) = store.read(SHARD, epoch, stored.serial, cursor).await.unwrap() else {
            panic!("a second writer wrote")
        };
        for (key, bytes) in page.records {
            let key: RecordKey = key.parse().unwrap();
            keys.insert(key);
            let guild = key.guild().map(|guild| guilds.entry(guild).or_default());
            match (key, decode_record(key, &bytes).unwrap(), guild) {
                (RecordKey::Core(id), Record::Core(core), Some(guild)) => {
                    whole.insert(id);
                    guild.stamp = core.stamp;
                    guild.core = list(&core.object.unwrap());
                }
                (_, Record::Channels(changes), Some(guild)) => guild.channels = list(&changes),
                (RecordKey::Members(_, block), Record::Members(members), Some(guild)) => {
                    let members = Block { stamp: members.stamp, changes: list(&members.list) };
                    guild.blocks.insert(block, members);
                }
                (_, Record::Pending(event), None) => {
                    let sequence = event.position.sequence;
                    pending.extend((sequence <= head.read).then_some(sequence));
                }
                (key, record, _) => panic!("{key} is {record:?}"),
            }
        }
        next = page.next;
    }
    assert_eq!(keys.len() as u64, stored.records);
    // Blocks without a core are of a guild whose GUILD_CREATE comes again.
    guilds.retain(|guild, _| whole.contains(guild));
    Some(Restored { serial: stored.serial, read: head.read, guilds: Guilds(guilds), pending, keys })
}

impl Restored {
    /// What a reader relies on: every change up to `read` is there, and with what Discord sends again it is all there once.
    pub(crate) fn compare(&self, log: &Log) -> Result<(), Harm> {
        let last = log.events.len() as u64;
        let (then, now) = (log.guilds_at(self.read), log.guilds_at(last));
        for (guild, was) in &then.0 {
            let older = self.guilds.0.get(guild).is_none_or(|is| is.stamp < was.stamp);
            // One that went after `read` may have gone already.
            let stayed = !log
                .after(self.read)
                .any(|(_, event)| matches!(event, Event::Delete(gone) if gone == *guild));
            if older && stayed {
                return Err(Harm::Older { guild: *guild });
            }
        }
        let mut replayed = self.guilds.clone();
        for (at, event) in log.after(self.read) {
            replayed.apply(at, event);
        }
        for guild in replayed.0.keys().chain(now.0.keys()) {
            if replayed.0.get(guild) != now.0.get(guild) {
                return Err(Harm::Differs { guild: *guild });
            }
        }
        let missing = (1..=self.read).find(|at| !log.finished.contains(at) && !self.pending.contains(at));
        missing.map_or(Ok(()), |sequence| Err(Harm::NotPending { sequence }))
    }
}

fn list(changes: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(changes).unwrap().trim_matches(['[', ']']);
    text.split(", ").filter(|word| !word.is_empty()).map(|word| word.parse().unwrap()).collect()
}
