//! What one shard knows: its guilds and the resources that the settings name. Its memory is freed when the shard ends.
//!
//! The crate `guild-cache` holds the objects, as Discord's own text. This module adds the lock, the effect of settings and intents on
//! answers, the [types](CachedObject) that bot code reads, and the [`records`] of checkpoints.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
use guild_cache::{
    Applied, ClientView, Codec, Doubt, Figures, MemberChunks, MemberRequest, Resources, Rules, SessionGuilds,
    ShardDoubt, guild_create_for,
};
use twilight_model::gateway::Intents;

use crate::threads::TimeSlice;

mod missing;
mod objects;
#[cfg(test)]
mod odd_tests;
mod old_records;
mod records;
mod resources;
mod restoring;
mod written;

pub use guild_cache::GuildInfo;
pub(crate) use missing::Missing;
pub use objects::{CachedObject, CachedObjectError};
pub use resources::CachedResources;
pub(crate) use restoring::{Layouts, Prepared, RestoreError, Restoring};
pub(crate) use written::{GuildRecords, WrittenAs};

/// The most members of a guild that are searched by name for a client of the gateway.
const MOST_SEARCHED_MEMBERS: u64 = 50_000;

/// Compresses for all shards of the process.
static CODEC: LazyLock<Arc<Codec>> = LazyLock::new(|| Arc::new(Codec::new()));

/// What the cache keeps, and which events Discord sends.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// Which resources are kept.
    pub resources: CachedResources,
    /// Messages kept per channel.
    pub messages_per_channel: usize,
    /// Age at which messages are removed, at most a minute late; `None` keeps them.
    pub message_lifetime: Option<Duration>,
    /// What the shard asks Discord for.
    pub intents: Intents,
}

impl CacheSettings {
    fn rules(&self) -> Rules {
        Rules {
            resources: self.resources.0,
            messages_per_channel: self.messages_per_channel,
            message_lifetime_ms: self.message_lifetime.map(millis),
            ..Rules::default()
        }
    }

    fn empty(&self) -> guild_cache::ShardCache {
        guild_cache::ShardCache::new(self.rules(), Arc::clone(&CODEC))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One shard's cache.
#[derive(Debug)]
pub struct ShardCache {
    settings: CacheSettings,
    contents: RwLock<Contents>,
    published: Mutex<Published>,
}

/// What reports need. Reports must not wait for the cache, which is locked while a guild is read or compressed: the lease depends on
/// reports.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    figures: Figures,
    doubt: Option<ShardDoubt>,
}

/// What a report says of the cache, all of one moment.
pub(crate) struct CacheReport {
    /// See [`ShardCache::figures`].
    pub(crate) figures: (u32, Option<u64>, Option<u32>, Option<u32>),
    /// See [`ShardCache::pending_guilds`].
    pub(crate) pending: u32,
    /// Guilds whose figures are missing or may be wrong; at least 1 while anything is in doubt.
    pub(crate) uncertain: u32,
}

/// The contents, locked for a change. Publishes their figures on drop.
struct Changing<'a> {
    contents: RwLockWriteGuard<'a, Contents>,
    published: &'a Mutex<Published>,
}

impl Deref for Changing<'_> {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Contents {
        &mut self.contents
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let cache = &self.contents.cache;
        *lock(self.published) = Published { figures: cache.figures(), doubt: cache.shard_doubt() };
    }
}

fn lock(published: &Mutex<Published>) -> MutexGuard<'_, Published> {
    published.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cached contents of one session.
#[derive(Debug)]
struct Contents {
    cache: guild_cache::ShardCache,
    /// Number of records of members for each guild, in formats 1 and 2. Fixed when they are first written or read.
    old_blocks: HashMap<u64, u32>,
    /// The last part of a copy was made. It names the blocks, so none may be split or joined any more.
    is_handed_over: bool,
}

impl ShardCache {
    /// An empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        let contents =
            Contents { cache: settings.empty(), old_blocks: HashMap::new(), is_handed_over: false };
        Self { settings, contents: RwLock::new(contents), published: Mutex::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> Changing<'_> {
        let contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        Changing { contents, published: &self.published }
    }

    fn published(&self) -> Published {
        *lock(&self.published)
    }

    /// What the shard asks Discord for.
    pub fn intents(&self) -> Intents {
        self.settings.intents
    }

    /// Begins to read records for a cache with these settings.
    pub(crate) fn restoring(&self) -> Restoring {
        Restoring::new(&self.settings)
    }

    /// Whether the cache uses events of this name.
    pub(crate) fn uses(&self, name: &str) -> bool {
        guild_cache::is_used(name, self.settings.resources.0)
    }

    /// Forgets everything and waits for the guilds of a new session.
    pub(crate) fn begin_session(&self, session: u64, start: &SessionGuilds) {
        let mut contents = self.write();
        contents.cache.begin_session(session, start);
        contents.old_blocks = HashMap::new();
        contents.is_handed_over = false;
    }

