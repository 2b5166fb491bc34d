//! Logs, counts and records what happened in the fleet. Events of many shards at once share one line: see `telemetry::batch`.

use fleet::{Finding, Note, Ownership, history::entry_of};
use fleet_model::StartKind;

use super::Driver;

impl Driver<'_> {
    pub(super) fn note(&mut self, note: &Note) {
        let now = self.shell.now();
        self.shell.metrics.count_note(note);
        self.traces.note(note, || self.fleet.plan(now).filter(|plan| plan.state.is_under_way()), now.mono);
        if let Some(entry) = entry_of(note, self.term.number, now) {
            self.shell.history.record(entry);
        }
        match note {
            Note::Joined { worker, running, .. } => {
                tracing::info!(worker.id = %worker, running, "worker joined");
            }
            Note::Draining { worker, .. } => tracing::info!(worker.id = %worker, "worker drains"),
            Note::Left { worker, .. } => tracing::info!(worker.id = %worker, "worker left"),
            Note::Readmitted(worker) => tracing::info!(
                worker.id = %worker, "worker may get shards again; wait after its refused token is over"
            ),
            Note::Lost { worker, shards, cause, since_broken, .. } => tracing::warn!(
                worker.id = %worker,
                shards = shards.len(),
                cause = cause.as_str(),
                ms_since_stream_broke = since_broken.map(|since| since.as_millis() as u64),
                "worker lost; lease revoked"
            ),
            Note::Probed { worker, finding: Finding::Answers | Finding::Unclear } => {
                tracing::debug!(worker.id = %worker, "probe shows no evidence that the worker is dead");
            }
            Note::Probed { worker, finding } => tracing::warn!(
                worker.id = %worker, finding = finding.as_str(), "worker is gone: its address refuses connections or has another worker"
            ),
            Note::Moving { shard, from, to } => {
                tracing::info!(batch = true, shard.id = %shard, worker.id = %from, to.id = %to, "moving shards");
                tracing::debug!(shard.id = %shard, worker.id = %from, to.id = %to, "moving shard");
            }
            Note::Releasing { shard, from, copied } => {
                let kind = if *copied { "copied" } else { "not copied" };
                tracing::info!(batch = true, shard.id = %shard, worker.id = %from, %kind, "releasing shards");
                tracing::debug!(shard.id = %shard, worker.id = %from, copied, "releasing shard");
            }
            Note::Plan { id, description, state, reason } => {
                tracing::info!(plan.id = id, plan = %description, state = state.as_str(), %reason, "plan changed");
            }
            Note::Adopted(generation) => tracing::warn!(
                %generation, "active generation has no workers left; another one is active now"
            ),
            Note::Assigned { owner, .. } => {
                let Ownership { shard, worker, epoch, .. } = owner;
                tracing::info!(batch = true, shard.id = %shard, worker.id = %worker, "shards assigned");
                tracing::debug!(shard.id = %shard, worker.id = %worker, %epoch, "shard assigned");
            }
            Note::Started { shard, worker, outcome, .. } => {
                let took_ms = outcome.took.as_millis() as u64;
                // Shards in the identify queue start one by one; the progress line covers them.
                if outcome.kind == StartKind::Resumed || !self.publishing.progress.is_shown() {
                    tracing::info!(
                        batch = true, shard.id = %shard, worker.id = %worker, kind = %outcome.kind, "shards started"
                    );
                }
                tracing::debug!(
                    shard.id = %shard, worker.id = %worker, kind = %outcome.kind, took_ms,
                    replayed = outcome.replayed, "shard started"
                );
                if let Some(gap) = &outcome.gap {
                    tracing::warn!(
                        shard.id = %shard, worker.id = %worker, since_unix_ms = gap.since_unix_ms,
                        until_unix_ms = gap.until_unix_ms, last_sequence = gap.last_sequence,
                        reason = %gap.reason, "gap: events of the shard were or may have been lost"
                    );
                }
            }
            Note::Contested { worker, shards } => tracing::warn!(
                worker.id = %worker, shards, "worker claims shards of live owners; checking with the store"
            ),
            Note::Outranked { shard, by } => tracing::warn!(
                shard.id = %shard, epoch = %by, "store holds a higher epoch; raising the shard's epoch"
            ),
            Note::TotalSettled(total) => tracing::info!(total, "shard total settled"),
        }
    }
}
