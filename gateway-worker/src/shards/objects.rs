//! Objects of the caches of this worker's shards.

use serde_json::Value;
use shard_bridge::{FoundObject, ObjectKind, ObjectQuery, ObjectRefused};

use super::{
    RunningShard, RunningShards,
    answers::{is_whole, of_guild},
};
use crate::{cache::Missing, reading::Doubt};

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
        let found = match query.kind {
            ObjectKind::Guild => cache.guild_object(query.guild),
            ObjectKind::Channel(channel) => cache.channel_object(query.guild, channel),
            ObjectKind::Member(user) => cache.member_object(query.guild, user),
            ObjectKind::Roles => cache.role_objects(query.guild),
        };
        let mut object = found.map_err(|missing| refused(doubt, missing))?;
        match &mut object {
            Value::Array(list) => list.iter_mut().for_each(|one| keep(one, &query.fields)),
            one => keep(one, &query.fields),
        }
        Ok(FoundObject { json: object.to_string(), doubt: doubt_of_found.unwrap_or_default() })
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
