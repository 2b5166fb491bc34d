//! What one shard knows: its guilds, and whatever else the settings say. Its memory goes when the shard goes.
//!
//! Owns the choice of what is kept, the difference between an outage and a removal, and the way of all this into records of
//! our own and back ([`records`]), by which another worker goes on. How it is kept is twilight's cache for now; nobody outside
//! this module sees that.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use twilight_cache_inmemory::{DefaultInMemoryCache, ResourceType};
use twilight_model::{
    gateway::{
        Intents,
        event::{Event, EventType},
        payload::incoming::{GuildCreate, GuildDelete, UserUpdate},
    },
    id::Id,
};

use crate::{
    reading::{Doubt, Reading, SessionStart, ShardDoubt},
    tally::{Figures, KnownGuild, Tally},
};

mod changes;
mod copy;
mod count;
mod members;
mod objects;
#[cfg(test)]
mod odd_tests;
pub(crate) mod records;
mod removal;
mod resources;
mod wanted;

/// The most guilds that a shard waits for; events of further guilds put the whole shard in doubt.
const MOST_PENDING: usize = 10_000;

/// Events of the shard after a guild was left, during which the guild's own events are ignored.
const LATE_EVENTS: u64 = 10_000;

pub(crate) use changes::{Changed, GuildChanges};
pub(crate) use copy::Copy;
pub(crate) use objects::Missing;
pub(crate) use records::{GuildRecords, Prepared, RestoreError, Restored};
pub use resources::CachedResources;

use changes::{Changes, touched};
use count::count;
use members::Members;
use wanted::wanted_events;

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

/// What is known of one session.
#[derive(Debug)]
struct Contents {
    /// The session's ordinal.
    session: u64,
    kept: ResourceType,
    /// Everything but members and users, which twilight would never remove completely.
    store: DefaultInMemoryCache,
    /// Held while an event is applied, so that whoever takes records sees whole events only.
    book: Mutex<Book>,
}

/// Counts, members, and changes since the last checkpoint.
#[derive(Debug, Default)]
struct Book {
    tally: Tally,
    members: Members,
    changes: Changes,
    doubt: Option<ShardDoubt>,
    /// The last event of the session that the cache was given.
    sequence: u64,
}

