//! What one shard knows: its guilds, and whatever else the settings say. Its memory goes when the shard goes.
//!
//! Owns the choice of what is kept and the difference between an outage and a removal. How it is kept is twilight's cache
//! for now; nobody outside this module sees that.

use std::{
    collections::HashSet,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use twilight_cache_inmemory::{DefaultInMemoryCache, ResourceType};
use twilight_gateway::{Event, EventTypeFlags};
use twilight_model::{
    gateway::{
        Intents,
        payload::incoming::{GuildCreate, GuildDelete},
    },
    id::Id,
};

use crate::tally::{Figures, KnownGuild, NewGuild, Tally};

/// What each word of the `CACHE` setting keeps.
const RESOURCES: [(&str, ResourceType); 15] = [
    ("guilds", ResourceType::GUILD),
    ("channels", ResourceType::CHANNEL),
    ("roles", ResourceType::ROLE),
    ("members", ResourceType::MEMBER),
    ("users", ResourceType::USER),
    ("own_user", ResourceType::USER_CURRENT),
    ("voice_states", ResourceType::VOICE_STATE),
    ("presences", ResourceType::PRESENCE),
    ("messages", ResourceType::MESSAGE),
    ("reactions", ResourceType::REACTION),
    ("emojis", ResourceType::EMOJI),
    ("stickers", ResourceType::STICKER),
    ("stage_instances", ResourceType::STAGE_INSTANCE),
    ("integrations", ResourceType::INTEGRATION),
    ("scheduled_events", ResourceType::GUILD_SCHEDULED_EVENT),
];

/// Which resources are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedResources(ResourceType);

impl CachedResources {
    /// Users are kept, with the guilds that they are in.
    pub fn users(self) -> bool {
        self.0.contains(ResourceType::USER | ResourceType::MEMBER)
    }
}

impl FromStr for CachedResources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kept = ResourceType::empty();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            kept |= match word {
                "all" => ResourceType::all(),
                "none" => ResourceType::empty(),
                word => RESOURCES
                    .iter()
                    .find(|(name, _)| *name == word)
                    .map(|(_, resource)| *resource)
                    .ok_or_else(|| {
                        let names: Vec<&str> = RESOURCES.iter().map(|(name, _)| *name).collect();
                        format!(
                            "{word:?} is not kept; it takes `all`, `none`, or any of {}",
                            names.join(", ")
                        )
                    })?,
            };
        }
        Ok(Self(kept))
    }
}

/// What is kept, and what Discord tells at all.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// Which resources are kept.
    pub resources: CachedResources,
    /// Messages kept per channel.
    pub messages_per_channel: usize,
    /// What the shard asks Discord for.
    pub intents: Intents,
}

/// One shard's cache.
#[derive(Debug)]
pub struct ShardCache {
    settings: CacheSettings,
    contents: ArcSwap<Contents>,
}

#[derive(Debug)]
struct Contents {
    store: DefaultInMemoryCache,
    tally: Mutex<Tally>,
}

/// A guild as the cache has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedGuild {
    /// `None` when guilds are not kept.
    pub name: Option<String>,
    /// What is counted.
    pub known: KnownGuild,
}

impl Contents {
    fn new(settings: &CacheSettings, tally: Tally) -> Self {
        let store = DefaultInMemoryCache::builder()
            .resource_types(settings.resources.0)
            .message_cache_size(settings.messages_per_channel)
            .build();
        Self { store, tally: Mutex::new(tally) }
    }

