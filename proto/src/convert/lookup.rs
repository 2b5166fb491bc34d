//! Guilds and users.

use fleet_model::{Epoch, GuildRecord, OwnGuild, ShardSlot, UserLookup, UserRecord};

use crate::v1;

impl From<GuildRecord> for v1::GuildRecord {
    fn from(record: GuildRecord) -> Self {
        let Some(own) = record.mine else {
            return Self { guild_id: record.guild_id, ..Self::default() };
        };
        Self {
            guild_id: record.guild_id,
            mine: true,
            found: own.found,
            complete: own.complete,
            name: own.name,
            member_count: own.member_count,
            shard_id: own.shard.0,
            epoch: own.epoch.0,
            unavailable: own.unavailable,
            doubt: own.doubt.unwrap_or_default(),
        }
    }
}

impl From<v1::GuildRecord> for GuildRecord {
    fn from(record: v1::GuildRecord) -> Self {
        let own = OwnGuild {
            shard: ShardSlot(record.shard_id),
            epoch: Epoch(record.epoch),
            found: record.found,
            complete: record.complete,
            name: record.name,
            member_count: record.member_count,
            unavailable: record.unavailable,
            doubt: Some(record.doubt).filter(|doubt| !doubt.is_empty()),
        };
        Self { guild_id: record.guild_id, mine: record.mine.then_some(own) }
    }
}

impl From<UserLookup> for v1::LookUpUsersResponse {
    fn from(lookup: UserLookup) -> Self {
        let users = lookup.users.into_iter().map(|user| v1::UserRecord {
            user_id: user.user_id,
            shard_ids: user.shards.into_iter().map(|shard| shard.0).collect(),
            username: user.username,
        });
        Self {
            users: users.collect(),
            complete: lookup.incomplete.is_none(),
            reason: lookup.incomplete.unwrap_or_default(),
            shard_ids: lookup.shards.into_iter().map(|shard| shard.0).collect(),
        }
    }
}

impl From<v1::LookUpUsersResponse> for UserLookup {
    fn from(response: v1::LookUpUsersResponse) -> Self {
        let users = response.users.into_iter().map(|user| UserRecord {
            user_id: user.user_id,
            shards: user.shard_ids.into_iter().map(ShardSlot).collect(),
            username: user.username,
        });
        Self {
            users: users.collect(),
            incomplete: (!response.complete).then_some(response.reason),
            shards: response.shard_ids.into_iter().map(ShardSlot).collect(),
        }
    }
}
