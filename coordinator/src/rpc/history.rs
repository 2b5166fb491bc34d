//! Questions about the history, and the calls of operators that are entries of it.

use std::time::Duration;

use altergolden_proto::{
    convert::{Bounded, refusal},
    v1,
};
use fleet_model::{ErrorClass, HistoryEntry, HistoryFilter, HistoryKind, ProblemCode, ShardSlot, Term};
use fleet_store::{HistoryId, InvalidHistoryId};
use process::credentials::Caller;
use tonic::Status;

use crate::history::{History, HistoryQuestion};

/// The most entries of an answer.
const LIMIT: usize = 500;

/// How long an answer may take when the request does not say, and at most.
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn list(
    history: &History,
    request: v1::ListHistoryRequest,
) -> Result<v1::ListHistoryResponse, Status> {
    request.check_bounds()?;
    let filter = HistoryFilter::try_from(&request)?;
    let is_known = |kind: &&String| HistoryKind::named(kind).is_some() || ProblemCode::named(kind).is_some();
    if let Some(unknown) = filter.kinds.iter().find(|kind| !is_known(kind)) {
        let text = format!("{unknown} is no kind of history entry and no code of a problem");
        return Err(refusal(ErrorClass::InvalidInput, text));
    }
    let before: Option<HistoryId> = (!request.before.is_empty())
        .then(|| request.before.parse())
        .transpose()
        .map_err(|error: InvalidHistoryId| refusal(ErrorClass::InvalidInput, format!("before: {error}")))?;
    let limit = match request.limit as usize {
        0 => LIMIT,
        limit => limit.min(LIMIT),
    };
    let deadline = request.deadline_ms.map_or(DEADLINE, |ms| Duration::from_millis(ms.into()).min(DEADLINE));
    let answer = history.answer(&HistoryQuestion { filter, before, limit, deadline }).await;
    Ok(v1::ListHistoryResponse {
        entries: answer.entries.iter().map(Into::into).collect(),
        next: answer.next.map(|next| next.to_string()).unwrap_or_default(),
        complete: answer.missing.is_none(),
        reason: answer.missing.unwrap_or_default(),
        begins_unix_ms: answer.begins_unix_ms,
    })
}

/// Records that an operator watches events with their content.
pub(super) fn record_tap(history: &History, term: Term, peer: Option<Caller>) {
    let entry = HistoryEntry::new(HistoryKind::OperatorCall, term, history.now().unix_ms);
    history.record(entry.detail("watched events with their content".to_owned()).peer(peer));
}

/// Records what an operator did to an event that was set aside.
pub(super) fn record_set_aside(
    history: &History,
    term: Term,
    done: &str,
    id: v1::SetAsideId,
    peer: Option<Caller>,
) {
    let v1::SetAsideId { shard_id, session, sequence } = id;
    let entry = HistoryEntry::new(HistoryKind::OperatorCall, term, history.now().unix_ms);
    let mut entry = entry.detail(format!("{done} {shard_id}/{session}/{sequence}")).peer(peer);
    entry.shards.insert(ShardSlot(shard_id));
    history.record(entry);
}
