//! Objects out of the caches of this worker's shards.

use serde_json::Value;
use shard_bridge::{ObjectKind, ObjectQuery, ObjectRefused};

use super::{RunningShards, is_whole, of_guild};
use crate::{cache::Missing, shard::Shard};

impl RunningShards {
    /// An object as Discord's own JSON.
    pub(super) fn find_object(&self, query: &ObjectQuery) -> Result<String, ObjectRefused> {
        let shards = self.askable();
        let shard = of_guild(&shards, query.guild).ok_or(ObjectRefused::NotMine)?;
        let cache = shard.cache();
        let found = match query.kind {
            ObjectKind::Guild => cache.guild_object(query.guild),
            ObjectKind::Channel(channel) => cache.channel_object(query.guild, channel),
            ObjectKind::Member(user) => cache.member_object(query.guild, user),
            ObjectKind::Roles => cache.role_objects(query.guild),
        };
        let mut object = found.map_err(|missing| refused(shard, missing))?;
        match &mut object {
            Value::Array(list) => list.iter_mut().for_each(|one| keep(one, &query.fields)),
            one => keep(one, &query.fields),
        }
        Ok(object.to_string())
    }
}

/// Only the wanted fields; all when none are named.
fn keep(object: &mut Value, fields: &[String]) {
    if let Value::Object(object) = object
        && !fields.is_empty()
    {
        object.retain(|name, _| fields.contains(name));
    }
}

/// What is not in the cache is not there only when the shard has all its guilds.
fn refused(shard: &Shard, missing: Missing) -> ObjectRefused {
    match missing {
        Missing::NotCached(why) => ObjectRefused::NotCached(why),
        Missing::Unknown(why) => ObjectRefused::Unknown(why),
        Missing::Absent(_) if !is_whole(shard.status()) => ObjectRefused::Unknown(shard.in_words()),
        Missing::Absent(_) if shard.cache().pending_guilds() > 0 => {
            ObjectRefused::Unknown(format!("shard {} does not have all its guilds yet", shard.number()))
        }
        Missing::Absent(why) => ObjectRefused::NotFound(why),
    }
}
