//! The client for Rust programs.

use std::time::Duration;

use altergolden_proto::{
    convert::refusal,
    v1::{
        self, coordinator_client::CoordinatorClient, fleet_client::FleetClient,
        shard_bridge_client::ShardBridgeClient,
    },
};
use fleet_model::{ErrorClass, MAX_SHARDS};
use process::{
    client::GrpcServer,
    credentials::{Credentials, Role},
    settings::SettingsError,
    telemetry::grpc::SendTrace,
};
use tonic::{Code, Status, Streaming, service::interceptor::InterceptedService, transport::Channel};

use crate::content::Data;
use crate::object::{FoundObject, ObjectKind};
use crate::replies::LARGEST_ANSWER;

mod supervision;

pub use supervision::{ConnectedWorker, FleetGlance, FleetGlances};

/// How much longer than the server's own deadline a call is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// How often the connection is checked.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Asks a coordinator or a worker. Clones share the connection.
#[derive(Clone, Debug)]
pub struct BridgeClient {
    bridge: ShardBridgeClient<InterceptedService<Channel, SendTrace>>,
    fleet: FleetClient<InterceptedService<Channel, SendTrace>>,
    coordinator: CoordinatorClient<InterceptedService<Channel, SendTrace>>,
    deadline: Duration,
}

/// A question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is invalid.
    #[error(
        "invalid address {url}: it takes a URL like http://127.0.0.1:50051, or https:// with credentials"
    )]
    Address {
        /// What was given.
        url: String,
    },
    /// The credentials cannot be used.
    #[error(transparent)]
    Credentials(SettingsError),
    /// No server answers there.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer is an error.
    #[error("{}: {}", .0.code(), .0.message())]
    Refused(#[from] Box<Status>),
}

