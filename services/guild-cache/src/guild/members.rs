//! Members: their objects, their number, and the index of users.
//!
//! While all members of a guild are cached, their number is the number of cached members. Otherwise it begins with the number in GUILD_CREATE
//! and changes once with each join and each departure, even if Discord repeats the event soon after.

use super::{Edit, Kind};
use crate::rules::MOST_MEMBERS;

impl Edit<'_> {
    /// Whether all members are cached, before this event is applied.
    fn are_all_cached(&self) -> bool {
        self.rules.keeps(Kind::Members)
            && self.sequence > self.guild.ahead
            && self.guild.members == Some(self.guild.list(Kind::Members).len() as u64)
    }

    pub(super) fn joined(&mut self, user: u64, text: &str) {
        let are_all_cached = self.are_all_cached();
        // A cached member was counted already, by the guild or by an earlier copy of this event.
        let was_counted = self.sequence > self.guild.ahead && self.guild.list(Kind::Members).contains(user);
        if !are_all_cached && !was_counted {
            self.count(user, true);
        }
        self.put_member(user, text);
        if are_all_cached {
            self.count_cached();
        }
    }

    pub(super) fn left(&mut self, user: u64) {
        let are_all_cached = self.are_all_cached();
        if !are_all_cached {
            self.count(user, false);
        }
        if self.remove(Kind::Members, user) {
            self.users.remove(user, self.slot);
        }
        self.remove(Kind::Presences, user);
        if are_all_cached {
            self.count_cached();
        }
    }

    pub(super) fn put_member(&mut self, user: u64, text: &str) {
        if self.put(Kind::Members, user, text) {
            self.users.add(user, self.slot);
        }
    }

    fn count_cached(&mut self) {
        let cached = self.guild.list(Kind::Members).len() as u64;
        if self.guild.members != Some(cached) {
            self.guild.members = Some(cached);
            self.note(Kind::Core, 0);
        }
    }

    fn count(&mut self, user: u64, came: bool) {
        let Some(members) = self.guild.members else { return };
        if !self.guild.moves.get_or_insert_default().note(user, came, self.sequence) {
            return;
        }
        let after = if came { (members + 1).min(MOST_MEMBERS) } else { members.saturating_sub(1) };
        self.guild.members = Some(after);
        self.note(Kind::Core, 0);
    }

    /// Adds all cached members to the index.
    pub(crate) fn index_users(&mut self) {
        let members = &self.guild.lists[Kind::Members.place()];
        members.ids().for_each(|user| self.users.add(user, self.slot));
    }

    /// Removes all cached members from the index.
    pub(crate) fn forget_users(&mut self) {
        let members = &self.guild.lists[Kind::Members.place()];
        members.ids().for_each(|user| self.users.remove(user, self.slot));
    }
}
