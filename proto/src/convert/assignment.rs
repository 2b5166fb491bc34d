//! Ranges and assignments.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use fleet_model::{
    Arriving, Assignment, CopyTicket, Departing, Epoch, FIRST_FORMAT, HeadSigning, ShardKey, ShardRange,
    ShardSlot,
};

use super::{MAX_SHARDS, Malformed};
use crate::v1;

/// Bytes of a `traceparent`: version 0 has 55.
const LONGEST_TRACEPARENT: usize = 128;

impl From<ShardRange> for v1::ShardRange {
    fn from(range: ShardRange) -> Self {
        Self { first: range.first.0, last: range.last.0, epoch: range.epoch.0 }
    }
}

impl TryFrom<v1::ShardRange> for ShardRange {
    type Error = Malformed;

    fn try_from(range: v1::ShardRange) -> Result<Self, Malformed> {
        let v1::ShardRange { first, last, epoch } = range;
        if first > last || last >= MAX_SHARDS {
            return Err(Malformed::Range { first, last });
        }
        Ok(Self { first: ShardSlot(first), last: ShardSlot(last), epoch: Epoch(epoch) })
    }
}

/// Shards as ranges.
pub(super) fn pack<S: Borrow<ShardSlot>>(shards: &BTreeMap<S, Epoch>) -> Vec<v1::ShardRange> {
    ShardRange::pack(shards).into_iter().map(Into::into).collect()
}

/// Ranges as shards; a shard named twice keeps the higher epoch.
pub(super) fn unpack(ranges: Vec<v1::ShardRange>) -> Result<BTreeMap<ShardSlot, Epoch>, Malformed> {
    let mut shards = BTreeMap::new();
    for range in ranges {
        for (shard, epoch) in ShardRange::try_from(range)?.unpack() {
            let known = shards.entry(shard).or_insert(epoch);
            *known = epoch.max(*known);
        }
    }
    Ok(shards)
}

/// Returns the shard of a slot from the wire.
fn in_total(slot: u32, shard_total: u32) -> Result<ShardKey, Malformed> {
    ShardSlot(slot).in_total(shard_total).ok_or(Malformed::Beyond { last: slot, shard_total })
}

/// Returns the shards of these slots. The error names the highest slot.
pub(super) fn all_in_total(
    shards: BTreeMap<ShardSlot, Epoch>,
    shard_total: u32,
) -> Result<BTreeMap<ShardKey, Epoch>, Malformed> {
    let shards = shards.into_iter().rev();
    shards.map(|(slot, epoch)| Ok((in_total(slot.0, shard_total)?, epoch))).collect()
}

impl From<&Assignment> for v1::Assignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            revision: assignment.revision,
            shards: pack(&assignment.shards),
            shard_total: assignment.shard_total,
            arriving: assignment.arriving.iter().map(arriving).collect(),
            handed_over: shard_epochs(assignment.handed_over.iter().map(|(shard, epoch)| (*shard, *epoch))),
            careful: slots(&assignment.careful),
            ran_before: slots(&assignment.ran_before),
            suspected: slots(&assignment.suspected),
            killed: shard_epochs(assignment.killed.iter().copied()),
            checkpoint_format: assignment.checkpoint_format.into(),
            traces: assignment.traces.iter().map(trace).collect(),
            departing: assignment.departing.iter().map(departing).collect(),
            head_signing: (assignment.head_signing != HeadSigning::default())
                .then(|| head_signing(assignment.head_signing)),
        }
    }
}

fn trace((shard, traceparent): (&ShardKey, &String)) -> v1::ShardTrace {
    v1::ShardTrace { shard_id: shard.slot().0, traceparent: traceparent.clone() }
}

fn head_signing(HeadSigning { by, required }: HeadSigning) -> v1::HeadSigning {
    v1::HeadSigning { key_id: by.map(|id| id.to_string()).unwrap_or_default(), required }
}

/// Reads how heads are signed. An id that cannot be read names no key of this worker.
fn head_signing_of(v1::HeadSigning { key_id, required }: v1::HeadSigning) -> HeadSigning {
    HeadSigning { by: key_id.parse().ok(), required }
}

fn slots(shards: &BTreeSet<ShardKey>) -> Vec<u32> {
    shards.iter().map(|shard| shard.slot().0).collect()
}

