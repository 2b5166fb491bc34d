//! Sends a shard's guilds to a worker that serves a client of the gateway.

use altergolden_proto::{
    convert::refusal,
    v1::{self, shard_snapshot_part::Part},
};
use fleet_model::{ErrorClass, ShardSlot};
use futures_util::{StreamExt as _, stream::BoxStream};
use shard_bridge::{LocalShards as _, MembersQuery, SnapshotPart, SnapshotQuery};
use tonic::Status;

use crate::shards::RunningShards;

/// The parts of a snapshot.
pub(crate) type SnapshotStream = BoxStream<'static, Result<v1::ShardSnapshotPart, Status>>;

pub(super) fn begin(
    shards: &RunningShards,
    request: v1::SnapshotShardRequest,
) -> Result<SnapshotStream, Status> {
    if request.client_shard >= request.client_total {
        return Err(refusal(ErrorClass::InvalidInput, "client_shard is not less than client_total"));
    }
    let query = SnapshotQuery {
        shard: ShardSlot(request.shard_id),
        client_shard: (request.client_shard, request.client_total),
        intents: request.intents,
        large_threshold: u8::try_from(request.large_threshold).unwrap_or(u8::MAX),
        own_user: request.own_user_id,
        only: request.only_some.then_some(request.guild_ids),
    };
    match shards.snapshot(&query) {
        Ok(Some(parts)) => Ok(parts.map(|part| Ok(message(part))).boxed()),
        Ok(None) => {
            Err(refusal(ErrorClass::NotFound, format!("shard {} does not run here", request.shard_id)))
        }
        Err(error) => Err(refusal(error.class(), error.to_string())),
    }
}

/// Chunks of members.
pub(crate) type MembersStream = BoxStream<'static, Result<v1::CachedMembersChunk, Status>>;

pub(super) fn members(
    shards: &RunningShards,
    request: v1::CachedMembersRequest,
) -> Result<MembersStream, Status> {
    let v1::CachedMembersRequest { guild_id, query, limit, user_ids, presences } = request;
    let query = MembersQuery { guild: guild_id, query, limit, users: user_ids, presences };
    match shards.cached_members(&query) {
        Some(chunks) => Ok(chunks.map(|data| Ok(v1::CachedMembersChunk { data })).boxed()),
        None => {
            Err(refusal(ErrorClass::NotFound, format!("the shard of guild {guild_id} does not run here")))
        }
    }
}

fn message(part: SnapshotPart) -> v1::ShardSnapshotPart {
    let part = match part {
        SnapshotPart::Head { read, present, absent } => {
            Part::Head(v1::SnapshotHead { session: read.session, sequence: read.sequence, present, absent })
        }
        SnapshotPart::Guild(guild) => Part::Guild(v1::SnapshotGuild {
            guild_id: guild.id,
            session: guild.stamp.session,
            stamp: guild.stamp.sequence,
            members_stamp: guild.members_stamp.sequence,
            is_absent: guild.data.is_none(),
            data: guild.data.unwrap_or_default(),
        }),
        SnapshotPart::End { read } => {
            Part::End(v1::SnapshotEnd { session: read.session, sequence: read.sequence })
        }
    };
    v1::ShardSnapshotPart { part: Some(part) }
}
