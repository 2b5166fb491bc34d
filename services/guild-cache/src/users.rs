//! The index of users: in which guilds of the shard a user is cached as a member. A table without pointers, with 12 bytes for each entry.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

/// The user in two halves, so that an entry takes 12 bytes, and the guild's slot.
type Entry = [u32; 3];

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Users {
    table: HashTable<Entry>,
    hasher: RandomState,
}

fn user_of(entry: &Entry) -> u64 {
    u64::from(entry[0]) << 32 | u64::from(entry[1])
}

fn entry_of(user: u64, slot: u32) -> Entry {
    [(user >> 32) as u32, user as u32, slot]
}

impl Users {
    /// Adds a member that is not in the table yet.
    pub(crate) fn add(&mut self, user: u64, slot: u32) {
        let Self { table, hasher } = self;
        table.insert_unique(hasher.hash_one(user), entry_of(user, slot), |entry| {
            hasher.hash_one(user_of(entry))
        });
    }

    pub(crate) fn remove(&mut self, user: u64, slot: u32) {
        let entry = entry_of(user, slot);
        if let Ok(found) = self.table.find_entry(self.hasher.hash_one(user), |known| *known == entry) {
            found.remove();
        }
    }

    /// Frees memory after many members were removed.
    pub(crate) fn shrink(&mut self) {
        if self.table.capacity() / 4 > self.table.len() {
            let Self { table, hasher } = self;
            table.shrink_to(table.len() * 2, |entry| hasher.hash_one(user_of(entry)));
        }
    }

    /// The slots of a user's guilds.
    pub(crate) fn slots(&self, user: u64) -> impl Iterator<Item = u32> + '_ {
        let found = self.table.iter_hash(self.hasher.hash_one(user));
        found.filter(move |entry| user_of(entry) == user).map(|entry| entry[2])
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of the table.
    pub(crate) fn memory(&self) -> usize {
        self.table.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_found_in_each_of_its_guilds() {
        let mut users = Users::default();
        for user in 1..=1_000_u64 {
            (0..(user % 3) as u32).for_each(|slot| users.add(user << 22, slot));
        }
        let of = |users: &Users, user: u64| {
            let mut slots: Vec<u32> = users.slots(user << 22).collect();
            slots.sort_unstable();
            slots
        };
        assert_eq!((of(&users, 3), of(&users, 4), of(&users, 5)), (vec![], vec![0], vec![0, 1]));
        users.remove(5 << 22, 0);
        users.remove(5 << 22, 7);
        assert_eq!(of(&users, 5), [1]);
    }

    #[test]
    fn memory_returns() {
        let mut users = Users::default();
        (1..=100_000).for_each(|user| users.add(user, 0));
        let full = users.memory();
        assert!(full < 100_000 * 30, "{full}");
        (1..=100_000).for_each(|user| users.remove(user, 0));
        users.shrink();
        assert!(users.len() == 0 && users.memory() < full / 100);
    }
}
