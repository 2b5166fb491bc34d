//! The wanted shard total: a pure function of the settings and Discord's advice.

use fleet_model::{MAX_SHARDS, Percent, ShardCount};

/// The advice of `/gateway/bot` about shards
/// ([Get Gateway Bot](https://discord.com/developers/docs/events/gateway#get-gateway-bot)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The recommended number.
    pub shards: u32,
    /// `max_concurrency`: 1 for most bots. Bots that Discord shards by its large-bot rules have more, and their shard
    /// count must be a multiple of it.
    pub max_concurrency: u32,
}

/// Returns the wanted number of shards.
pub fn wanted(count: ShardCount, buffer: Percent, advice: Advice) -> u32 {
    match count {
        ShardCount::Fixed(count) => count,
        ShardCount::Auto if advice.shards <= 1 => 1.max(advice.shards),
        ShardCount::Auto => {
            let with_room = advice.shards.saturating_add(buffer.of(advice.shards));
            let multiple_of = advice.max_concurrency.clamp(1, MAX_SHARDS);
            with_room
                .min(MAX_SHARDS)
                .next_multiple_of(multiple_of)
                .min(MAX_SHARDS / multiple_of * multiple_of)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_adds_room_and_keeps_discords_multiple() {
        let auto = |shards, max_concurrency| {
            wanted(ShardCount::Auto, Percent(20), Advice { shards, max_concurrency })
        };
        assert_eq!(auto(0, 1), 1);
        assert_eq!(auto(1, 1), 1);
        assert_eq!(auto(2, 1), 3);
        assert_eq!(auto(10, 1), 12);
        assert_eq!(auto(160, 16), 192);
        assert_eq!(auto(161, 16), 208);
        // Never more than the limit.
        assert_eq!(auto(65_536, 1), 65_536);
        assert_eq!(auto(u32::MAX, 48), 65_520);
        assert_eq!(auto(u32::MAX, u32::MAX), 65_536);
    }

    #[test]
    fn fixed_number_is_used_unchanged() {
        let advice = Advice { shards: 100, max_concurrency: 16 };
        assert_eq!(wanted(ShardCount::Fixed(3), Percent(20), advice), 3);
    }
}