impl ClientError {
    /// Whether a server sent this error; otherwise the connection broke, or the server speaks no gRPC.
    pub fn is_from_server(&self) -> bool {
        // What a server answers has no source.
        matches!(self, Self::Refused(status) if std::error::Error::source(&**status).is_none())
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl BridgeClient {
    /// Connects without credentials. Every call answers within `deadline`.
    ///
    /// # Errors
    /// A wrong URL, or no server there.
    pub async fn connect(url: &str, deadline: Duration) -> Result<Self, ClientError> {
        Self::connect_with(url, deadline, &Credentials::none(), Role::Coordinator).await
    }

    /// Connects to a server that has the role `server`; an `https` URL needs credentials. Every call answers within `deadline`.
    ///
    /// # Errors
    /// A wrong URL, no server there, or certificates that do not match.
    pub async fn connect_with(
        url: &str,
        deadline: Duration,
        credentials: &Credentials,
        server: Role,
    ) -> Result<Self, ClientError> {
        let has_port = url.parse().is_ok_and(|uri: tonic::transport::Uri| uri.port_u16().is_some());
        let invalid = || ClientError::Address { url: url.to_owned() };
        let at = GrpcServer::new(url, deadline, PING_EVERY).ok().filter(|_| has_port).ok_or_else(invalid)?;
        let channel = at.connect(credentials, server).await.map_err(|error| {
            // tonic's own words are "transport error"; the cause below says what happened.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            ClientError::Unreachable { url: url.to_owned(), reason: cause.to_string() }
        })?;
        Ok(Self {
            bridge: ShardBridgeClient::with_interceptor(channel.clone(), SendTrace)
                .max_decoding_message_size(2 * LARGEST_ANSWER),
            fleet: FleetClient::with_interceptor(channel.clone(), SendTrace)
                .max_decoding_message_size(2 * LARGEST_ANSWER),
            coordinator: CoordinatorClient::with_interceptor(channel, SendTrace),
            deadline,
        })
    }

    fn deadline_ms(&self) -> Option<u32> {
        u32::try_from(self.deadline.as_millis()).ok()
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.deadline + GRACE);
        request
    }

    /// Totals over the whole bot, and each shard by itself. With `max_staleness`, figures up to that old will do.
    ///
    /// # Errors
    /// The call failed; a partial answer is no error.
    pub async fn aggregate_stats(
        &mut self,
        max_staleness: Duration,
    ) -> Result<v1::GetAggregateStatsResponse, ClientError> {
        let request = self.request(v1::GetAggregateStatsRequest {
            deadline_ms: self.deadline_ms(),
            max_staleness_ms: u32::try_from(max_staleness.as_millis()).ok(),
            page_size: MAX_SHARDS,
            page_token: String::new(),
        });
        Ok(self.bridge.get_aggregate_stats(request).await?.into_inner())
    }

    /// One guild.
    ///
    /// # Errors
    /// The call failed, or the id is 0.
    pub async fn find_guild(&mut self, guild_id: u64) -> Result<v1::FindGuildResponse, ClientError> {
        let request = self.request(v1::FindGuildRequest { guild_id, deadline_ms: self.deadline_ms() });
        Ok(self.bridge.find_guild(request).await?.into_inner())
    }

    /// An object out of the cache of the worker that runs its guild's shard; only these fields, by Discord's names, or all.
    ///
    /// # Errors
    /// The call failed, with a code that says whether the object is missing or unknown.
    pub async fn object(
        &mut self,
        guild_id: u64,
        kind: ObjectKind,
        fields: Vec<String>,
    ) -> Result<FoundObject, ClientError> {
        use v1::{
            get_channel_response::Channel as ChannelAnswer, get_guild_response::Guild as GuildAnswer,
            get_member_response::Member as MemberAnswer,
        };
        let other_format = || {
            ClientError::from(refusal(
                ErrorClass::Internal,
                "the answer is not in the format that was asked for",
            ))
        };
        let format = v1::ObjectFormat::Json.into();
        let fields = Some(prost_types::FieldMask { paths: fields });
        let deadline_ms = self.deadline_ms();
        let (json, doubt) = match kind {
            ObjectKind::Guild => {
                let request = self.request(v1::GetGuildRequest { guild_id, fields, format, deadline_ms });
                let answer = self.bridge.get_guild(request).await?.into_inner();
                let Some(GuildAnswer::Json(json)) = answer.guild else { return Err(other_format()) };
                (json, answer.doubt)
            }
            ObjectKind::Channel(channel_id) => {
                let request = v1::GetChannelRequest { guild_id, channel_id, fields, format, deadline_ms };
                let request = self.request(request);
                let answer = self.bridge.get_channel(request).await?.into_inner();
                let Some(ChannelAnswer::Json(json)) = answer.channel else { return Err(other_format()) };
                (json, answer.doubt)
            }
            ObjectKind::Member(user_id) => {
                let request = v1::GetMemberRequest { guild_id, user_id, fields, format, deadline_ms };
                let request = self.request(request);
                let answer = self.bridge.get_member(request).await?.into_inner();
                let Some(MemberAnswer::Json(json)) = answer.member else { return Err(other_format()) };
                (json, answer.doubt)
            }
            ObjectKind::Roles => {
                let request = self.request(v1::GetRolesRequest { guild_id, fields, format, deadline_ms });
                let answer = self.bridge.get_roles(request).await?.into_inner();
                (answer.json.ok_or_else(other_format)?, answer.doubt)
            }
        };
        Ok(FoundObject { json, doubt })
    }

    /// Many guilds at once, at most 1,000, in the order asked.
    ///
    /// # Errors
    /// The call failed, or an id is 0.
    pub async fn find_guilds(
        &mut self,
        guild_ids: Vec<u64>,
    ) -> Result<Vec<v1::FindGuildResponse>, ClientError> {
        let request = self.request(v1::FindGuildsRequest { guild_ids, deadline_ms: self.deadline_ms() });
        Ok(self.bridge.find_guilds(request).await?.into_inner().guilds)
    }

    /// Many users at once, at most 1,000, in the order asked; with `all` every shard that knows each.
    ///
    /// # Errors
    /// The call failed, or an id is 0.
    pub async fn find_users(
        &mut self,
        user_ids: Vec<u64>,
        all: bool,
    ) -> Result<Vec<v1::FindUserResponse>, ClientError> {
        let request = self.request(v1::FindUsersRequest { user_ids, all, deadline_ms: self.deadline_ms() });
        Ok(self.bridge.find_users(request).await?.into_inner().users)
    }

    /// One user; with `all` every shard that knows it.
    ///
    /// # Errors
    /// The call failed, or the id is 0.
    pub async fn find_user(&mut self, user_id: u64, all: bool) -> Result<v1::FindUserResponse, ClientError> {
        let request = self.request(v1::FindUserRequest { user_id, all, deadline_ms: self.deadline_ms() });
        Ok(self.bridge.find_user(request).await?.into_inner())
    }

    /// A message to every worker.
    ///
    /// # Errors
    /// The call failed; UNAVAILABLE means that no worker got it.
    pub async fn broadcast(
        &mut self,
        kind: &str,
        data: impl Into<Data>,
    ) -> Result<v1::BroadcastResponse, ClientError> {
        let Data { value, json } = data.into();
        let request = self.request(v1::BroadcastRequest {
            r#type: kind.to_owned(),
            data: Some(value),
            data_json: json,
            deadline_ms: self.deadline_ms(),
        });
        Ok(self.bridge.broadcast(request).await?.into_inner())
    }

    /// A message to one shard. Data is up to 256 KiB as JSON text.
    ///
    /// # Errors
    /// The call failed; NOT_FOUND means that the bot has no such shard, UNAVAILABLE that no worker runs it, or that one can't be
    /// reached. The words say so where it may have arrived all the same.
    pub async fn send_to_shard(
        &mut self,
        shard_id: u32,
        kind: &str,
        data: impl Into<Data>,
    ) -> Result<v1::SendToShardResponse, ClientError> {
        let Data { value, json } = data.into();
        let request = self.request(v1::SendToShardRequest {
            shard_id,
            r#type: kind.to_owned(),
            data: Some(value),
            data_json: json,
            deadline_ms: self.deadline_ms(),
        });
        Ok(self.bridge.send_to_shard(request).await?.into_inner())
    }

    /// A message to the shard manager; returns its id. `shard_id`: the shard for which the sender speaks, if it does for one.
    ///
    /// # Errors
    /// The call failed; UNAVAILABLE means that no worker got it.
    pub async fn send_to_manager(
        &mut self,
        shard_id: Option<u32>,
        kind: &str,
        data: impl Into<Data>,
    ) -> Result<String, ClientError> {
        let Data { value, json } = data.into();
        let request = self.request(v1::SendToManagerRequest {
            r#type: kind.to_owned(),
            data: Some(value),
            data_json: json,
            shard_id,
            deadline_ms: self.deadline_ms(),
        });
        Ok(self.bridge.send_to_manager(request).await?.into_inner().message_id)
    }

    /// A question to shards, all when there are none, with each one's own reply. Up to 32 MiB in all.
    ///
    /// # Errors
    /// The call failed; NOT_FOUND means that the bot has no such shard. A shard without a reply is no error.
    pub async fn request_shards(
        &mut self,
        shard_ids: Vec<u32>,
        kind: &str,
        data: impl Into<Data>,
    ) -> Result<v1::RequestResponse, ClientError> {
        let Data { value, json } = data.into();
        let request = self.request(v1::RequestRequest {
            r#type: kind.to_owned(),
            data: Some(value),
            data_json: json,
            shard_ids,
            deadline_ms: self.deadline_ms(),
            max_bytes: Some(LARGEST_ANSWER as u32),
        });
        Ok(self.bridge.request(request).await?.into_inner())
    }

    /// The messages from now on, as the process that is asked gets them; all types when `types` is empty.
    ///
    /// # Errors
    /// The call failed.
    pub async fn subscribe(
        &mut self,
        types: Vec<String>,
    ) -> Result<Streaming<v1::SubscribeResponse>, ClientError> {
        self.subscribe_to(types, &[]).await
    }

    /// The messages to these recipients from now on; to all of them when there are none.
    ///
    /// # Errors
    /// The call failed.
    pub async fn subscribe_to(
        &mut self,
        types: Vec<String>,
        recipients: &[v1::MessageRecipient],
    ) -> Result<Streaming<v1::SubscribeResponse>, ClientError> {
        let recipients = recipients.iter().map(|&recipient| recipient.into()).collect();
        Ok(self.bridge.subscribe(v1::SubscribeRequest { types, recipients }).await?.into_inner())
    }

    /// Every shard, or the shards of one worker.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn shards(&mut self, worker: &str) -> Result<Vec<v1::Shard>, ClientError> {
        let request = self.request(v1::ListShardsRequest {
            worker_id: worker.to_owned(),
            page_size: MAX_SHARDS,
            ..v1::ListShardsRequest::default()
        });
        Ok(self.fleet.list_shards(request).await?.into_inner().shards)
    }

