//! The history of the fleet: which events become entries, and how entries wait until they are in the store.
//!
//! [`entry_of`] makes entries of the fleet's notes, [`ProblemChanges`] of its problems. [`HistoryLog`] joins entries that say
//! the same of many shards, and keeps them until the shell has written them.

mod log;
mod problems;
#[cfg(test)]
mod tests;

pub use log::{HistoryLog, NumberedEntry};
pub use problems::ProblemChanges;

use fleet_model::{HistoryEntry, HistoryKind, StartKind, StartOutcome, Term};

use crate::{Note, Now, RevocationCause};

/// Returns the entry about a note; `None` for notes that operators find in the log alone.
pub fn entry_of(note: &Note, term: Term, now: Now) -> Option<HistoryEntry> {
    let entry = |kind| HistoryEntry::new(kind, term, now.unix_ms);
    Some(match note {
        Note::Joined { worker, incarnation, running } => {
            let joined = entry(HistoryKind::WorkerJoined).incarnation(worker, incarnation);
            match running {
                0 => joined,
                running => joined.detail(format!("it runs {running} shards already")),
            }
        }
        Note::Draining { worker, incarnation } => {
            entry(HistoryKind::WorkerDraining).incarnation(worker, incarnation)
        }
        Note::Left { worker, incarnation } => entry(HistoryKind::WorkerLeft).incarnation(worker, incarnation),
        Note::Readmitted(worker) => entry(HistoryKind::WorkerReadmitted).worker(worker),
        Note::Lost { worker, incarnation, shards, cause, since_broken } => {
            let why = match cause {
                RevocationCause::Silence => "it was silent until its lease had lapsed",
                RevocationCause::Evidence => "its process is gone",
            };
            let after =
                since_broken.map(|since| format!(", {} ms after its stream broke", since.as_millis()));
            let lost = entry(HistoryKind::WorkerLost).incarnation(worker, incarnation);
            let lost = shards.iter().fold(lost, |lost, (shard, epoch)| lost.shard(*shard, *epoch));
            lost.detail(format!("{why}{}", after.unwrap_or_default()))
        }
        Note::Assigned { owner, from } => {
            let kind = if from.is_some() { HistoryKind::ShardsMoved } else { HistoryKind::ShardsAssigned };
            let assigned = entry(kind).incarnation(&owner.worker, &owner.incarnation);
            HistoryEntry { from: from.clone(), ..assigned.shard(owner.shard, owner.epoch) }
        }
        Note::Started { shard, worker, epoch, outcome } => {
            started(outcome, term, now).worker(worker).shard(*shard, *epoch)
        }
        Note::Plan { id, description, state, reason } => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let changed = entry(HistoryKind::PlanChanged);
            let detail = format!("{description}: {}{why}", state.as_str().replace('_', " "));
            HistoryEntry { plan: Some(*id), ..changed.detail(detail) }
        }
        Note::Adopted(generation) => entry(HistoryKind::GenerationAdopted)
            .detail(format!("{generation}, as the active one had no workers left")),
        Note::TotalSettled(total) => entry(HistoryKind::TotalSettled).detail(format!("{total} shards")),
        Note::Probed { .. }
        | Note::Moving { .. }
        | Note::Releasing { .. }
        | Note::Contested { .. }
        | Note::Outranked { .. } => return None,
    })
}

/// The entry about a start, without its worker and shard.
fn started(outcome: &StartOutcome, term: Term, now: Now) -> HistoryEntry {
    if let Some(gap) = &outcome.gap {
        let gapped = HistoryEntry::new(HistoryKind::Gap, term, now.unix_ms);
        let detail = format!("{}: {}", outcome.kind, gap.reason);
        return HistoryEntry { gap: Some(gap.clone()), ..gapped.detail(detail) };
    }
    match outcome.kind {
        StartKind::Resumed => HistoryEntry::new(HistoryKind::ShardsResumed, term, now.unix_ms),
        StartKind::Identified => HistoryEntry::new(HistoryKind::ShardsIdentified, term, now.unix_ms),
        StartKind::Reidentified => HistoryEntry::new(HistoryKind::ShardsIdentified, term, now.unix_ms)
            .detail("in place of a session that could not be resumed"),
    }
}
