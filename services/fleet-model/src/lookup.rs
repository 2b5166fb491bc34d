//! What one worker knows of guilds and users.

use crate::{Epoch, ShardSlot};

/// One guild, as one worker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuildRecord {
    /// The guild.
    pub guild_id: u64,
    /// What the worker can say; `None` when it does not run the guild's shard.
    pub mine: Option<OwnGuild>,
}

/// One guild, as the worker that runs its shard knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnGuild {
    /// Its shard.
    pub shard: ShardSlot,
    /// The epoch that the shard runs under.
    pub epoch: Epoch,
    /// It is there.
    pub found: bool,
    /// The answer is final: not found means not there, and of a guild that was found nothing is in doubt.
    pub complete: bool,
    /// Why parts of a guild that was found may be missing or out of date.
    pub doubt: Option<String>,
    /// Its name; `None` when guilds are not cached.
    pub name: Option<String>,
    /// Its members; `None` when it has been unavailable since the shard started.
    pub member_count: Option<u64>,
    /// Discord has an outage for it.
    pub unavailable: bool,
}

/// One user, as one worker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The user.
    pub user_id: u64,
    /// The shards on which it is cached.
    pub shards: Vec<ShardSlot>,
    /// Its name; empty when it is on no shard.
    pub username: String,
}

/// What one worker can say of some users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLookup {
    /// The users, in the order asked.
    pub users: Vec<UserRecord>,
    /// Why a user that was not found may be there all the same; `None` when it is not.
    pub incomplete: Option<String>,
    /// The shards that this is about.
    pub shards: Vec<ShardSlot>,
}
