//! The events that the cache needs: everything else is not parsed for it.

use twilight_cache_inmemory::ResourceType;
use twilight_gateway::EventTypeFlags;

/// What must be parsed for the counts, and for what is kept.
pub(super) fn wanted_events(kept: ResourceType) -> EventTypeFlags {
    use EventTypeFlags as E;
    let counted = E::READY
        | E::GUILD_CREATE
        | E::GUILD_DELETE
        | E::MEMBER_ADD
        | E::MEMBER_REMOVE
        | E::CHANNEL_CREATE
        | E::CHANNEL_DELETE
        | E::VOICE_STATE_UPDATE;
    let for_each = [
        (ResourceType::GUILD, E::GUILD_UPDATE),
        (
            ResourceType::CHANNEL,
            E::CHANNEL_UPDATE
                | E::CHANNEL_PINS_UPDATE
                | E::THREAD_CREATE
                | E::THREAD_UPDATE
                | E::THREAD_DELETE
                | E::THREAD_LIST_SYNC,
        ),
        (ResourceType::ROLE, E::ROLE_CREATE | E::ROLE_UPDATE | E::ROLE_DELETE),
        (ResourceType::MEMBER, E::MEMBER_UPDATE | E::MEMBER_CHUNK),
        (ResourceType::USER, E::MEMBER_UPDATE | E::MEMBER_CHUNK),
        (ResourceType::USER_CURRENT, E::USER_UPDATE),
        (ResourceType::PRESENCE, E::PRESENCE_UPDATE),
        (
            ResourceType::MESSAGE,
            E::MESSAGE_CREATE | E::MESSAGE_UPDATE | E::MESSAGE_DELETE | E::MESSAGE_DELETE_BULK,
        ),
        (
            ResourceType::REACTION,
            E::REACTION_ADD | E::REACTION_REMOVE | E::REACTION_REMOVE_ALL | E::REACTION_REMOVE_EMOJI,
        ),
        (ResourceType::EMOJI, E::GUILD_EMOJIS_UPDATE),
        (ResourceType::STICKER, E::GUILD_STICKERS_UPDATE),
        (
            ResourceType::STAGE_INSTANCE,
            E::STAGE_INSTANCE_CREATE | E::STAGE_INSTANCE_UPDATE | E::STAGE_INSTANCE_DELETE,
        ),
        (ResourceType::INTEGRATION, E::INTEGRATION_CREATE | E::INTEGRATION_UPDATE | E::INTEGRATION_DELETE),
        (
            ResourceType::GUILD_SCHEDULED_EVENT,
            E::GUILD_SCHEDULED_EVENT_CREATE
                | E::GUILD_SCHEDULED_EVENT_UPDATE
                | E::GUILD_SCHEDULED_EVENT_DELETE
                | E::GUILD_SCHEDULED_EVENT_USER_ADD
                | E::GUILD_SCHEDULED_EVENT_USER_REMOVE,
        ),
    ];
    for_each
        .into_iter()
        .filter(|(resource, _)| kept.contains(*resource))
        .fold(counted, |wanted, (_, events)| wanted | events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CachedResources;

    #[test]
    fn only_what_is_kept_is_parsed() {
        let of = |text: &str| wanted_events(text.parse::<CachedResources>().unwrap().0);
        assert!(!of("guilds").contains(EventTypeFlags::MESSAGE_CREATE));
        assert!(of("messages").contains(EventTypeFlags::MESSAGE_CREATE));
        assert!(of("none").contains(EventTypeFlags::GUILD_CREATE), "guilds are counted all the same");
    }
}
