//! The history of the fleet.

use fleet_model::{HistoryEntry, HistoryFilter, ShardSlot, SlotRanges, WorkerId};

use super::{Malformed, bounds::for_people};
use crate::v1;

fn name(name: Option<&impl ToString>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn spans(shards: &SlotRanges) -> Vec<v1::ShardSpan> {
    let span = |(first, last): &(ShardSlot, ShardSlot)| v1::ShardSpan { first: first.0, last: last.0 };
    shards.ranges().iter().map(span).collect()
}

impl From<&HistoryEntry> for v1::HistoryEntry {
    fn from(entry: &HistoryEntry) -> Self {
        let (lowest, highest) = entry.epochs.unwrap_or_default();
        Self {
            kind: entry.kind.as_str().to_owned(),
            at_unix_ms: entry.at_unix_ms,
            until_unix_ms: entry.until_unix_ms,
            term: entry.term.0,
            worker_id: name(entry.worker.as_ref()),
            incarnation: name(entry.incarnation.as_ref()),
            from_worker_id: name(entry.from.as_ref()),
            shards: spans(&entry.shards),
            lowest_epoch: lowest.0,
            highest_epoch: highest.0,
            plan_id: entry.plan,
            problem_code: for_people(&entry.code),
            peer: for_people(&entry.peer),
            count: entry.count,
            gap: entry.gap.clone().map(Into::into),
            message: entry.to_string(),
        }
    }
}

impl TryFrom<&v1::ListHistoryRequest> for HistoryFilter {
    type Error = Malformed;

    fn try_from(request: &v1::ListHistoryRequest) -> Result<Self, Self::Error> {
        let worker = &request.worker_id;
        let worker: Option<WorkerId> = (!worker.is_empty()).then(|| worker.parse()).transpose()?;
        Ok(Self {
            since_unix_ms: request.since_unix_ms,
            until_unix_ms: request.until_unix_ms,
            shard: request.shard_id.map(ShardSlot),
            worker,
            kinds: request.kinds.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{Epoch, Gap, HistoryKind, Term};

    use super::*;

    #[test]
    fn entry_keeps_its_ids_on_the_wire() {
        let entry = HistoryEntry::new(HistoryKind::Gap, Term(7), 1_000)
            .incarnation(&"a".parse().unwrap(), &"life".parse().unwrap())
            .shard(ShardSlot(3), Epoch(9))
            .shard(ShardSlot(4), Epoch(8))
            .peer(Some("127.0.0.1:5"));
        let gap = Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "why".to_owned() };
        let entry = HistoryEntry { plan: Some(5), code: "store_away".to_owned(), gap: Some(gap), ..entry };
        let sent = v1::HistoryEntry::from(&entry);
        assert_eq!((sent.kind.as_str(), sent.term, sent.at_unix_ms), ("gap", 7, 1_000));
        assert_eq!(
            (sent.worker_id.as_str(), sent.incarnation.as_str(), sent.plan_id),
            ("a", "life", Some(5))
        );
        assert_eq!(sent.shards, [v1::ShardSpan { first: 3, last: 4 }]);
        assert_eq!((sent.lowest_epoch, sent.highest_epoch, sent.peer.as_str()), (8, 9, "127.0.0.1:5"));
        assert_eq!(sent.gap.unwrap().last_sequence, 3);
        assert_eq!(sent.message, entry.to_string());
    }

    #[test]
    fn invalid_worker_name_is_refused() {
        let request = v1::ListHistoryRequest { worker_id: "no name".to_owned(), ..Default::default() };
        assert!(HistoryFilter::try_from(&request).is_err());
        assert_eq!(HistoryFilter::try_from(&v1::ListHistoryRequest::default()), Ok(HistoryFilter::default()));
    }
}
