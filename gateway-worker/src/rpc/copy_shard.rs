//! Sends a copy of a shard to the worker that takes it over.

use altergolden_proto::{
    convert::refusal,
    v1::{self, shard_copy::Part},
};
use checkpoint::CHUNK;
use fleet_model::ErrorClass;
use tokio::{runtime::Handle, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    handoff::outgoing::{Copying, Encoded, LastPart},
    shard_state::ShardState,
    shards::RunningShard,
    threads::TimeSlice,
};

/// Bound of parts in the channel; about as many chunks are in memory at once.
const PARTS: usize = 4;

/// The parts of a copy.
pub(crate) type CopyStream = ReceiverStream<Result<v1::ShardCopy, Status>>;

/// Starts to send a shard. Records are made of its cache on the threads of shards.
pub(super) fn send(shard: &RunningShard, copying: Copying, runtime: &Handle) -> CopyStream {
    let (parts, stream) = mpsc::channel(PARTS);
    let (shard, slot) = (shard.state().clone(), shard.copy_slot().clone());
    // Ends with the shard, or when the target is gone.
    runtime.spawn(async move {
        let target = parts.clone();
        let failed = tokio::select! {
            sent = send_all(&shard, copying, &parts) => sent.err(),
            () = target.closed() => None,
        };
        // The cache stops noting changes for a copy whose last part nothing will fetch.
        slot.abandon(&shard);
        if let Some(status) = failed {
            let _ = parts.send(Err(status)).await;
        }
    });
    ReceiverStream::new(stream)
}

async fn send_all(
    shard: &ShardState,
    copying: Copying,
    parts: &mpsc::Sender<Result<v1::ShardCopy, Status>>,
) -> Result<(), Status> {
    let Copying { session, format, guilds, last } = copying;
    let mut slice = TimeSlice::begin();
    let mut records = Encoded::default();
    for guild in guilds {
        fail::fail_point!("handoff_copy_guild");
        let all = shard.cache().all_records(session, guild, format);
        records.add(all.map_err(|error| refusal(ErrorClass::Internal, error.to_string()))?);
        if records.bytes >= CHUNK {
            send_records(std::mem::take(&mut records), parts).await?;
        }
        slice.yield_if_over().await;
    }
    send_records(records, parts).await?;
    send_part(Part::SoFar(v1::CopiedSoFar {}), parts).await?;
    let ended = |_| {
        refusal(
            ErrorClass::Superseded,
            "the shard ended, or began another session, before it was handed over",
        )
    };
    let LastPart { records, head } = last.await.map_err(ended)?;
    fail::fail_point!("handoff_last_word");
    send_records(records, parts).await?;
    send_part(Part::HandedOver(v1::HandedOver { head: head.to_vec() }), parts).await
}

/// Sends records in chunks, removals first.
async fn send_records(
    records: Encoded,
    parts: &mpsc::Sender<Result<v1::ShardCopy, Status>>,
) -> Result<(), Status> {
    let mut chunk =
        v1::CopiedRecords { gone: records.gone.iter().map(ToString::to_string).collect(), set: Vec::new() };
    let mut bytes = 0;
    for (key, record) in records.set {
        bytes += record.len();
        chunk.set.push(v1::CopiedRecord { key: key.to_string(), record: record.to_vec() });
        if bytes >= CHUNK {
            bytes = 0;
            send_part(Part::Records(std::mem::take(&mut chunk)), parts).await?;
        }
    }
    if chunk != v1::CopiedRecords::default() {
        send_part(Part::Records(chunk), parts).await?;
    }
    Ok(())
}

async fn send_part(part: Part, parts: &mpsc::Sender<Result<v1::ShardCopy, Status>>) -> Result<(), Status> {
    let gone = |_| refusal(ErrorClass::Unavailable, "the target of the copy is gone");
    parts.send(Ok(v1::ShardCopy { part: Some(part) })).await.map_err(gone)
}
