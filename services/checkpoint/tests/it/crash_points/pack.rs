//! Packing a write into steps. Pure.

use std::collections::HashSet;

use bytes::Bytes;
use checkpoint::{HeadWrite, RecordKey, WriteStep};

/// What a record's name and its place in the command take, in bytes.
const NAME: usize = 32;

/// Changes that are written together or not at all, such as a guild's core, channels, roles and extras: one stamp speaks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// Records to be removed.
    pub(crate) remove: Vec<RecordKey>,
    /// Records to be set.
    pub(crate) set: Vec<(RecordKey, Bytes)>,
}

impl Group {
    /// About how many bytes it takes in a step.
    pub(crate) fn weight(&self) -> usize {
        let set: usize = self.set.iter().map(|(_, bytes)| NAME + bytes.len()).sum();
        set + self.remove.len() * NAME
    }
}

/// The steps that write these groups in this order and then the head, each of at most `max_bytes` where that can be: no group is
/// split, so one that is larger goes alone. The first step is `fresh` if the write is; the head comes with the last, or after it.
///
/// A write that was cut anywhere is safe to restore: until the last step the old head stands, and the records are that new or newer.
/// (With `fresh` there is no head until then, so nothing is restored.)
pub(crate) fn pack(
    fresh: bool,
    groups: Vec<Group>,
    head: Option<HeadWrite>,
    max_bytes: usize,
) -> Vec<WriteStep> {
    let mut steps = Vec::new();
    let mut step = WriteStep { fresh, ..WriteStep::default() };
    let mut weight = 0;
    for group in groups {
        let more = group.weight();
        if more == 0 {
            continue;
        }
        if weight > 0 && weight + more > max_bytes {
            steps.push(std::mem::take(&mut step));
            weight = 0;
        }
        weight += more;
        add(&mut step, group);
    }
    if let Some(head) = head {
        if weight > 0 && weight + head.bytes.len() > max_bytes {
            steps.push(std::mem::take(&mut step));
        }
        step.head = Some(head);
    }
    if step != WriteStep::default() {
        steps.push(step);
    }
    steps
}

/// Adds a group to a step that earlier groups are in. Within a step what is set counts, so what a later group removes is no longer set.
fn add(step: &mut WriteStep, group: Group) {
    if !group.remove.is_empty() && !step.set.is_empty() {
        let removed: HashSet<_> = group.remove.iter().collect();
        step.set.retain(|(key, _)| !removed.contains(key));
    }
    step.remove.extend(group.remove);
    step.set.extend(group.set);
}
