//! Where each record is. Every key has its hash tag, so a cluster spreads workers and shards over its nodes.

use fleet_model::{ShardKey, WorkerId};
use redis_link::KeyPrefix;

/// The keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: KeyPrefix,
}

impl Keys {
    pub(super) fn new(prefix: KeyPrefix) -> Self {
        Self { prefix }
    }

    /// Hash: the term, its holder, when the hold ends; the last standby that asked for the term, and when.
    pub(super) fn term(&self) -> String {
        format!("{{{}}}:term", self.prefix)
    }

    /// Hash: the shard total, the identify budget, when shards last ran, how the heads of checkpoints are signed.
    pub(super) fn fleet(&self) -> String {
        format!("{{{}}}:fleet", self.prefix)
    }

    /// Stream: the history.
    pub(super) fn history(&self) -> String {
        format!("{{{}}}:history", self.prefix)
    }

    /// Set: the names of the workers.
    pub(super) fn workers(&self) -> String {
        format!("{{{}}}:workers", self.prefix)
    }

    /// Hash: a worker's record and lease.
    pub(super) fn worker(&self, worker: &WorkerId) -> String {
        format!("{{{}:worker:{worker}}}", self.prefix)
    }

    /// A pattern of all keys about one worker or one shard.
    pub(super) fn all_tagged(&self) -> String {
        format!("{{{}:*", self.prefix)
    }

    /// What a key is about: `worker` or `shard`, and which.
    pub(super) fn tagged<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let (tag, _) = key.strip_prefix('{')?.split_once('}')?;
        tag.strip_prefix(self.prefix.as_str())?.strip_prefix(':')?.split_once(':')
    }

    /// Hash: a shard's owner.
    pub(super) fn shard(&self, shard: ShardKey) -> String {
        format!("{{{}:shard:{shard}}}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_of_a_shard_is_under_its_slot() {
        let keys = Keys::new("bot".parse().unwrap());
        let shard = keys.shard(ShardKey::new(3, 8));
        assert_eq!(shard, "{bot:shard:3}");
        assert_eq!(keys.tagged(&shard), Some(("shard", "3")));
        assert_eq!(keys.tagged("{bot:shard:3}:checkpoint"), Some(("shard", "3")));
        assert_eq!(keys.tagged("{bots:shard:3}"), None);
    }
}