fn arriving((shard, arriving): (&ShardKey, &Arriving)) -> v1::Arriving {
    v1::Arriving {
        shard_id: shard.slot().0,
        epoch: arriving.epoch.0,
        worker_id: arriving.from.to_string(),
        url: arriving.url.clone(),
        ticket: ticket(arriving.ticket),
    }
}

fn departing((shard, departing): (&ShardKey, &Departing)) -> v1::Departing {
    v1::Departing {
        shard_id: shard.slot().0,
        epoch: departing.epoch.0,
        worker_id: departing.to.to_string(),
        ticket: ticket(departing.ticket),
    }
}

fn ticket(ticket: Option<CopyTicket>) -> Vec<u8> {
    ticket.map(|ticket| ticket.0.to_vec()).unwrap_or_default()
}

/// Shards with their epochs, one by one.
pub(super) fn shard_epochs<S: Into<ShardSlot>>(
    shards: impl IntoIterator<Item = (S, Epoch)>,
) -> Vec<v1::ShardEpoch> {
    let one = |(shard, epoch): (S, Epoch)| v1::ShardEpoch { shard_id: shard.into().0, epoch: epoch.0 };
    shards.into_iter().map(one).collect()
}

/// Shards with their epochs, one by one; a map keeps the last of two for one shard.
pub(super) fn epochs_of_shards<T: FromIterator<(ShardSlot, Epoch)>>(shards: Vec<v1::ShardEpoch>) -> T {
    shards.into_iter().map(|one| (ShardSlot(one.shard_id), Epoch(one.epoch))).collect()
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = Malformed;

    fn try_from(assignment: v1::Assignment) -> Result<Self, Malformed> {
        let v1::Assignment {
            revision,
            shard_total,
            shards,
            arriving,
            handed_over,
            careful,
            ran_before,
            suspected,
            killed,
            checkpoint_format,
            traces,
            head_signing,
            departing,
        } = assignment;
        // No gateway connection can be made for a shard beyond the total.
        let shards = all_in_total(unpack(shards)?, shard_total)?;
        let set = |slots: Vec<u32>| -> Result<BTreeSet<_>, _> {
            slots.into_iter().map(|slot| in_total(slot, shard_total)).collect()
        };
        let killed =
            killed.into_iter().map(|one| Ok((in_total(one.shard_id, shard_total)?, Epoch(one.epoch))));
        let arriving = arriving.into_iter().map(|one| {
            let v1::Arriving { shard_id, epoch, worker_id, url, ticket } = one;
            let (shard, ticket) = (in_total(shard_id, shard_total)?, CopyTicket::read(&ticket));
            Ok((shard, Arriving { epoch: Epoch(epoch), from: worker_id.parse()?, url, ticket }))
        });
        let departing = departing.into_iter().map(|one| {
            let v1::Departing { shard_id, epoch, worker_id, ticket } = one;
            let (shard, ticket) = (in_total(shard_id, shard_total)?, CopyTicket::read(&ticket));
            Ok((shard, Departing { epoch: Epoch(epoch), to: worker_id.parse()?, ticket }))
        });
        // A format number too large for `u16` is newer than any format known here: write the oldest, which every version reads.
        let checkpoint_format = u16::try_from(checkpoint_format).unwrap_or(FIRST_FORMAT);
        Ok(Self {
            revision,
            shard_total,
            shards,
            arriving: arriving.collect::<Result<_, Malformed>>()?,
            departing: departing.collect::<Result<_, Malformed>>()?,
            handed_over: all_in_total(epochs_of_shards(handed_over), shard_total)?,
            careful: set(careful)?,
            ran_before: set(ran_before)?,
            suspected: set(suspected)?,
            killed: killed.collect::<Result<_, Malformed>>()?,
            checkpoint_format,
            head_signing: head_signing.map(head_signing_of).unwrap_or_default(),
            traces: traces.into_iter().filter_map(|trace| trace_of(trace, shard_total)).collect(),
        })
    }
}

/// Reads a trace. An invalid one is left out: no assignment fails because of it.
fn trace_of(trace: v1::ShardTrace, shard_total: u32) -> Option<(ShardKey, String)> {
    let shard = in_total(trace.shard_id, shard_total).ok()?;
    (trace.traceparent.len() <= LONGEST_TRACEPARENT).then_some((shard, trace.traceparent))
}

/// The running shards of a registration.
///
/// # Errors
/// [`Malformed::Range`] for an invalid range.
pub fn running_shards(request: &v1::RegisterRequest) -> Result<BTreeMap<ShardSlot, Epoch>, Malformed> {
    unpack(request.running.clone())
}

