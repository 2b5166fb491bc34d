//! The gRPC calls to one worker: domain types in and out.

use std::time::Duration;

use altergolden_proto::v1::{self, DeliveryOutcome, gateway_worker_client::GatewayWorkerClient};
use fleet_model::{GuildRecord, Position, ShardReport, ShardSlot, UserLookup};
use futures_util::{StreamExt as _, TryStreamExt as _};
use process::telemetry::grpc::SendTrace;
use tonic::{Code, Request, Status, service::interceptor::InterceptedService, transport::Channel};

use crate::{
    answer::BridgeError,
    command::{GatewayCommand, MembersQuery},
    local::{Delivered, ShardAnswer, ShardMessage, ShardRequest},
    object::{FoundObject, ObjectKind, ObjectQuery},
    replies::LARGEST_ANSWER,
    snapshot::{GuildSnapshot, MemberChunks, SnapshotPart, SnapshotParts, SnapshotQuery},
};

/// A client that sends the current trace along. Each call may take `left`.
pub(crate) struct WorkerClient(GatewayWorkerClient<InterceptedService<Channel, SendTrace>>);

impl WorkerClient {
    /// Creates a client that accepts answers of up to twice [`LARGEST_ANSWER`], because the message around the replies has bytes too.
    pub(crate) fn new(channel: Channel) -> Self {
        let client = GatewayWorkerClient::with_interceptor(channel, SendTrace);
        Self(client.max_decoding_message_size(2 * LARGEST_ANSWER))
    }

    /// Returns the worker's shards.
    pub(crate) async fn shards(mut self, left: Duration) -> Result<Vec<ShardReport>, Status> {
        let shards = self.0.get_shards(within(left, v1::GetShardsRequest {})).await?.into_inner().shards;
        shards.into_iter().map(|shard| Ok(ShardReport::try_from(shard)?)).collect()
    }

    /// Looks up guilds.
    pub(crate) async fn guilds(
        mut self,
        guild_ids: Vec<u64>,
        left: Duration,
    ) -> Result<Vec<GuildRecord>, Status> {
        let request = within(left, v1::LookUpGuildsRequest { guild_ids });
        let guilds = self.0.look_up_guilds(request).await?.into_inner().guilds;
        Ok(guilds.into_iter().map(GuildRecord::from).collect())
    }

    /// Looks up users.
    pub(crate) async fn users(mut self, user_ids: Vec<u64>, left: Duration) -> Result<UserLookup, Status> {
        let request = within(left, v1::LookUpUsersRequest { user_ids });
        Ok(self.0.look_up_users(request).await?.into_inner().into())
    }

    /// Sends a command on a shard's connection, which may wait for its turn. `None`: the shard does not run there.
    pub(crate) async fn send_command(
        mut self,
        shard: ShardSlot,
        command: &GatewayCommand,
        wait: Duration,
        left: Duration,
    ) -> Result<Option<()>, Status> {
        let request = v1::SendCommandRequest {
            shard_id: shard.0,
            payload: command.text().to_owned(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        let answer = self.0.send_command(within(left, request)).await?.into_inner();
        Ok((!answer.not_mine).then_some(()))
    }

    /// Reads an object of a cache. `None`: its shard does not run there.
    pub(crate) async fn object(
        mut self,
        query: &ObjectQuery,
        left: Duration,
    ) -> Result<Option<FoundObject>, Status> {
        use v1::get_object_request::Object;
        let object = match query.kind {
            ObjectKind::Guild => Object::Guild(v1::WholeGuild {}),
            ObjectKind::Channel(id) => Object::ChannelId(id),
            ObjectKind::Member(id) => Object::UserId(id),
            ObjectKind::Roles => Object::Roles(v1::AllRoles {}),
        };
        let fields = query.fields.clone();
        let request = v1::GetObjectRequest { guild_id: query.guild, object: Some(object), fields };
        let v1::GetObjectResponse { not_mine, json, doubt } =
            self.0.get_object(within(left, request)).await?.into_inner();
        Ok((!not_mine).then_some(FoundObject { json, doubt }))
    }

    /// Reads a shard's guilds. `None`: the shard does not run there.
    pub(crate) async fn snapshot(mut self, query: &SnapshotQuery) -> Result<Option<SnapshotParts>, Status> {
        let request = v1::SnapshotShardRequest {
            shard_id: query.shard.0,
            client_shard: query.client_shard.0,
            client_total: query.client_shard.1,
            intents: query.intents,
            large_threshold: query.large_threshold.into(),
            own_user_id: query.own_user,
            only_some: query.only.is_some(),
            guild_ids: query.only.clone().unwrap_or_default(),
        };
        let parts = match self.0.snapshot_shard(Request::new(request)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status),
        };
        let parts = parts.map_err(BridgeError::from_peer);
        // Parts of newer versions are passed over.
        Ok(Some(parts.try_filter_map(async |part| Ok(snapshot_part(part))).boxed()))
    }

    /// Reads members of a guild. `None`: its shard does not run there. A worker of an earlier version has none cached.
    pub(crate) async fn cached_members(
        mut self,
        query: &MembersQuery,
    ) -> Result<Option<MemberChunks>, Status> {
        let request = v1::CachedMembersRequest {
            guild_id: query.guild,
            query: query.query.clone(),
            limit: query.limit,
            user_ids: query.users.clone(),
            presences: query.presences,
        };
        let chunks = match self.0.cached_members(Request::new(request)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status),
        };
        Ok(Some(chunks.map_ok(|chunk| chunk.data).map_err(BridgeError::from_peer).boxed()))
    }

