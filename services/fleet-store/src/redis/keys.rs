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

    /// Hash: the shard total, the identify budget, when shards last ran.
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
        assert_eq!(keys.shard(ShardKey::new(3, 8)), "{bot:shard:3}");
    }
}