/// Shards as the ranges of a registration.
pub fn running_ranges(shards: &BTreeMap<ShardKey, Epoch>) -> Vec<v1::ShardRange> {
    pack(shards)
}

#[cfg(test)]
mod tests {
    use fleet_model::HeadKeyId;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn assignments_survive_the_wire(
            shards in prop::collection::btree_map(0u32..100, 1u64..4, 0..40),
            arriving in prop::collection::btree_map(0u32..100, 1u64..4, 0..10),
            careful in prop::collection::btree_set(0u32..100, 0..10),
            ran_before in prop::collection::btree_set(0u32..100, 0..10),
            killed in prop::collection::btree_set((0u32..100, any::<u64>()), 0..10),
            traces in prop::collection::btree_map(0u32..100, "[0-9a-f-]{0,55}", 0..10),
            revision: u64,
            checkpoint_format: u16,
            head_key: Option<[u8; 4]>,
            ticket: Option<[u8; 32]>,
            heads_required: bool,
        ) {
            let numbered = |all: BTreeMap<u32, u64>| all.into_iter().map(|(s, e)| (ShardKey::new(s, 100), Epoch(e)));
            let shards: BTreeMap<_, _> = numbered(shards).collect();
            let arriving = numbered(arriving).map(|(shard, epoch)| {
                let ticket = ticket.map(CopyTicket);
                (shard, Arriving { epoch, from: "w".parse().unwrap(), url: "http://w".to_owned(), ticket })
            });
            let departing = shards.iter().map(|(shard, epoch)| {
                (*shard, Departing { epoch: *epoch, to: "w".parse().unwrap(), ticket: ticket.map(CopyTicket) })
            });
            let there = Assignment {
                revision,
                shard_total: 100,
                arriving: arriving.collect(),
                departing: departing.collect(),
                handed_over: shards.clone(),
                shards,
                careful: careful.into_iter().map(|s| ShardKey::new(s, 100)).collect(),
                suspected: ran_before.iter().rev().copied().map(|s| ShardKey::new(s, 100)).collect(),
                ran_before: ran_before.into_iter().map(|s| ShardKey::new(s, 100)).collect(),
                killed: killed.into_iter().map(|(shard, epoch)| (ShardKey::new(shard, 100), Epoch(epoch))).collect(),
                checkpoint_format,
                head_signing: HeadSigning { by: head_key.map(HeadKeyId), required: heads_required },
                traces: traces.into_iter().map(|(s, trace)| (ShardKey::new(s, 100), trace)).collect(),
            };
            let back = Assignment::try_from(v1::Assignment::from(&there)).unwrap();
            prop_assert_eq!(back, there);
        }
    }

    #[test]
    fn a_shard_beyond_the_total_is_refused() {
        let shards = vec![v1::ShardRange { first: 3, last: 4, epoch: 1 }];
        let assignment = v1::Assignment { revision: 1, shards, shard_total: 4, ..v1::Assignment::default() };
        let refused = Assignment::try_from(assignment);
        assert_eq!(refused, Err(Malformed::Beyond { last: 4, shard_total: 4 }));
    }

    #[test]
    fn unreadable_key_of_heads_names_none() {
        let head_signing = Some(v1::HeadSigning { key_id: "not a key".to_owned(), required: true });
        let assignment = v1::Assignment { revision: 1, head_signing, ..v1::Assignment::default() };
        let taken = Assignment::try_from(assignment).unwrap();
        assert_eq!(taken.head_signing, HeadSigning { by: None, required: true });
    }

    #[test]
    fn invalid_trace_is_left_out() {
        let trace = |shard_id, length| v1::ShardTrace { shard_id, traceparent: "0".repeat(length) };
        let traces = vec![trace(0, 55), trace(4, 55), trace(1, 100_000)];
        let assignment = v1::Assignment { revision: 1, shard_total: 4, traces, ..v1::Assignment::default() };
        let read = Assignment::try_from(assignment).unwrap();
        assert_eq!(read.traces.into_keys().collect::<Vec<_>>(), [ShardKey::new(0, 4)]);
    }

    #[test]
    fn a_lying_range_is_refused() {
        for (first, last) in [(3, 2), (0, u32::MAX), (0, MAX_SHARDS)] {
            let range = v1::ShardRange { first, last, epoch: 1 };
            assert_eq!(ShardRange::try_from(range), Err(Malformed::Range { first, last }));
        }
    }
}
