//! The events that the cache needs: everything else is not parsed for it.

use std::collections::HashSet;

use twilight_cache_inmemory::ResourceType;
use twilight_model::gateway::event::EventType;

/// What must be parsed for the counts, and for what is kept.
pub(super) fn wanted_events(kept: ResourceType) -> HashSet<EventType> {
    use EventType as E;
    let counted = [
        E::Ready,
        E::GuildCreate,
        E::GuildDelete,
        E::MemberAdd,
        E::MemberRemove,
        E::ChannelCreate,
        E::ChannelDelete,
        E::VoiceStateUpdate,
    ];
    let for_each = [
        (ResourceType::GUILD, &[E::GuildUpdate][..]),
        (
            ResourceType::CHANNEL,
            &[
                E::ChannelUpdate,
                E::ChannelPinsUpdate,
                E::ThreadCreate,
                E::ThreadUpdate,
                E::ThreadDelete,
                E::ThreadListSync,
            ][..],
        ),
        (ResourceType::ROLE, &[E::RoleCreate, E::RoleUpdate, E::RoleDelete][..]),
        (ResourceType::MEMBER, &[E::MemberUpdate, E::MemberChunk][..]),
        (ResourceType::USER, &[E::MemberUpdate, E::MemberChunk][..]),
        (ResourceType::USER_CURRENT, &[E::UserUpdate][..]),
        (ResourceType::PRESENCE, &[E::PresenceUpdate][..]),
        (
            ResourceType::MESSAGE,
            &[E::MessageCreate, E::MessageUpdate, E::MessageDelete, E::MessageDeleteBulk][..],
        ),
        (
            ResourceType::REACTION,
            &[E::ReactionAdd, E::ReactionRemove, E::ReactionRemoveAll, E::ReactionRemoveEmoji][..],
        ),
        (ResourceType::EMOJI, &[E::GuildEmojisUpdate][..]),
        (ResourceType::STICKER, &[E::GuildStickersUpdate][..]),
        (
            ResourceType::STAGE_INSTANCE,
            &[E::StageInstanceCreate, E::StageInstanceUpdate, E::StageInstanceDelete][..],
        ),
        (ResourceType::INTEGRATION, &[E::IntegrationCreate, E::IntegrationUpdate, E::IntegrationDelete][..]),
        (
            ResourceType::GUILD_SCHEDULED_EVENT,
            &[
                E::GuildScheduledEventCreate,
                E::GuildScheduledEventUpdate,
                E::GuildScheduledEventDelete,
                E::GuildScheduledEventUserAdd,
                E::GuildScheduledEventUserRemove,
            ][..],
        ),
    ];
    let kept = for_each.into_iter().filter(|(resource, _)| kept.contains(*resource));
    counted.into_iter().chain(kept.flat_map(|(_, events)| events.iter().copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CachedResources;

    #[test]
    fn only_cached_parts_are_parsed() {
        let of = |text: &str| wanted_events(text.parse::<CachedResources>().unwrap().0);
        assert!(!of("guilds").contains(&EventType::MessageCreate));
        assert!(of("messages").contains(&EventType::MessageCreate));
        assert!(of("none").contains(&EventType::GuildCreate), "guilds are counted all the same");
    }
}
