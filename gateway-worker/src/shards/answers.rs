//! Answers from the shards of this worker, to its own bot code and to the rest of the fleet.

use std::sync::Arc;

use fleet_model::{
    GuildRecord, OwnGuild, ShardReport, ShardSlot, ShardStatus, UserLookup, UserRecord, WorkerId,
};
use futures_util::stream::BoxStream;
use guild_cache::Doubt;
use shard_bridge::{
    BridgeError, CommandFuture, Delivered, FoundObject, GatewayCommand, LocalShards, MembersQuery,
    ObjectQuery, ObjectRefused, ShardAnswer, ShardMessage, ShardRequest, SnapshotPart, SnapshotQuery,
};
use tokio::time::Instant;

use super::{RunningShard, RunningShards};

/// The shard of a guild, among these.
pub(super) fn of_guild(shards: &[Arc<RunningShard>], guild_id: u64) -> Option<&Arc<RunningShard>> {
    shards.iter().find(|shard| shard.key().has_guild(guild_id))
}

#[async_trait::async_trait]
impl LocalShards for RunningShards {
    fn worker(&self) -> WorkerId {
        self.worker.clone()
    }

    fn shards(&self) -> Vec<ShardReport> {
        self.askable().iter().map(|shard| shard.report()).collect()
    }

    fn guilds(&self, guild_ids: &[u64]) -> Vec<GuildRecord> {
        let shards = self.askable();
        let record = |&guild_id: &u64| GuildRecord {
            guild_id,
            mine: of_guild(&shards, guild_id).map(|shard| own_guild(shard, guild_id)),
        };
        guild_ids.iter().map(record).collect()
    }

    fn users(&self, user_ids: &[u64]) -> UserLookup {
        let shards = self.askable();
        let incomplete = || shards.iter().find_map(|shard| doubt(shard));
        // A shard may come to know a user, and be in doubt no more, while others are asked.
        let incomplete_before = incomplete();
        let record = |&user_id: &u64| {
            let mut record = UserRecord { user_id, shards: Vec::new(), username: String::new() };
            for shard in &shards {
                if let Some(username) = shard.cache().username(user_id) {
                    record.shards.push(shard.key().slot());
                    record.username = username;
                }
            }
            record
        };
        let users: Vec<UserRecord> = user_ids.iter().map(record).collect();
        UserLookup {
            users,
            incomplete: incomplete_before.or_else(incomplete),
            shards: shards.iter().map(|shard| shard.key().slot()).collect(),
        }
    }

    fn send_command(&self, shard: ShardSlot, command: GatewayCommand, until: Instant) -> CommandFuture<'_> {
        Box::pin(self.send(shard, command, until))
    }

    fn object(&self, query: &ObjectQuery) -> Result<FoundObject, ObjectRefused> {
        self.find_object(query)
    }

    fn snapshot(
        &self,
        query: &SnapshotQuery,
    ) -> Result<Option<BoxStream<'static, SnapshotPart>>, BridgeError> {
        self.begin_snapshot(query)
    }

    fn cached_members(&self, query: &MembersQuery) -> Option<BoxStream<'static, String>> {
        self.members_for_clients(query)
    }

    async fn deliver(&self, message: Arc<ShardMessage>, until: Instant) -> Delivered {
        self.deliver_message(message, until).await
    }

    async fn ask(
        &self,
        shards: Vec<ShardSlot>,
        request: Arc<ShardRequest>,
        max_bytes: usize,
    ) -> Vec<ShardAnswer> {
        self.ask_shards(shards, request, max_bytes).await
    }
}

fn own_guild(shard: &RunningShard, guild_id: u64) -> OwnGuild {
    let (guild, doubt) = shard.cache().guild_and_doubt(guild_id, Doubt::GUILD).unzip();
    let doubt = doubt.flatten();
    let is_sure = match &guild {
        Some(_) => doubt.is_none(),
        None => is_whole(shard.status()) && shard.cache().doubt().is_none(),
    };
    OwnGuild {
        shard: shard.key().slot(),
        epoch: shard.epoch(),
        found: guild.is_some(),
        complete: is_sure,
        doubt,
        member_count: guild.as_ref().and_then(|guild| guild.members),
        unavailable: guild.as_ref().is_some_and(|guild| guild.is_unavailable),
        name: guild.and_then(|guild| guild.name),
    }
}

/// It is ready, or was when it was handed over.
pub(super) fn is_whole(status: ShardStatus) -> bool {
    matches!(status, ShardStatus::Ready | ShardStatus::Moving)
}

/// Why a user may be on a shard whose cache does not have it.
fn doubt(shard: &RunningShard) -> Option<String> {
    match shard.status() {
        status if is_whole(status) => shard.cache().users_doubt(),
        status => Some(format!("shard {} is {status}", shard.key())),
    }
}