    /// Every worker.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn workers(&mut self) -> Result<Vec<v1::Worker>, ClientError> {
        let request = self.request(v1::ListWorkersRequest::default());
        Ok(self.fleet.list_workers(request).await?.into_inner().workers)
    }

    /// A sample of the fleet's events from now on. The call itself must be answered within the deadline, the stream has none.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn tap(&mut self, request: v1::TapRequest) -> Result<Streaming<v1::TapItem>, ClientError> {
        let opened = tokio::time::timeout(self.deadline + GRACE, self.fleet.tap(request)).await;
        let late = |_| Err(refusal(ErrorClass::TooLate, "the coordinator does not answer"));
        Ok(opened.unwrap_or_else(late)?.into_inner())
    }

    /// Events that were set aside, without their payloads.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn set_asides(&mut self) -> Result<Vec<v1::SetAside>, ClientError> {
        let request = self.request(v1::ListSetAsideRequest {});
        Ok(self.fleet.list_set_aside(request).await?.into_inner().events)
    }

    /// One event that was set aside, with its payload.
    ///
    /// # Errors
    /// The call failed; NOT_FOUND means that no such event is set aside.
    pub async fn set_aside(&mut self, id: v1::SetAsideId) -> Result<v1::SetAside, ClientError> {
        let request = self.request(id);
        Ok(self.fleet.get_set_aside(request).await?.into_inner())
    }

    /// Forgets an event that was set aside.
    ///
    /// # Errors
    /// The call failed; NOT_FOUND means that no such event is set aside.
    pub async fn drop_set_aside(&mut self, id: v1::SetAsideId) -> Result<(), ClientError> {
        let request = self.request(id);
        self.fleet.drop_set_aside(request).await?;
        Ok(())
    }

    /// Gives an event that was set aside to its handler again; the worker that has it.
    ///
    /// # Errors
    /// The call failed; NOT_FOUND means that no such event is set aside, FAILED_PRECONDITION that no worker runs its shard.
    pub async fn replay_set_aside(&mut self, id: v1::SetAsideId) -> Result<String, ClientError> {
        let request = self.request(id);
        Ok(self.fleet.replay_set_aside(request).await?.into_inner().worker_id)
    }

    /// Starts a plan, or only says what it would do.
    ///
    /// # Errors
    /// The call failed: the plan can't be, and why; only a coordinator serves it.
    pub async fn start_plan(
        &mut self,
        plan: v1::start_plan_request::Plan,
        dry_run: bool,
    ) -> Result<v1::Plan, ClientError> {
        let request = self.request(v1::StartPlanRequest { plan: Some(plan), dry_run });
        Ok(self.fleet.start_plan(request).await?.into_inner())
    }

    /// Gives the plan up that is under way.
    ///
    /// # Errors
    /// The call failed, or none is under way; only a coordinator serves it.
    pub async fn abort_plan(&mut self) -> Result<v1::Plan, ClientError> {
        let request = self.request(v1::AbortPlanRequest {});
        Ok(self.fleet.abort_plan(request).await?.into_inner())
    }

    /// One page of the fleet's history, newest entries first. The deadline of the request is set here.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn history(
        &mut self,
        question: v1::ListHistoryRequest,
    ) -> Result<v1::ListHistoryResponse, ClientError> {
        let deadline_ms = self.deadline_ms();
        let request = self.request(v1::ListHistoryRequest { deadline_ms, ..question });
        Ok(self.fleet.list_history(request).await?.into_inner())
    }

    /// Returns the fleet as it is now.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn fleet_status(&mut self) -> Result<v1::FleetStatus, ClientError> {
        let request = self.request(v1::WatchRequest {});
        Ok(self.fleet.watch(request).await?.into_inner().message().await?.unwrap_or_default())
    }

    /// Returns the fleet's current problems. A worker knows none.
    ///
    /// # Errors
    /// The call failed.
    pub async fn problems(&mut self) -> Result<Vec<v1::Problem>, ClientError> {
        let request = self.request(v1::WatchRequest {});
        match self.fleet.watch(request).await {
            Ok(statuses) => Ok(statuses.into_inner().message().await?.unwrap_or_default().problem_details),
            Err(status) if status.code() == Code::Unimplemented => Ok(Vec::new()),
            Err(status) => Err(status.into()),
        }
    }

    /// The fleet now, and whenever it changes.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn watch(&mut self) -> Result<Streaming<v1::FleetStatus>, ClientError> {
        Ok(self.fleet.watch(v1::WatchRequest {}).await?.into_inner())
    }
}
