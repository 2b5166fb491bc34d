use super::*;
use crate::{
    cache::{CacheSettings, ShardCache},
    checkpoints::Keep,
    clock::unix_ms,
    handler::NoHandler,
    testing::{
        self, EPOCH, SHARD,
        guilds::{guild, ready, tell},
    },
};

/// The first second of 2015, from which Discord's ids count.
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

#[tokio::test(start_paused = true)]
async fn old_messages_leave_the_cache_also_without_checkpoints() {
    let settings = CacheSettings {
        messages_per_channel: 10,
        message_lifetime: Some(Duration::from_mins(30)),
        ..testing::cache("all")
    };
    let shard = Arc::new(ShardState::new(SHARD, EPOCH, ShardCache::new(settings), Arc::default()));
    shard.cache().begin_session(1, &ready(&[5]));
    tell(shard.cache(), "GUILD_CREATE", &guild(5), 1);
    let sent = |minutes_ago: u64| (unix_ms() - DISCORD_EPOCH_MS - minutes_ago * 60_000) << 22;
    let (old, new) = (sent(31), sent(29));
    for (sequence, id) in [(2, old), (3, new)] {
        let message = serde_json::json!({ "guild_id": "5", "channel_id": "501", "id": id.to_string() });
        tell(shard.cache(), "MESSAGE_CREATE", &message, sequence);
    }
    assert_eq!(shard.cache().message_ids(501), [old, new]);
    let queue = testing::event_queues(Arc::new(NoHandler)).queue_for(&shard, &testing::lease(), false);
    let checkpoints = testing::checkpoints(testing::memory(), Keep::Off);
    let _writer = Writer::start(checkpoints, shard.clone(), queue, 0, None);
    // The clock is paused: the writer's next round is due at once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shard.cache().message_ids(501), [new]);
}
