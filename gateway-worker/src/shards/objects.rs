//! Objects of the caches of this worker's shards.

use guild_cache::Doubt;
use shard_bridge::{FoundObject, ObjectKind, ObjectQuery, ObjectRefused};

use super::{
    RunningShard, RunningShards,
    answers::{is_whole, of_guild},
};
use crate::cache::Missing;

impl RunningShards {
    /// An object as Discord's own JSON, and why parts of it may be missing or out of date.
    pub(super) fn find_object(&self, query: &ObjectQuery) -> Result<FoundObject, ObjectRefused> {
        let shards = self.askable();
        let shard = of_guild(&shards, query.guild).ok_or(ObjectRefused::NotMine)?;
        let cache = shard.cache();
        // Looked at first: what comes meanwhile must not be missing for good.
        let about = match query.kind {
            ObjectKind::Guild => Doubt::GUILD,
            ObjectKind::Channel(_) => Doubt::CHANNELS,
            ObjectKind::Member(_) => Doubt::MEMBERS,
            ObjectKind::Roles => Doubt::ROLES,
        };
        let doubt_of_found = cache.doubt_of(query.guild, about);
        let doubt = doubt(shard, self.get(shard.key()).is_some());
        let ObjectQuery { guild, kind, fields } = query;
        let found = match *kind {
            ObjectKind::Guild => cache.find_guild(*guild, fields),
            ObjectKind::Channel(channel) => cache.find_channel(*guild, channel, fields),
            ObjectKind::Member(user) => cache.find_member(*guild, user, fields),
            ObjectKind::Roles => cache.find_roles(*guild, fields),
        };
        let json = found.map_err(|missing| refused(doubt, missing))?;
        Ok(FoundObject { json, doubt: doubt_of_found.unwrap_or_default() })
    }
}

/// Why something that is not in the cache may be there all the same.
fn doubt(shard: &RunningShard, runs: bool) -> Option<String> {
    if !runs || !is_whole(shard.status()) {
        return Some(shard.in_words());
    }
    shard.cache().doubt().map(|doubt| format!("shard {}: {doubt}", shard.key()))
}

fn refused(doubt: Option<String>, missing: Missing) -> ObjectRefused {
    match (missing, doubt) {
        (Missing::NotCached(why), _) => ObjectRefused::NotCached(why),
        (Missing::Unknown(why), _) | (Missing::Absent(_), Some(why)) => ObjectRefused::Unknown(why),
        (Missing::Absent(why), None) => ObjectRefused::NotFound(why),
    }
}
