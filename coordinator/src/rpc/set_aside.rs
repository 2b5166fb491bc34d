//! Events that were set aside, for operators: read and dropped in the store, handled again by the worker that runs their shard.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use altergolden_proto::{
    convert::{self, refusal},
    v1::{self, ReplaySetAsideRequest, gateway_worker_client::GatewayWorkerClient},
};
use checkpoint::{CheckpointStoreError, Position, SetAside, SetAsideStore, SetAsideSummary};
use fleet_model::{ErrorClass, ShardSlot};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use process::{
    client::GrpcServer,
    credentials::{Credentials, Role},
};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{dial_back::scheme, snapshot::Snapshot};

/// How many shards are read at once.
const AT_ONCE: usize = 32;

/// How long a worker may take to be reached, and to answer.
const WORKER: Duration = Duration::from_secs(2);

/// Reaches them. Clones reach the same.
#[derive(Clone)]
pub(super) struct SetAsides {
    store: Arc<dyn SetAsideStore>,
    credentials: Credentials,
}

impl SetAsides {
    pub(super) fn new(store: Arc<dyn SetAsideStore>, credentials: Credentials) -> Self {
        Self { store, credentials }
    }

    /// All of them, by shard and position.
    pub(super) async fn list(&self, snapshot: &Snapshot) -> Result<v1::ListSetAsideResponse, Status> {
        let shards: Vec<_> = snapshot.fleet.shards.iter().map(|shard| shard.key.slot()).collect();
        let lists = stream::iter(shards).map(async |shard| {
            let list = self.store.list_aside(shard).await?;
            Ok(list.into_iter().map(|summary| message(shard, summary, String::new())).collect::<Vec<_>>())
        });
        let lists: Vec<Vec<v1::SetAside>> = lists
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .map_err(|error: CheckpointStoreError| convert::status(&error))?;
        Ok(v1::ListSetAsideResponse { events: lists.into_iter().flatten().collect() })
    }

    pub(super) async fn get(&self, id: v1::SetAsideId) -> Result<v1::SetAside, Status> {
        let (shard, at) = place(id);
        let SetAside { summary, text } = self
            .store
            .get_aside(shard, at)
            .await
            .map_err(|error| convert::status(&error))?
            .ok_or_else(|| none(id))?;
        Ok(message(shard, summary, text.into()))
    }

    pub(super) async fn forget(&self, id: v1::SetAsideId) -> Result<v1::DropSetAsideResponse, Status> {
        let (shard, at) = place(id);
        if !self.store.drop_aside(shard, at).await.map_err(|error| convert::status(&error))? {
            return Err(none(id));
        }
        tracing::info!(shard.id = %shard, session = at.session, sequence = at.sequence, "dropped an event that was set aside");
        Ok(v1::DropSetAsideResponse {})
    }

    /// Gives it to the worker that runs its shard.
    pub(super) async fn replay(
        &self,
        id: v1::SetAsideId,
        snapshot: &Snapshot,
    ) -> Result<v1::ReplaySetAsideResult, Status> {
        let (shard, at) = place(id);
        self.store
            .get_aside(shard, at)
            .await
            .map_err(|error| convert::status(&error))?
            .ok_or_else(|| none(id))?;
        let owner = snapshot.fleet.shards.get(shard.0 as usize).and_then(|view| view.owner.as_ref());
        let found = owner.and_then(|(name, _)| Some((name, snapshot.fleet.workers.get(name)?)));
        let Some((worker, view)) = found else {
            return Err(refusal(ErrorClass::NotPermitted, format!("no worker runs shard {shard} now")));
        };
        let v1::SetAsideId { shard_id, session, sequence } = id;
        let request = ReplaySetAsideRequest { shard_id, session, sequence };
        match timeout(WORKER, ask(view.address, &view.url, request, &self.credentials)).await {
            Err(_) => Err(refusal(ErrorClass::Unavailable, format!("worker {worker} does not answer"))),
            // It has moved on meanwhile: another try finds it where it is then.
            Ok(Err(status)) if status.code() == Code::NotFound => {
                Err(refusal(ErrorClass::NotPermitted, format!("worker {worker}: {}", status.message())))
            }
            Ok(Err(status)) => {
                // The worker's own code goes on to the operator.
                Err(Status::new(status.code(), format!("worker {worker}: {}", status.message())))
            }
            Ok(Ok(())) => Ok(v1::ReplaySetAsideResult { worker_id: worker.to_string() }),
        }
    }
}