    /// Applies an event of the session. `data`: the text of its field `d`. An event that was already in the records from which this cache
    /// was restored changes nothing.
    pub(crate) fn apply(&self, name: &str, data: &str, sequence: u64) -> Applied {
        self.write().cache.apply(name, data, sequence)
    }

    /// Compresses changed blocks, unless the last part of a copy was made. Must be called about once a second.
    pub(crate) async fn seal(&self, now_unix_ms: u64) {
        let mut slice = TimeSlice::begin();
        let open = self.read().cache.open_parts();
        for _ in 0..open {
            // The lock is released after each part, because other tasks need the cache too.
            if !self.seal_next() {
                break;
            }
            slice.yield_if_over().await;
        }
        let mut contents = self.write();
        if !contents.is_handed_over {
            contents.cache.seal(now_unix_ms);
        }
    }

    fn seal_next(&self) -> bool {
        let mut contents = self.write();
        !contents.is_handed_over && contents.cache.seal_next()
    }

    /// Replaces the contents by the prepared ones.
    pub(crate) fn adopt(&self, prepared: Prepared) {
        let Prepared { cache, old_blocks, .. } = prepared;
        let contents = Contents { cache, old_blocks, is_handed_over: false };
        let old = std::mem::replace(&mut *self.write(), contents);
        // Dropped after the lock is released.
        drop(old);
    }

    /// Notes that an event could not be read: its `guild`, or all guilds if that is unknown, are in doubt.
    pub(crate) fn doubt_event(&self, guild: Option<u64>) {
        self.write().cache.doubt_event(guild);
    }

    /// Notes that an event of `guild` came that the cache does not use.
    pub(crate) fn note_guild(&self, guild: u64, sequence: u64) {
        self.write().cache.note_guild(guild, sequence);
    }

    /// Notes that events of the session are missing: everything is in doubt until the next session.
    pub(crate) fn doubt_everything(&self) {
        self.write().cache.doubt_everything();
    }

    /// Why something missing from the cache may exist all the same; `None` when it does not.
    pub(crate) fn doubt(&self) -> Option<String> {
        let Published { figures: Figures { pending, .. }, doubt } = self.published();
        (pending > 0)
            .then(|| format!("{pending} guilds have not come yet"))
            .or_else(|| doubt.map(|doubt| doubt.as_str().to_owned()))
    }

    /// What a checkpoint says of [`ShardCache::doubt`].
    pub(crate) fn doubt_code(&self) -> u32 {
        self.published().doubt.map_or(0, |doubt| doubt as u32)
    }

    /// Guilds that the session's READY named and that are still to come.
    pub fn pending_guilds(&self) -> usize {
        self.published().figures.pending as usize
    }

    /// The shard's figures; `None` for one that the intents do not tell.
    pub fn figures(&self) -> (u32, Option<u64>, Option<u32>, Option<u32>) {
        self.figures_of(&self.published().figures)
    }

    fn figures_of(&self, figures: &Figures) -> (u32, Option<u64>, Option<u32>, Option<u32>) {
        let with = |intent: Intents| self.settings.intents.contains(intent);
        (
            figures.guilds,
            with(Intents::GUILDS).then_some(figures.members),
            with(Intents::GUILDS).then_some(figures.channels),
            with(Intents::GUILDS | Intents::GUILD_VOICE_STATES).then_some(figures.voice_connections),
        )
    }

    /// What a report says of the cache.
    pub(crate) fn report(&self) -> CacheReport {
        let Published { figures, doubt } = self.published();
        CacheReport {
            figures: self.figures_of(&figures),
            pending: figures.pending,
            uncertain: figures.uncertain.max(doubt.is_some().into()),
        }
    }

    /// Name and counts of a guild.
    pub fn guild(&self, id: u64) -> Option<GuildInfo> {
        self.read().cache.guild(id)
    }

    /// Why these parts of a guild of the shard may be missing or out of date; `None` when they are not in doubt.
    pub(crate) fn doubt_of(&self, guild: u64, parts: Doubt) -> Option<String> {
        self.guild_and_doubt(guild, parts)?.1
    }

    /// Name and counts of a guild, and why these parts of it may be missing or out of date, both at one moment.
    pub(crate) fn guild_and_doubt(&self, guild: u64, parts: Doubt) -> Option<(GuildInfo, Option<String>)> {
        let contents = self.read();
        let known = contents.cache.guild(guild)?;
        let doubt = if known.members.is_none() {
            Some(format!("guild {guild} has not come yet, or has had an outage since the shard started"))
        } else if known.doubt.has(parts) {
            Some(format!("parts or events of guild {guild} could not be read, or events are missing"))
        } else {
            // The event may have been one of this guild.
            let doubt = contents.cache.shard_doubt().filter(|doubt| *doubt == ShardDoubt::Event);
            doubt.map(|doubt| doubt.as_str().to_owned())
        };
        Some((known, doubt))
    }

