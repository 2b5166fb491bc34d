//! Where a checkpoint is.

use fleet_model::ShardNumber;
use redis_link::KeyPrefix;

/// The two keys of a shard, in one slot of a cluster: the tag is the owner's whole key.
#[derive(Clone, Debug)]
pub(super) struct ShardKeys {
    /// Hash: the shard's owner. The fleet store's; only its epoch is read here.
    pub(super) owner: String,
    /// Hash: the checkpoint. Everything about it is in one key, so that it ages, is evicted and is lost as one. A field is a record's
    /// key; those that begin with a dot are about the whole.
    pub(super) checkpoint: String,
}

impl ShardKeys {
    pub(super) fn new(prefix: &KeyPrefix, shard: ShardNumber) -> Self {
        let owner = format!("{{{prefix}:shard:{shard}}}");
        let checkpoint = format!("{owner}:checkpoint");
        Self { owner, checkpoint }
    }
}
