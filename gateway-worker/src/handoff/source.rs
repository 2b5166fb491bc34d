//! The gRPC call that copies a shard from the worker that runs it.

use std::time::Duration;

use altergolden_proto::v1::{self, gateway_worker_client::GatewayWorkerClient, shard_copy::Part};
use fleet_model::{Arriving, ShardKey, WorkerId};
use process::{
    client::{GrpcServer, InvalidServer},
    credentials::{Credentials, Role},
    telemetry::trace_context,
};
use tonic::{Code, Request, Status, Streaming};

/// How long a connection to the source may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// How often the connection is checked.
const PING_EVERY: Duration = Duration::from_secs(2);
/// The largest message that a source may send: a record is of one guild, and records are sent in chunks.
const LARGEST: usize = 64 * 1024 * 1024;

/// One part of a copy.
pub(super) enum CopyPart {
    /// Records, by key.
    Records {
        /// Keys of records that are gone.
        gone: Vec<String>,
        set: Vec<(String, Vec<u8>)>,
    },
    /// Everything so far has been sent.
    SoFar,
    /// The source has released the shard; its last head.
    HandedOver(Vec<u8>),
}

/// The parts of a copy.
pub(super) struct CopyParts(Streaming<v1::ShardCopy>);

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("{}", .0.message())]
    Forbidden(Status),
    #[error("invalid address: {0}")]
    Address(#[from] InvalidServer),
    #[error("{0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Refused(#[from] Status),
}

/// Asks the worker that runs a shard for a copy.
pub(super) async fn copy(
    shard: ShardKey,
    from: &Arriving,
    to: &WorkerId,
    credentials: &Credentials,
) -> Result<CopyParts, SourceError> {
    let server = GrpcServer::new(&from.url, CONNECT, PING_EVERY)?;
    let channel = server.connect(credentials, Role::Worker).await?;
    let mut source = GatewayWorkerClient::new(channel).max_decoding_message_size(LARGEST);
    let mut request = Request::new(v1::CopyShardRequest {
        shard_id: shard.slot().0,
        epoch: from.epoch.0,
        worker_id: to.to_string(),
        ticket: from.ticket.map(|ticket| ticket.0.to_vec()).unwrap_or_default(),
    });
    trace_context::inject(request.metadata_mut());
    let parts = source.copy_shard(request).await.map_err(|status| match status.code() {
        Code::PermissionDenied => SourceError::Forbidden(status),
        _ => SourceError::Refused(status),
    })?;
    Ok(CopyParts(parts.into_inner()))
}

impl CopyParts {
    /// Waits for the next part. `None` when the source has ended the copy, or sends what this version does not know.
    pub(super) async fn next(&mut self) -> Result<Option<CopyPart>, SourceError> {
        let part = self.0.message().await?.and_then(|message| message.part);
        Ok(part.map(|part| match part {
            Part::Records(v1::CopiedRecords { gone, set }) => {
                let set = set.into_iter().map(|v1::CopiedRecord { key, record }| (key, record));
                CopyPart::Records { gone, set: set.collect() }
            }
            Part::SoFar(_) => CopyPart::SoFar,
            Part::HandedOver(last) => CopyPart::HandedOver(last.head),
        }))
    }
}
