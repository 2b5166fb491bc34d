//! RESUME: what the relay has behind the last entry that the client got.

use fleet_model::ShardSlot;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    Ended, HANDSHAKE,
    write::{Live, Writer},
};
use crate::{
    deliver::Client,
    payload,
    session::{ClientSession, Resumed},
    tail::Feed,
};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer<S> {
    /// Goes on behind the last entry that the client got; `None` if it must identify again.
    pub(super) async fn resume(
        &mut self,
        session: ClientSession,
        sequence: u64,
    ) -> Result<Option<Live>, Ended> {
        let shared = self.shared.clone();
        self.held = Some(
            shared
                .place()
                .ok_or_else(|| Ended::transient("worker has reached its client limit (GATEWAY_CLIENTS)"))?,
        );
        let identity = shared.identity.get().await.map_err(Ended::transient)?;
        let away = |error: relay::RelayError| Ended::transient(error.to_string());
        let (generation, newest) =
            (shared.relay.generation().await.map_err(away)?, shared.relay.newest().await.map_err(away)?);
        let Resumed::After(number) = session.resumed(sequence, newest.number) else {
            tracing::info!(shard = ?session.shard, sequence, "client of the gateway cannot resume: no relay entry for its sequence number");
            return Ok(None);
        };
        if generation != session.generation {
            tracing::info!(shard = ?session.shard, "client of the gateway cannot resume: the relay has lost entries");
            return Ok(None);
        }
        let shard_total = shared.bridge.fleet_shards();
        let shards: Vec<ShardSlot> = session.shard.shards_of(shard_total).collect();
        let reached = shared.relay.reached(&shards).await.map_err(away)?;
        let reached =
            shards.into_iter().zip(reached).filter_map(|(shard, reached)| Some((shard, reached?))).collect();
        let mut after = shared.relay.locate(number).await.map_err(away)?;
        let mut client =
            Client::resumed(session, number, after.number, identity.user_id, reached, self.requests.clone());
        let mut replayed = 0;
        // What was there when it resumed is sent before RESUMED.
        let mut feed = Feed::new(shared.relay.clone(), shared.recent.clone(), after, generation);
        while after.number < newest.number {
            let events = match timeout(HANDSHAKE, feed.next()).await {
                Ok(Ok(events)) => events,
                Ok(Err(lost)) => {
                    tracing::info!(shard = ?session.shard, ?lost, "client of the gateway cannot resume: relay entries trimmed or lost");
                    return Ok(None);
                }
                Err(_) => return Err(Ended::transient("the relay does not answer")),
            };
            after = feed.after();
            for event in &events {
                let packets = match client.replay(event, shard_total) {
                    Ok(packets) => packets,
                    Err(why) => {
                        tracing::info!(shard = ?session.shard, why, "client of the gateway cannot resume");
                        return Ok(None);
                    }
                };
                for packet in packets {
                    self.acknowledge().await?;
                    self.send(payload::dispatch(packet.name, packet.sequence, &packet.data)).await?;
                    replayed += 1;
                }
            }
        }
        let last = session.sequence_of(after.number.max(number));
        self.send(payload::dispatch("RESUMED", last, payload::RESUMED)).await?;
        tracing::info!(
            shard = session.shard.number,
            total = session.shard.total,
            replayed,
            "client of the gateway resumed"
        );
        self.client = Some(client);
        Ok(Some(Live { feed, shard_total, cut: None }))
    }
}