    /// Delivers a message to its shard. `None`: the worker gives an outcome that this version does not know.
    pub(crate) async fn deliver(
        mut self,
        message: &ShardMessage,
        left: Duration,
    ) -> Result<Option<Delivered>, Status> {
        let request = v1::DeliverMessageRequest {
            shard_id: message.shard.0,
            r#type: message.kind.clone(),
            json: message.json.clone(),
            sender: message.sender.clone(),
        };
        let answer = self.0.deliver_message(within(left, request)).await?.into_inner();
        Ok(match answer.outcome() {
            DeliveryOutcome::Delivered => Some(Delivered::Yes),
            DeliveryOutcome::NobodyListens => Some(Delivered::NoListener),
            DeliveryOutcome::NotMine => Some(Delivered::NotMine),
            DeliveryOutcome::NoLease => Some(Delivered::NoLease),
            DeliveryOutcome::Busy => Some(Delivered::Busy),
            DeliveryOutcome::TooLate => Some(Delivered::TooLate),
            DeliveryOutcome::Unspecified => None,
        })
    }

    /// Asks the bot code of these shards. All replies together have at most `max_bytes` bytes.
    pub(crate) async fn ask(
        mut self,
        shards: &[ShardSlot],
        request: &ShardRequest,
        max_bytes: usize,
        left: Duration,
    ) -> Result<Vec<ShardAnswer>, Status> {
        let request = v1::AskShardsRequest {
            shard_ids: shards.iter().map(|shard| shard.0).collect(),
            r#type: request.kind.clone(),
            json: request.json.clone(),
            sender: request.sender.clone(),
            max_bytes: max_bytes as u64,
        };
        let answers = self.0.ask_shards(within(left, request)).await?.into_inner().answers;
        Ok(answers.into_iter().map(Into::into).collect())
    }
}

fn within<T>(left: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}

fn snapshot_part(part: v1::ShardSnapshotPart) -> Option<SnapshotPart> {
    use v1::shard_snapshot_part::Part;
    Some(match part.part? {
        Part::Head(v1::SnapshotHead { session, sequence, present, absent }) => {
            SnapshotPart::Head { read: Position { session, sequence }, present, absent }
        }
        Part::Guild(guild) => SnapshotPart::Guild(GuildSnapshot {
            id: guild.guild_id,
            stamp: Position { session: guild.session, sequence: guild.stamp },
            members_stamp: Position { session: guild.session, sequence: guild.members_stamp },
            data: (!guild.is_absent).then_some(guild.data),
        }),
        Part::End(v1::SnapshotEnd { session, sequence }) => {
            SnapshotPart::End { read: Position { session, sequence } }
        }
    })
}
