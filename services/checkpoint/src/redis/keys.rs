//! Where a checkpoint is.

use fleet_model::ShardSlot;
use redis_link::KeyPrefix;

/// The keys of a shard, in one slot of a cluster: the tag is the owner's whole key.
#[derive(Clone, Debug)]
pub(super) struct ShardKeys {
    /// Hash: the shard's owner. The fleet store's; only its epoch is read here.
    pub(super) owner: String,
    /// Hash: the checkpoint. Everything about it is in one key, so that it ages, is evicted and is lost as one. A field is a record's
    /// key; those that begin with a dot are about the whole.
    pub(super) checkpoint: String,
    /// Text: the epoch that claimed the checkpoint, and the previous owner's. A key of its own, because the checkpoint's fields
    /// are counted as records.
    pub(super) claim: String,
    /// Hash: the epochs of the owners that were about to begin with an event, and have not said that they ended. Apart from the checkpoint, which a new session
    /// clears.
    pub(super) notes: String,
    /// Hash: a line about each event that is set aside.
    pub(super) aside: String,
    /// Hash: their payloads.
    pub(super) payloads: String,
}

impl ShardKeys {
    pub(super) fn new(prefix: &KeyPrefix, shard: ShardSlot) -> Self {
        let owner = format!("{{{prefix}:shard:{shard}}}");
        let checkpoint = format!("{owner}:checkpoint");
        let claim = format!("{checkpoint}:claim");
        let notes = format!("{owner}:notes");
        let aside = format!("{owner}:aside");
        let payloads = format!("{aside}:payloads");
        Self { owner, checkpoint, claim, notes, aside, payloads }
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::ShardKey;

    use super::*;

    #[test]
    fn keys_of_a_shard_have_its_slot() {
        let keys = ShardKeys::new(&"bot".parse().unwrap(), ShardKey::new(3, 8).slot());
        assert_eq!(keys.owner, "{bot:shard:3}");
        assert_eq!(
            [keys.checkpoint, keys.claim],
            ["{bot:shard:3}:checkpoint", "{bot:shard:3}:checkpoint:claim"]
        );
        assert_eq!(keys.notes, "{bot:shard:3}:notes");
        assert_eq!([keys.aside, keys.payloads], ["{bot:shard:3}:aside", "{bot:shard:3}:aside:payloads"]);
    }
}
