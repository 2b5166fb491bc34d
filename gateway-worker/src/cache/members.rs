//! The members of the shard's guilds, and their users. Pure.
//!
//! Members are kept per guild; a user goes with its last membership.

use std::collections::{HashMap, hash_map::Entry};

use twilight_cache_inmemory::{CacheableMember as _, model::CachedMember};
use twilight_model::{
    gateway::payload::incoming::MemberUpdate,
    guild::{Member, PartialMember},
    user::User,
};

#[derive(Debug, Default)]
pub(super) struct Members {
    guilds: HashMap<u64, HashMap<u64, CachedMember>>,
    users: HashMap<u64, Known>,
    /// Number of members of all guilds.
    total: u64,
    /// Restored guilds whose members may be ahead of their count, up to this event.
    ahead: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Known {
    user: User,
    /// Number of guilds with this user.
    guilds: u32,
}

impl Members {
    /// Notes that the guild's members, but not its count, include everything up to the event `sequence`.
    pub(super) fn are_ahead(&mut self, guild: u64, sequence: u64) {
        self.ahead.insert(guild, sequence);
    }

    /// Whether the members match the guild's count just before the event `sequence`.
    pub(super) fn match_count(&self, guild: u64, sequence: u64) -> bool {
        self.ahead.get(&guild).is_none_or(|ahead| sequence > *ahead)
    }

    /// Adds or replaces a member.
    pub(super) fn put(&mut self, guild: u64, member: &Member) {
        self.insert(guild, &member.user, CachedMember::from(member.clone()));
    }

    /// Adds the author of a message.
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

    /// Updates a known member.
    pub(super) fn update(&mut self, update: &MemberUpdate) {
        let (guild, id) = (update.guild_id.get(), update.user.id.get());
        if let Some(member) = self.guilds.get_mut(&guild).and_then(|members| members.get_mut(&id)) {
            member.update_with_member_update(update);
            if let Some(known) = self.users.get_mut(&id) {
                known.user = update.user.clone();
            }
        }
    }

    pub(super) fn remove(&mut self, guild: u64, user: u64) {
        if self.guilds.get_mut(&guild).and_then(|members| members.remove(&user)).is_some() {
            self.left(user);
        }
    }

    /// Forgets a guild's members.
    pub(super) fn forget(&mut self, guild: u64) {
        self.ahead.remove(&guild);
        let Some(members) = self.guilds.remove(&guild) else { return };
        for user in members.into_keys() {
            self.left(user);
        }
        // Guilds come and go: shrink the table with them.
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

    /// Known members of all guilds.
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
