//! Which session joined voice in which guild through this worker. When a session ends, Discord takes the bot out of the voice channels
//! that the session joined; the fleet's sessions go on, so this worker does.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Guilds that are remembered; beyond, the oldest is forgotten.
const MOST: usize = 16_384;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Voice(Mutex<Joined>);

#[derive(Debug, Default)]
struct Joined {
    /// The last one that joined, and the number of the joining.
    by_guild: HashMap<u64, Join>,
    /// Guilds by the numbers of the joinings, oldest first. A guild that was joined or left meanwhile has another number.
    order: VecDeque<(u64, u64)>,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Join {
    /// The nonce of the session.
    session: u64,
    number: u64,
}

impl Voice {
    fn lock(&self) -> MutexGuard<'_, Joined> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session joins, or moves to another channel of the guild.
    pub(crate) fn join(&self, session: u64, guild: u64) {
        let mut joined = self.lock();
        joined.number += 1;
        let number = joined.number;
        joined.by_guild.insert(guild, Join { session, number });
        joined.order.push_back((guild, number));
        while joined.by_guild.len() > MOST || joined.order.len() > 2 * MOST {
            let Some((guild, number)) = joined.order.pop_front() else { break };
            if joined.by_guild.get(&guild).is_some_and(|join| join.number == number) {
                joined.by_guild.remove(&guild);
            }
        }
    }

    /// The number of the last joining of a guild.
    pub(crate) fn joining(&self, guild: u64) -> Option<u64> {
        self.lock().by_guild.get(&guild).map(|join| join.number)
    }

    /// The bot has left the guild's voice after this joining. A later one stays.
    pub(crate) fn left(&self, guild: u64, number: Option<u64>) {
        let mut joined = self.lock();
        if joined.by_guild.get(&guild).map(|join| join.number) == number {
            joined.by_guild.remove(&guild);
        }
    }

    /// A session has ended: the guilds that it was the last one to join.
    pub(crate) fn end(&self, session: u64) -> Vec<u64> {
        let mut joined = self.lock();
        joined.by_guild.extract_if(|_, join| join.session == session).map(|(guild, _)| guild).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_session_leaves_where_it_was_the_last_to_join() {
        let voice = Voice::default();
        for guild in [1, 2, 3, 4] {
            voice.join(7, guild);
        }
        voice.left(1, voice.joining(1));
        // It joins again before its leaving has gone out.
        let before = voice.joining(2);
        voice.join(7, 2);
        voice.left(2, before);
        voice.join(8, 3);
        let mut left = voice.end(7);
        left.sort_unstable();
        assert_eq!(left, [2, 4]);
        assert_eq!((voice.end(7), voice.end(8)), (vec![], vec![3]));
    }

    #[test]
    fn oldest_is_forgotten_beyond_the_bound() {
        let voice = Voice::default();
        for _ in 0..3 * MOST {
            voice.join(7, 1);
        }
        assert!(voice.lock().order.len() <= 2 * MOST);
        for guild in 2..=MOST as u64 + 1 {
            voice.join(7, guild);
        }
        assert_eq!((voice.joining(1), voice.lock().by_guild.len()), (None, MOST));
    }
}
