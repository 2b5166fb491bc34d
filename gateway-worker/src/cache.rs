//! What one shard knows: its guilds, and whatever else the settings say. Its memory goes when the shard goes.
//!
//! Owns the choice of what is kept, the difference between an outage and a removal, and the way of all this into records of
//! our own and back ([`records`]), by which another worker goes on. How it is kept is twilight's cache for now; nobody outside
//! this module sees that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use twilight_cache_inmemory::DefaultInMemoryCache;
use twilight_gateway::{Event, EventTypeFlags};
use twilight_model::{
    gateway::{
        Intents,
        payload::incoming::{GuildDelete, Ready},
    },
    id::Id,
};

use crate::tally::{Figures, KnownGuild, Tally};

mod changes;
mod copy;
mod count;
mod objects;
pub(crate) mod records;
mod resources;
mod wanted;

pub(crate) use changes::{Changed, GuildChanges};
pub(crate) use copy::Copy;
pub(crate) use objects::Missing;
pub(crate) use records::{GuildRecords, Prepared, RestoreError, Restored};
pub use resources::CachedResources;

use changes::{Changes, touched};
use count::count;
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
    store: DefaultInMemoryCache,
    /// Held while an event is applied, so that whoever takes records sees whole events only.
    book: Mutex<Book>,
}

/// The counts, and what has changed since it was last written down.
#[derive(Debug, Default)]
struct Book {
    tally: Tally,
    changes: Changes,
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
        let store = DefaultInMemoryCache::builder()
            .resource_types(settings.resources.0)
            .message_cache_size(settings.messages_per_channel)
            .build();
        Self { session, store, book: Mutex::new(Book { tally, changes: Changes::default() }) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally<T>(&self, with: impl FnOnce(&Tally) -> T) -> T {
        with(&self.book().tally)
    }

    /// Takes an event in, unless the guild's records hold it already.
    fn apply(&self, event: &Event, sequence: u64) {
        let mut book = self.book();
        let touched = touched(event);
        if touched.as_ref().is_some_and(|touched| book.changes.holds(touched.guild, sequence)) {
            return;
        }
        let is_outage = matches!(event, Event::GuildDelete(GuildDelete { unavailable: Some(true), .. }));
        // twilight's cache takes an outage for a removal; ours keeps what it knows.
        if !is_outage {
            self.forget_before_return(&book.tally, event);
            self.store.update(event);
        }
        count(&mut book.tally, event);
        if let Some(touched) = touched {
            book.changes.note(touched, sequence);
        }
        if matches!(event, Event::UserUpdate(_)) {
            book.changes.note_own_user();
        }
    }

    /// A guild that comes back from an outage is told anew: what was kept of it goes, or channels and members that ended
    /// meanwhile would stay for ever.
    fn forget_before_return(&self, tally: &Tally, event: &Event) {
        let Event::GuildCreate(created) = event else { return };
        if tally.guild(created.id().get()).is_some_and(|guild| guild.members.is_some()) {
            self.store.update(&GuildDelete { id: created.id(), unavailable: None });
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
    pub fn wanted_events(&self) -> EventTypeFlags {
        wanted_events(self.settings.resources.0)
    }

    /// A new session begins with its READY: everything that was known is void.
    pub(crate) fn begin_session(&self, session: u64, ready: Option<&Ready>) {
        let guilds = ready.into_iter().flat_map(|ready| ready.guilds.iter().map(|guild| guild.id.get()));
        let contents = Contents::new(&self.settings, session, Tally::expecting(guilds));
        if let Some(ready) = ready {
            contents.store.update(ready);
        }
        self.contents.store(Arc::new(contents));
    }

    /// Takes an event of the session in. One that the records hold, out of which this cache was restored, changes nothing.
    pub(crate) fn apply(&self, event: &Event, sequence: u64) {
        self.contents.load().apply(event, sequence);
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
        let unknown = contents.tally(Tally::unknown_guilds);
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
        let members = contents.tally(Tally::figures).users;
        (cached < members).then(|| {
            format!("the user cache is partial: it holds {cached} of {members} members of its guilds")
        })
    }
}