impl Book {
    /// Waits for the GUILD_CREATE of a guild that READY did not name and that sends events all the same.
    fn expect(&mut self, guild: u64) {
        let left = self.changes.stamp(guild);
        let has_just_left = left > 0 && self.sequence < left.saturating_add(LATE_EVENTS);
        if self.tally.guild(guild).is_some() || has_just_left {
            return;
        }
        if self.tally.pending() < MOST_PENDING {
            self.tally.expect(guild);
        } else {
            self.doubt = Some(ShardDoubt::Event);
        }
    }
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
    fn new(settings: &CacheSettings, session: u64, tally: Tally) -> Self {
        let kept = settings.resources.0;
        let store = DefaultInMemoryCache::builder()
            .resource_types(kept.difference(ResourceType::MEMBER | ResourceType::USER))
            .message_cache_size(settings.messages_per_channel)
            .build();
        Self { session, kept, store, book: Mutex::new(Book { tally, ..Book::default() }) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally<T>(&self, with: impl FnOnce(&Tally) -> T) -> T {
        with(&self.book().tally)
    }

    /// Applies an event, unless the guild's records contain it already. `doubt`: what of its guild could not be read.
    fn apply(&self, event: &Event, doubt: Doubt, sequence: u64) {
        let mut book = self.book();
        book.sequence = sequence;
        let touched = touched(event);
        if touched.as_ref().is_some_and(|touched| book.changes.holds(touched.guild, sequence)) {
            return;
        }
        // Nothing is kept of guilds that are pending or were left: their GUILD_CREATE brings everything.
        let is_about_guild = matches!(event, Event::GuildCreate(_) | Event::GuildDelete(_));
        if let Some(guild) = event.guild_id().map(Id::get).filter(|_| !is_about_guild)
            && book.tally.guild(guild).is_none_or(|guild| guild.members.is_none())
        {
            book.expect(guild);
            return;
        }
        self.store_event(&mut book, event);
        count(&mut book, self.kept, event, doubt, sequence);
        if let Some(touched) = touched {
            book.changes.note(touched, sequence);
        }
        if matches!(event, Event::UserUpdate(_)) {
            book.changes.note_own_user();
        }
    }

    /// Gives an event to twilight's store.
    fn store_event(&self, book: &mut Book, event: &Event) {
        match event {
            // twilight would remove a guild in an outage; its data stays. Members are kept apart.
            Event::GuildDelete(GuildDelete { unavailable: Some(true), .. })
            | Event::MemberAdd(_)
            | Event::MemberRemove(_)
            | Event::MemberUpdate(_)
            | Event::MemberChunk(_) => {}
            Event::GuildDelete(deleted) => self.remove_guild(book, deleted.id),
            Event::GuildCreate(created) => {
                // An outage, as above. A repeated GUILD_CREATE is complete: channels deleted meanwhile must go.
                if let GuildCreate::Available(guild) = &**created {
                    self.store_guild(book, created, guild);
                }
            }
            Event::ChannelDelete(deleted) => {
                if let Some(guild) = deleted.guild_id {
                    for user in book.tally.channel_gone(guild.get(), deleted.id.get()) {
                        self.remove_voice(guild, user);
                    }
                }
                self.store.update(event);
            }
            Event::VoiceStateUpdate(update) => {
                // twilight would keep the member even when it is configured not to.
                let mut update = update.clone();
                update.0.member = None;
                self.store.update(&*update);
            }
            Event::GuildEmojisUpdate(update) => self.store_emojis(update),
            Event::GuildStickersUpdate(update) => self.store_stickers(update),
            event => self.store.update(event),
        }
    }
}

impl ShardCache {
    /// An empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        let contents = ArcSwap::from_pointee(Contents::new(&settings, 0, Tally::default()));
        Self { settings, contents }
    }

    /// What the shard asks Discord for.
    pub fn intents(&self) -> Intents {
        self.settings.intents
    }

    /// The events that must be parsed for it.
    pub fn wanted_events(&self) -> HashSet<EventType> {
        wanted_events(self.settings.resources.0)
    }

    /// A new session begins with its READY: everything that was known is void.
    pub(crate) fn begin_session(&self, session: u64, start: Option<&SessionStart>) {
        let guilds = start.into_iter().flat_map(|start| start.guilds.iter().copied());
        let contents = Contents::new(&self.settings, session, Tally::expecting(guilds));
        if let Some(user) = start.and_then(|start| start.own_user.as_ref()) {
            contents.store.update(&UserUpdate(user.clone()));
        }
        if start.is_none_or(|start| start.more_guilds) {
            contents.book().doubt = Some(ShardDoubt::Guilds);
        }
        self.contents.store(Arc::new(contents));
    }

    /// Takes an event of the session in. One that the records hold, out of which this cache was restored, changes nothing.
    pub(crate) fn apply(&self, reading: &Reading, sequence: u64) {
        self.contents.load().apply(&reading.event, reading.odd.doubt(), sequence);
    }

    /// Notes that an event could not be read: its `guild`, or all guilds if that is unknown, are in doubt.
    pub(crate) fn doubt_event(&self, guild: Option<u64>) {
        let contents = self.contents.load();
        let mut book = contents.book();
        match guild {
            Some(guild) if book.tally.guild(guild).is_some() => {
                book.tally.doubt(guild, Doubt::GUILD);
                book.changes.note_core(guild);
            }
            Some(guild) => book.expect(guild),
            None => book.doubt = Some(ShardDoubt::Event),
        }
    }

    /// Notes that an event of `guild` came that the cache does not use.
    pub(crate) fn note_guild(&self, guild: u64, sequence: u64) {
        let contents = self.contents.load();
        let mut book = contents.book();
        book.sequence = sequence;
        book.expect(guild);
    }

    /// Notes that events of the session are missing: everything is in doubt until the next session.
    pub(crate) fn doubt_everything(&self) {
        let contents = self.contents.load();
        let mut book = contents.book();
        for guild in book.tally.all_guilds() {
            book.tally.doubt(guild, Doubt::GUILD);
            book.changes.note_core(guild);
        }
        book.doubt = Some(ShardDoubt::Events);
    }

    /// Why something missing from the cache may exist all the same; `None` when it does not.
    pub(crate) fn doubt(&self) -> Option<String> {
        let contents = self.contents.load();
        let book = contents.book();
        let pending = book.tally.pending();
        (pending > 0)
            .then(|| format!("{pending} guilds have not come yet"))
            .or_else(|| book.doubt.map(|doubt| doubt.as_str().to_owned()))
    }

    /// What a checkpoint says of [`ShardCache::doubt`].
    pub(crate) fn doubt_code(&self) -> u32 {
        self.contents.load().book().doubt.map_or(0, |doubt| doubt as u32)
    }

    /// Guilds whose figures are missing or may be wrong; at least 1 while anything is in doubt.
    pub(crate) fn uncertain_guilds(&self) -> u32 {
        let contents = self.contents.load();
        let book = contents.book();
        let guilds = book.tally.uncertain_guilds().max(usize::from(book.doubt.is_some()));
        u32::try_from(guilds).unwrap_or(u32::MAX)
    }

    /// The cached object that an update changes. `update` needs only its ids.
    pub(crate) fn object_of_update(&self, event: &str, update: &Value) -> Option<Value> {
        fn id<T>(value: &Value) -> Option<Id<T>> {
            Id::new_checked(value.as_str()?.parse().ok()?)
        }
        let contents = self.contents.load();
        let store = &contents.store;
        let object = match event {
            "GUILD_UPDATE" => records::value(store.guild(id(&update["id"])?)?.value()),
            "CHANNEL_UPDATE" | "THREAD_UPDATE" => records::value(store.channel(id(&update["id"])?)?.value()),
            "GUILD_ROLE_UPDATE" => {
                let role = records::value(store.role(id(&update["role"]["id"])?)?.value().resource());
                return Some(json!({ "role": role }));
            }
            "GUILD_MEMBER_UPDATE" => {
                let guild = id::<twilight_model::id::marker::GuildMarker>(&update["guild_id"])?;
                let user = id::<twilight_model::id::marker::UserMarker>(&update["user"]["id"])?;
                let book = contents.book();
                records::member(&book.members, guild.get(), user.get())?
            }
            _ => return None,
        };
        Some(Value::Object(object))
    }

    /// Guilds that the session's READY named and that are still to come.
    pub fn pending_guilds(&self) -> usize {
        self.contents.load().tally(Tally::pending)
    }

    /// The shard's figures; `None` for one that the intents do not tell.
    pub fn figures(&self) -> (u32, Option<u64>, Option<u32>, Option<u32>) {
        let Figures { guilds, users, channels, voice_connections } =
            self.contents.load().tally(Tally::figures);
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

    /// Why these parts of a guild of the shard may be missing or out of date; `None` when they are not in doubt.
    pub(crate) fn doubt_of(&self, guild: u64, parts: Doubt) -> Option<String> {
        let contents = self.contents.load();
        let book = contents.book();
        let known = book.tally.guild(guild)?;
        if known.members.is_none() {
            return Some(format!(
                "guild {guild} has not come yet, or has had an outage since the shard started"
            ));
        }
        if known.doubt.has(parts) {
            return Some(format!(
                "parts or events of guild {guild} could not be read, or events are missing"
            ));
        }
        // The event may have been one of this guild.
        book.doubt.filter(|doubt| *doubt == ShardDoubt::Event).map(|doubt| doubt.as_str().to_owned())
    }

    /// A user's name, when the cache has it.
    pub fn username(&self, id: u64) -> Option<String> {
        self.contents.load().book().members.user(id).map(|user| user.name.clone())
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
        let book = contents.book();
        let unknown = book.tally.unknown_guilds();
        if unknown > 0 {
            return Some(format!("{unknown} guilds have not come yet, or are in an outage"));
        }
        if let Some(doubt) = book.doubt {
            return Some(doubt.as_str().to_owned());
        }
        if book.tally.doubts_members() {
            return Some("members of some guilds could not be read".to_owned());
        }
        let (cached, members) = (book.members.total(), book.tally.figures().users);
        (cached < members).then(|| {
            format!("the user cache is partial: it holds {cached} of {members} members of its guilds")
        })
    }
}