    fn tally<T>(&self, with: impl FnOnce(&mut Tally) -> T) -> T {
        with(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Contents {
    /// A guild that comes back from an outage is told anew: what was kept of it goes, or channels and members that ended
    /// meanwhile would stay for ever.
    fn forget_before_return(&self, event: &Event) {
        let Event::GuildCreate(created) = event else { return };
        let returns =
            self.tally(|tally| tally.guild(created.id().get()).is_some_and(|guild| guild.members.is_some()));
        if returns {
            self.store.update(&GuildDelete { id: created.id(), unavailable: None });
        }
    }
}

impl ShardCache {
    /// An empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        let contents = ArcSwap::from_pointee(Contents::new(&settings, Tally::default()));
        Self { settings, contents }
    }

    /// The events that must be parsed for it.
    pub fn wanted_events(&self) -> EventTypeFlags {
        wanted_events(self.settings.resources.0)
    }

    /// A new session begins: everything that was known is void.
    fn restart(&self, guild_ids: impl IntoIterator<Item = u64>) {
        let tally = Tally::expecting(guild_ids);
        self.contents.store(std::sync::Arc::new(Contents::new(&self.settings, tally)));
    }

    /// Takes an event in.
    pub fn apply(&self, event: &Event) {
        if let Event::Ready(ready) = event {
            self.restart(ready.guilds.iter().map(|guild| guild.id.get()));
        }
        let contents = self.contents.load();
        let is_outage = matches!(event, Event::GuildDelete(GuildDelete { unavailable: Some(true), .. }));
        // twilight's cache takes an outage for a removal; ours keeps what it knows.
        if !is_outage {
            contents.forget_before_return(event);
            contents.store.update(event);
        }
        contents.tally(|tally| count(tally, event));
    }

    /// Guilds that the session's READY named and that are still to come.
    pub fn pending_guilds(&self) -> usize {
        self.contents.load().tally(|tally| tally.pending())
    }

    /// The shard's figures; `None` for one that the intents do not tell.
    pub fn figures(&self) -> (u32, Option<u64>, Option<u32>, Option<u32>) {
        let Figures { guilds, users, channels, voice_connections } =
            self.contents.load().tally(|tally| tally.figures());
        let with = |intent: Intents| self.settings.intents.contains(intent);
        (
            guilds,
            with(Intents::GUILDS).then_some(users),
            with(Intents::GUILDS).then_some(channels),
            with(Intents::GUILDS | Intents::GUILD_VOICE_STATES).then_some(voice_connections),
        )
    }

    /// One guild.
    pub fn guild(&self, id: u64) -> Option<CachedGuild> {
        let contents = self.contents.load();
        let known = contents.tally(|tally| tally.guild(id))?;
        let name =
            Id::new_checked(id).and_then(|id| contents.store.guild(id).map(|guild| guild.name().to_owned()));
        Some(CachedGuild { name, known })
    }

    /// A user's name, when the cache has it.
    pub fn username(&self, id: u64) -> Option<String> {
        let contents = self.contents.load();
        contents.store.user(Id::new_checked(id)?).map(|user| user.name.clone())
    }

    /// Why a user that is not in the cache may be on the shard all the same; `None` when it is not.
    pub fn users_doubt(&self) -> Option<String> {
        if !self.settings.resources.users() {
            return Some("users are not cached (CACHE)".to_owned());
        }
        if !self.settings.intents.contains(Intents::GUILD_MEMBERS) {
            return Some("the user cache is partial: the GUILD_MEMBERS intent is off (INTENTS)".to_owned());
        }
        let contents = self.contents.load();
        let unknown = contents.tally(|tally| tally.unknown_guilds());
        if unknown > 0 {
            return Some(format!("{unknown} guilds have not come yet, or are in an outage"));
        }
        let stats = contents.store.stats();
        let cached: u64 = contents
            .store
            .iter()
            .guilds()
            .map(|guild| stats.guild_members(*guild.key()).unwrap_or(0) as u64)
            .sum();
        let members = contents.tally(|tally| tally.figures()).users;
        (cached < members).then(|| {
            format!("the user cache is partial: it holds {cached} of {members} members of its guilds")
        })
    }
}

fn count(tally: &mut Tally, event: &Event) {
    match event {
        Event::GuildCreate(created) => match &**created {
            GuildCreate::Available(guild) => {
                let new = NewGuild {
                    members: guild.member_count.unwrap_or(0),
                    channels: guild.channels.len() as u32,
                    in_voice: voices(&guild.voice_states),
                };
                tally.guild_came(guild.id.get(), new);
            }
            GuildCreate::Unavailable(guild) => tally.guild_unavailable(guild.id.get()),
        },
        Event::GuildDelete(deleted) if deleted.unavailable == Some(true) => {
            tally.guild_unavailable(deleted.id.get());
        }
        Event::GuildDelete(deleted) => tally.guild_left(deleted.id.get()),
        Event::MemberAdd(added) => tally.member(added.guild_id.get(), 1),
        Event::MemberRemove(removed) => tally.member(removed.guild_id.get(), -1),
        Event::ChannelCreate(created) => {
            if let Some(guild) = created.guild_id {
                tally.channel(guild.get(), 1);
            }
        }
        Event::ChannelDelete(deleted) => {
            if let Some(guild) = deleted.guild_id {
                tally.channel(guild.get(), -1);
            }
        }
        Event::VoiceStateUpdate(update) => {
            if let Some(guild) = update.guild_id {
                tally.voice(guild.get(), update.user_id.get(), update.channel_id.is_some());
            }
        }
        _ => {}
    }
}

fn voices(states: &[twilight_model::voice::VoiceState]) -> HashSet<u64> {
    states.iter().filter(|state| state.channel_id.is_some()).map(|state| state.user_id.get()).collect()
}

/// What must be parsed for the counts, and for what is kept.
fn wanted_events(kept: ResourceType) -> EventTypeFlags {
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

    #[test]
    fn resources_are_named() {
        let kept: CachedResources = "guilds, channels".parse().unwrap();
        assert_eq!(kept.0, ResourceType::GUILD | ResourceType::CHANNEL);
        assert_eq!("all".parse::<CachedResources>().unwrap().0, ResourceType::all());
        assert!("guild".parse::<CachedResources>().unwrap_err().contains("guilds"));
    }

    #[test]
    fn only_what_is_kept_is_parsed() {
        let of = |text: &str| wanted_events(text.parse::<CachedResources>().unwrap().0);
        assert!(!of("guilds").contains(EventTypeFlags::MESSAGE_CREATE));
        assert!(of("messages").contains(EventTypeFlags::MESSAGE_CREATE));
        assert!(of("none").contains(EventTypeFlags::GUILD_CREATE), "guilds are counted all the same");
    }
}