    /// The guilds that `is_asked` selects: those that can be shown, and those in an outage or that have not come yet.
    pub(crate) fn guilds_for_clients(&self, is_asked: impl Fn(u64) -> bool) -> (u64, Vec<u64>, Vec<u64>) {
        let contents = self.read();
        let mut guilds: Vec<u64> =
            contents.cache.guild_ids().into_iter().filter(|guild| is_asked(*guild)).collect();
        guilds.sort_unstable();
        let is_present = |guild: &u64| {
            contents.cache.guild(*guild).is_some_and(|known| !known.is_unavailable && !known.is_pending)
        };
        let (present, absent) = guilds.into_iter().partition(is_present);
        (contents.cache.session(), present, absent)
    }

    /// The session, the sequences of the last events in a guild and in its members, and the data of its GUILD_CREATE for a client,
    /// all of one moment. `None`: the bot has left it, or it has an outage.
    pub(crate) fn guild_for_client(&self, guild: u64, view: &ClientView) -> (u64, u64, u64, Option<String>) {
        let contents = self.read();
        let cache = &contents.cache;
        let is_present = cache.guild(guild).is_some_and(|known| !known.is_unavailable && !known.is_pending);
        let data = if is_present { cache.guild_create(guild) } else { None };
        let stamps = (cache.session(), cache.stamp(guild), cache.members_stamp(guild));
        // The text is cut to the client's view without the lock.
        drop(contents);
        (stamps.0, stamps.1, stamps.2, data.map(|data| guild_create_for(&data, view, true)))
    }

    /// Members of a guild as Discord answers a request for them; `None` when the cache may lack one of them.
    pub(crate) fn members_for_clients(&self, guild: u64, request: MemberRequest) -> Option<MemberChunks> {
        let has = |resource, intent| self.keeps(resource) && self.settings.intents.contains(intent);
        if !has(Resources::MEMBERS, Intents::GUILD_MEMBERS)
            || request.presences && !has(Resources::PRESENCES, Intents::GUILD_PRESENCES)
        {
            return None;
        }
        let contents = self.read();
        let known = contents.cache.guild(guild).filter(|known| !known.is_unavailable && !known.is_pending)?;
        let is_complete = known.members == Some(known.cached_members)
            && !known.doubt.has(Doubt::MEMBERS)
            && contents.cache.shard_doubt().is_none();
        // A search reads all members: of many it is Discord's.
        let is_cheap = request.query.is_empty() || known.cached_members <= MOST_SEARCHED_MEMBERS;
        (is_complete && is_cheap).then(|| contents.cache.member_chunks(guild, request))
    }

    /// A user's name, when the cache has it.
    pub fn username(&self, id: u64) -> Option<String> {
        if !self.settings.resources.users() {
            return None;
        }
        self.read().cache.username(id)
    }

    /// Why a user that is not in the cache may be on the shard all the same; `None` when it is not.
    pub fn users_doubt(&self) -> Option<String> {
        if !self.settings.resources.users() {
            return Some("users are not cached (CACHE)".to_owned());
        }
        if !self.settings.intents.contains(Intents::GUILD_MEMBERS) {
            return Some("the user cache is partial: the GUILD_MEMBERS intent is off (INTENTS)".to_owned());
        }
        let Published { figures, doubt } = self.published();
        if figures.unknown > 0 {
            return Some(format!("{} guilds have not come yet, or are in an outage", figures.unknown));
        }
        if let Some(doubt) = doubt {
            return Some(doubt.as_str().to_owned());
        }
        if figures.lacking_members > 0 {
            return Some("members of some guilds could not be read".to_owned());
        }
        let (cached, members) = (figures.cached_members, figures.members);
        (cached < members).then(|| {
            format!("the user cache is partial: it holds {cached} of {members} members of its guilds")
        })
    }

    /// The guilds that are still pending; with `all`, every guild.
    pub(crate) fn guilds_to_expect(&self, all: bool) -> Vec<u64> {
        let contents = self.read();
        if all { contents.cache.guild_ids() } else { contents.cache.pending_guilds() }
    }

    /// The bot's own user as Discord's object, when it is kept.
    pub(crate) fn own_user_text(&self) -> Option<Bytes> {
        self.read().cache.own_user().map(|user| Bytes::copy_from_slice(user.as_bytes()))
    }

    fn keeps(&self, resource: Resources) -> bool {
        self.settings.resources.0.has(resource)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn figures_do_not_wait_for_a_change() {
        let cache = Arc::new(ShardCache::new(CacheSettings {
            resources: "guilds,channels".parse().unwrap(),
            messages_per_channel: 0,
            message_lifetime: None,
            intents: Intents::GUILDS,
        }));
        cache.apply("GUILD_CREATE", r#"{"id":"7","name":"seven","member_count":3,"channels":[]}"#, 2);
        let changing = cache.write();
        let (answers, answer) = mpsc::channel();
        let asked = cache.clone();
        thread::spawn(move || {
            answers.send((asked.figures().0, asked.pending_guilds(), asked.report().uncertain))
        });
        let waited = answer.recv_timeout(Duration::from_secs(10));
        drop(changing);
        assert_eq!(waited.expect("figures are available while the cache is locked"), (1, 0, 0));
    }
}