async fn ask(
    address: Option<SocketAddr>,
    url: &str,
    request: ReplaySetAsideRequest,
    credentials: &Credentials,
) -> Result<(), Status> {
    let dialled = address.map_or_else(|| url.to_owned(), |address| format!("{}://{address}", scheme(url)));
    let no_url = |_| refusal(ErrorClass::Unavailable, format!("its address {url} is not a URL"));
    let server = GrpcServer::new(&dialled, WORKER, WORKER).map_err(no_url)?;
    let channel = server
        .connect(credentials, Role::Worker)
        .await
        .map_err(|_| refusal(ErrorClass::Unavailable, format!("cannot be reached at {url}")))?;
    GatewayWorkerClient::new(channel).replay_set_aside(request).await.map(drop)
}

fn place(id: v1::SetAsideId) -> (ShardSlot, Position) {
    let v1::SetAsideId { shard_id, session, sequence } = id;
    (ShardSlot(shard_id), Position { session, sequence })
}

fn none(id: v1::SetAsideId) -> Status {
    let v1::SetAsideId { shard_id, session, sequence } = id;
    refusal(ErrorClass::NotFound, format!("no event {shard_id}/{session}/{sequence} is set aside"))
}

fn message(shard: ShardSlot, summary: SetAsideSummary, payload: String) -> v1::SetAside {
    let SetAsideSummary { at, name, received_at_unix_ms, set_aside_at_unix_ms, noted } = summary;
    v1::SetAside {
        id: Some(v1::SetAsideId { shard_id: shard.0, session: at.session, sequence: at.sequence }),
        name,
        at_unix_ms: set_aside_at_unix_ms,
        received_at_unix_ms,
        deaths: noted,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use checkpoint::CheckpointMemoryStore;
    use fleet_model::{Epoch, ShardKey, ShardReport, ShardStatus};

    use super::*;
    use fleet::{FleetView, ShardView};

    fn id(shard_id: u32, sequence: u64) -> v1::SetAsideId {
        v1::SetAsideId { shard_id, session: 5, sequence }
    }

    async fn with_events(events: &[(u32, u64)]) -> SetAsides {
        let store = CheckpointMemoryStore::new();
        for &(shard, sequence) in events {
            let summary = SetAsideSummary {
                at: Position { session: 5, sequence },
                name: "MESSAGE_CREATE".to_owned(),
                received_at_unix_ms: 1,
                set_aside_at_unix_ms: 2,
                noted: 3,
            };
            let event = SetAside { summary, text: "payload".into() };
            store.set_aside(ShardKey::new(shard, 41), Epoch(1), &event).await.unwrap();
        }
        SetAsides::new(Arc::new(store), Credentials::none())
    }

    fn snapshot(shards: u32) -> Snapshot {
        let unowned = |shard| ShardView {
            key: shard,
            owner: None,
            report: Arc::new(ShardReport::bare(shard, Epoch(0), ShardStatus::Stopped)),
            reported_at: None,
            since_unix_ms: None,
        };
        let shards = ShardKey::all(shards).map(unowned).collect();
        Snapshot { fleet: FleetView { shards, ..FleetView::default() }, ..Snapshot::empty() }
    }

    #[tokio::test]
    async fn all_shards_are_listed_in_order_and_without_payloads() {
        let asides = with_events(&[(40, 7), (2, 9), (2, 8)]).await;
        let list = asides.list(&snapshot(41)).await.unwrap().events;
        let listed: Vec<_> = list.iter().map(|event| event.id.unwrap()).collect();
        assert_eq!(listed, [id(2, 8), id(2, 9), id(40, 7)]);
        assert!(list.iter().all(|event| event.payload.is_empty() && event.deaths == 3));
    }

    #[tokio::test]
    async fn one_is_shown_with_its_payload_and_dropped_once() {
        let asides = with_events(&[(2, 9)]).await;
        let event = asides.get(id(2, 9)).await.unwrap();
        assert_eq!((event.payload.as_str(), event.at_unix_ms, event.received_at_unix_ms), ("payload", 2, 1));
        asides.forget(id(2, 9)).await.unwrap();
        for status in [asides.get(id(2, 9)).await.unwrap_err(), asides.forget(id(2, 9)).await.unwrap_err()] {
            assert_eq!(status.code(), Code::NotFound);
            assert!(status.message().contains("2/5/9"), "{status}");
        }
    }

    #[tokio::test]
    async fn shard_without_an_owner_is_not_replayed() {
        let asides = with_events(&[(2, 9)]).await;
        let status = asides.replay(id(2, 8), &snapshot(3)).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        for shards in [2, 3] {
            let status = asides.replay(id(2, 9), &snapshot(shards)).await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
        }
    }
}
