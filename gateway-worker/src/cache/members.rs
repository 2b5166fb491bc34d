//! The members of the shard's guilds, and the users that they are. Pure.
//!
//! Membership is by guild: a user is known as long as it is a member of a guild that is, and goes with the last of them.

use std::collections::{HashMap, hash_map::Entry};

use twilight_cache_inmemory::{CacheableMember as _, model::CachedMember};
use twilight_model::{
    gateway::payload::incoming::MemberUpdate,
    guild::{Member, PartialMember},
    user::User,
};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Members {
    guilds: HashMap<u64, HashMap<u64, CachedMember>>,
    users: HashMap<u64, Known>,
    /// Of all guilds together.
    total: u64,
    /// Up to which event the members of a restored guild may be ahead of its count.
    ahead: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Known {
    user: User,
    /// In how many guilds it is.
    guilds: u32,
}

impl Members {
    /// The guild's members are those after the event `sequence`, whatever its count is.
    pub(super) fn are_ahead(&mut self, guild: u64, sequence: u64) {
        self.ahead.insert(guild, sequence);
    }

    /// Whether the members are those that the guild's count counts, just before the event `sequence`.
    pub(super) fn match_count(&self, guild: u64, sequence: u64) -> bool {
        self.ahead.get(&guild).is_none_or(|ahead| sequence > *ahead)
    }

    /// A member, new or as it is now.
    pub(super) fn put(&mut self, guild: u64, member: &Member) {
        self.insert(guild, &member.user, CachedMember::from(member.clone()));
    }

    /// What a message says of its author.
    pub(super) fn put_partial(&mut self, guild: u64, user: &User, member: &PartialMember) {
        self.insert(guild, user, CachedMember::from((user.id, member.clone())));
    }

    fn insert(&mut self, guild: u64, user: &User, member: CachedMember) {
        let id = user.id.get();
        let is_new = self.guilds.entry(guild).or_default().insert(id, member).is_none();
        self.total += u64::from(is_new);
        let known = self.users.entry(id).or_insert_with(|| Known { user: user.clone(), guilds: 0 });
        known.guilds += u32::from(is_new);
        if known.user != *user {
            known.user = user.clone();
        }
    }

    /// A known member has changed.
    pub(super) fn update(&mut self, update: &MemberUpdate) {
        let (guild, id) = (update.guild_id.get(), update.user.id.get());
        if let Some(member) = self.guilds.get_mut(&guild).and_then(|members| members.get_mut(&id)) {
            member.update_with_member_update(update);
            if let Some(known) = self.users.get_mut(&id) {
                known.user = update.user.clone();
            }
        }
    }

    /// It is not a member any more.
    pub(super) fn remove(&mut self, guild: u64, user: u64) {
        if self.guilds.get_mut(&guild).and_then(|members| members.remove(&user)).is_some() {
            self.left(user);
        }
    }

    /// Nothing is known of the guild's members any more.
    pub(super) fn forget(&mut self, guild: u64) {
        self.ahead.remove(&guild);
        let Some(members) = self.guilds.remove(&guild) else { return };
        for user in members.into_keys() {
            self.left(user);
        }
        // Guilds come and go: a table does not stay as large as it ever was.
        if self.users.capacity() / 4 > self.users.len() {
            self.users.shrink_to(self.users.len() * 2);
        }
    }

    fn left(&mut self, user: u64) {
        self.total -= 1;
        if let Entry::Occupied(mut known) = self.users.entry(user) {
            known.get_mut().guilds -= 1;
            if known.get().guilds == 0 {
                known.remove();
            }
        }
    }

    /// Known members, of all guilds together.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Known members of a guild.
    pub(super) fn count(&self, guild: u64) -> u64 {
        self.guilds.get(&guild).map_or(0, |members| members.len() as u64)
    }

    pub(super) fn of(&self, guild: u64) -> impl Iterator<Item = (u64, &CachedMember)> {
        self.guilds.get(&guild).into_iter().flatten().map(|(user, member)| (*user, member))
    }

    pub(super) fn get(&self, guild: u64, user: u64) -> Option<&CachedMember> {
        self.guilds.get(&guild)?.get(&user)
    }

    #[cfg(test)]
    pub(super) fn known_users(&self) -> usize {
        self.users.len()
    }

    #[cfg(test)]
    pub(super) fn room_for_users(&self) -> usize {
        self.users.capacity()
    }

    pub(super) fn user(&self, id: u64) -> Option<&User> {
        Some(&self.users.get(&id)?.user)
    }
}
