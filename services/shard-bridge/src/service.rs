//! The gRPC service: checks what is asked, sets the deadline, answers.

use std::{sync::Arc, time::Duration};

use altergolden_proto::{
    convert::{Bounded as _, page},
    v1::{self, shard_bridge_server::ShardBridge},
};
use tokio::{sync::Semaphore, time::Instant};
use tonic::{Request, Response, Status, service::Routes};

use crate::{answer::BridgeError, bridge::Bridge, deadline::Deadlines};

mod cached;
mod commands;
mod events;
mod messages;

/// The most ids that one call may ask about.
const MOST_IDS: usize = 1_000;

/// Serves a [`Bridge`].
#[derive(Clone)]
pub(crate) struct BridgeService {
    bridge: Bridge,
    deadlines: Deadlines,
    /// One for each stream of events.
    event_streams: Arc<Semaphore>,
}

impl Bridge {
    /// Adds the gRPC service over this bridge to `routes`.
    ///
    /// It is added here so that the server of all its calls is compiled once, not in each program that serves it.
    pub fn add_to(self, routes: Routes, deadlines: Deadlines) -> Routes {
        routes.add_service(v1::shard_bridge_server::ShardBridgeServer::new(BridgeService {
            bridge: self,
            deadlines,
            event_streams: Arc::new(Semaphore::new(events::STREAMS)),
        }))
    }
}

fn check_ids(name: &str, ids: &[u64]) -> Result<(), BridgeError> {
    if ids.len() > MOST_IDS {
        let message = format!("{} {name}s are over the limit of {MOST_IDS}", ids.len());
        return Err(BridgeError::invalid(message));
    }
    if ids.contains(&0) {
        return Err(BridgeError::invalid(format!("{name} is missing or 0: no Discord id is")));
    }
    Ok(())
}

#[tonic::async_trait]
impl ShardBridge for BridgeService {
    async fn get_aggregate_stats(
        &self,
        request: Request<v1::GetAggregateStatsRequest>,
    ) -> Result<Response<v1::GetAggregateStatsResponse>, Status> {
        let since = Instant::now();
        request.get_ref().check_bounds()?;
        let until = self.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
        let staleness = Duration::from_millis(request.get_ref().max_staleness_ms.unwrap_or(0).into());
        let mut stats: v1::GetAggregateStatsResponse = self.bridge.stats(until, staleness).await.into();
        let v1::GetAggregateStatsRequest { page_size, page_token, .. } = request.into_inner();
        (stats.shards, stats.next_page_token) =
            page(stats.shards, page_size, &page_token, |shard| shard.shard_id)?;
        self.bridge.metrics().observe("GetAggregateStats", since);
        Ok(Response::new(stats))
    }

    async fn find_guild(
        &self,
        request: Request<v1::FindGuildRequest>,
    ) -> Result<Response<v1::FindGuildResponse>, Status> {
        let since = Instant::now();
        let until = self.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
        let guild_id = request.get_ref().guild_id;
        check_ids("guild_id", &[guild_id])?;
        let answer = self.bridge.guilds(&[guild_id], until).await.pop().unwrap_or_default();
        self.bridge.metrics().observe("FindGuild", since);
        Ok(Response::new(answer.into()))
    }

    async fn find_guilds(
        &self,
        request: Request<v1::FindGuildsRequest>,
    ) -> Result<Response<v1::FindGuildsResponse>, Status> {
        let since = Instant::now();
        let until = self.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
        let ids = &request.get_ref().guild_ids;
        check_ids("guild_id", ids)?;
        let guilds = self.bridge.guilds(ids, until).await;
        self.bridge.metrics().observe("FindGuilds", since);
        Ok(Response::new(v1::FindGuildsResponse { guilds: guilds.into_iter().map(Into::into).collect() }))
    }

    async fn find_user(
        &self,
        request: Request<v1::FindUserRequest>,
    ) -> Result<Response<v1::FindUserResponse>, Status> {
        let since = Instant::now();
        let until = self.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
        let v1::FindUserRequest { user_id, all, .. } = *request.get_ref();
        check_ids("user_id", &[user_id])?;
        let answer = self.bridge.users(&[user_id], all, until).await.pop().unwrap_or_default();
        self.bridge.metrics().observe("FindUser", since);
        Ok(Response::new(answer.into()))
    }

    async fn find_users(
        &self,
        request: Request<v1::FindUsersRequest>,
    ) -> Result<Response<v1::FindUsersResponse>, Status> {
        let since = Instant::now();
        let until = self.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
        let ids = &request.get_ref().user_ids;
        check_ids("user_id", ids)?;
        let users = self.bridge.users(ids, request.get_ref().all, until).await;
        self.bridge.metrics().observe("FindUsers", since);
        Ok(Response::new(v1::FindUsersResponse { users: users.into_iter().map(Into::into).collect() }))
    }

    async fn broadcast(
        &self,
        request: Request<v1::BroadcastRequest>,
    ) -> Result<Response<v1::BroadcastResponse>, Status> {
        let since = Instant::now();
        let until = self.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
        let v1::BroadcastRequest { r#type, data, data_json, .. } = request.into_inner();
        let body = crate::content::received(data_json, data);
        let answer = self.bridge.broadcast_text(r#type, body, until).await?;
        self.bridge.metrics().observe("Broadcast", since);
        Ok(Response::new(answer.into()))
    }

    type SubscribeStream = messages::MessageStream;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        messages::subscribe(self, request).map(Response::new)
    }

    async fn send_to_shard(
        &self,
        request: Request<v1::SendToShardRequest>,
    ) -> Result<Response<v1::SendToShardResponse>, Status> {
        messages::send_to_shard(self, request).await
    }

    async fn send_to_manager(
        &self,
        request: Request<v1::SendToManagerRequest>,
    ) -> Result<Response<v1::SendToManagerResponse>, Status> {
        messages::send_to_manager(self, request).await
    }

    async fn request(
        &self,
        request: Request<v1::RequestRequest>,
    ) -> Result<Response<v1::RequestResponse>, Status> {
        messages::request(self, request).await
    }

    type EventsStream = events::EventStream;

    async fn events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        events::events(self, request).await
    }

    async fn update_presence(
        &self,
        request: Request<v1::UpdatePresenceRequest>,
    ) -> Result<Response<v1::UpdatePresenceResponse>, Status> {
        commands::update_presence(self, request).await
    }

    async fn update_voice_state(
        &self,
        request: Request<v1::UpdateVoiceStateRequest>,
    ) -> Result<Response<v1::UpdateVoiceStateResponse>, Status> {
        commands::update_voice_state(self, request).await
    }

    async fn request_guild_members(
        &self,
        request: Request<v1::RequestGuildMembersRequest>,
    ) -> Result<Response<v1::RequestGuildMembersResponse>, Status> {
        commands::request_guild_members(self, request).await
    }

    async fn get_guild(
        &self,
        request: Request<v1::GetGuildRequest>,
    ) -> Result<Response<v1::GetGuildResponse>, Status> {
        cached::guild(self, request).await
    }

    async fn get_channel(
        &self,
        request: Request<v1::GetChannelRequest>,
    ) -> Result<Response<v1::GetChannelResponse>, Status> {
        cached::channel(self, request).await
    }

    async fn get_member(
        &self,
        request: Request<v1::GetMemberRequest>,
    ) -> Result<Response<v1::GetMemberResponse>, Status> {
        cached::member(self, request).await
    }

    async fn get_roles(
        &self,
        request: Request<v1::GetRolesRequest>,
    ) -> Result<Response<v1::GetRolesResponse>, Status> {
        cached::roles(self, request).await
    }
}
