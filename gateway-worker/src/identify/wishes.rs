//! The wishes that wait, and whether a permit that comes is still good. Pure but for the channel it answers on.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Epoch, ShardNumber, Term};

use super::Wish;
use crate::clock::BootTime;

/// The wishes, by ticket.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    next_ticket: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// The highest term that a permit came from.
    term: Term,
}

#[derive(Debug)]
struct Waiting {
    wish: Wish,
    /// When it was asked; `None` while there is nobody to ask.
    asked_at: Option<BootTime>,
}

/// A question for the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) ticket: u64,
    pub(super) shard: ShardNumber,
    pub(super) epoch: Epoch,
}

/// What became of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permitted {
    /// The connection identifies.
    Used,
    /// It must not be used: too late, from an older term, or nobody wants it any more.
    Unused(&'static str),
    /// No wish has this ticket.
    Unknown,
}

impl Wishes {
    /// Takes a wish in; it is asked with [`Wishes::unasked`].
    pub(super) fn add(&mut self, wish: Wish) {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, Waiting { wish, asked_at: None });
    }

    /// The wishes that nobody was asked yet. They count as asked now.
    pub(super) fn unasked(&mut self, now: BootTime) -> Vec<Ask> {
        let unasked = self.waiting.iter_mut().filter(|(_, waiting)| waiting.asked_at.is_none());
        unasked
            .map(|(&ticket, waiting)| {
                waiting.asked_at = Some(now);
                Ask { ticket, shard: waiting.wish.shard.number(), epoch: waiting.wish.shard.epoch() }
            })
            .collect()
    }

    /// The stream ended: every wish must be asked again, under a new ticket, as an answer to the old one may come yet.
    pub(super) fn ask_again(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting.into_values() {
            self.add(waiting.wish);
        }
    }

    /// One wish was refused: it is asked again with the next round.
    pub(super) fn ask_one_again(&mut self, ticket: u64) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            self.add(waiting.wish);
        }
    }

    /// The shard whose wish this is.
    pub(super) fn wish(&self, ticket: u64) -> Option<&Wish> {
        self.waiting.get(&ticket).map(|waiting| &waiting.wish)
    }

    /// A permit came, `valid_after_ask` good from when it was asked for.
    pub(super) fn permitted(
        &mut self,
        ticket: u64,
        valid_after_ask: Duration,
        term: Term,
        now: BootTime,
    ) -> Permitted {
        if term < self.term {
            return Permitted::Unused("it comes from an older term");
        }
        self.term = term;
        let Some(Waiting { wish, asked_at }) = self.waiting.remove(&ticket) else {
            return Permitted::Unknown;
        };
        let in_time = asked_at.is_some_and(|asked_at| now <= asked_at.after(valid_after_ask));
        if !in_time || !wish.lease.is_open(now) {
            // The connection still waits: it asks again.
            self.add(wish);
            return Permitted::Unused("it came too late");
        }
        wish.shard.set_status(fleet_model::ShardStatus::Identifying, "");
        match wish.go.send(()) {
            Ok(()) => Permitted::Used,
            Err(()) => Permitted::Unused("nobody wants it any more"),
        }
    }

    /// Forgets the wishes of connections that are gone; these tickets are to be cancelled.
    pub(super) fn abandoned(&mut self) -> Vec<u64> {
        let gone: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.wish.go.is_closed())
            .map(|(&ticket, _)| ticket)
            .collect();
        for ticket in &gone {
            self.waiting.remove(ticket);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Notify, oneshot};
    use twilight_model::gateway::Intents;

    use super::*;
    use crate::{
        cache::{CacheSettings, ShardCache},
        lease::Lease,
        shard::Shard,
    };

    const VALID: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> BootTime {
        BootTime::from_millis(ms)
    }

    /// A wish under a lease that is open until 100 s.
    fn wish() -> (Wish, oneshot::Receiver<()>) {
        let cache = ShardCache::new(CacheSettings {
            resources: "none".parse().unwrap(),
            messages_per_channel: 0,
            intents: Intents::empty(),
        });
        let shard = Shard::new(ShardNumber(3), Epoch(7), 4, cache, Arc::new(Notify::new()));
        let lease = Lease::default();
        lease.renewed(at(0), Duration::from_secs(125));
        let (go, gone) = oneshot::channel();
        (Wish { shard: Arc::new(shard), lease: lease.window().clone(), go }, gone)
    }

    #[test]
    fn a_permit_in_time_lets_the_shard_go() {
        let mut wishes = Wishes::default();
        let (wish, mut gone) = wish();
        wishes.add(wish);
        let asks = wishes.unasked(at(1_000));
        assert_eq!(asks, [Ask { ticket: 1, shard: ShardNumber(3), epoch: Epoch(7) }]);
        assert!(wishes.unasked(at(1_001)).is_empty(), "asked once");
        assert_eq!(wishes.permitted(1, VALID, Term(1), at(3_000)), Permitted::Used);
        assert_eq!(gone.try_recv(), Ok(()));
        assert_eq!(wishes.permitted(1, VALID, Term(1), at(3_000)), Permitted::Unknown);
    }

    #[test]
    fn a_permit_that_lay_in_a_buffer_is_dead_and_the_wish_is_not() {
        let mut wishes = Wishes::default();
        let (wish, mut gone) = wish();
        wishes.add(wish);
        wishes.unasked(at(1_000));
        assert!(matches!(wishes.permitted(1, VALID, Term(1), at(3_001)), Permitted::Unused(_)));
        assert!(gone.try_recv().is_err());
        assert_eq!(wishes.unasked(at(3_001)).len(), 1);
    }

    #[test]
    fn a_permit_of_an_older_term_or_past_the_lease_is_none() {
        let mut wishes = Wishes::default();
        let (first, _gone) = wish();
        wishes.add(first);
        wishes.unasked(at(0));
        assert_eq!(wishes.permitted(9, VALID, Term(5), at(0)), Permitted::Unknown);
        assert!(matches!(wishes.permitted(1, VALID, Term(4), at(0)), Permitted::Unused(_)));
        let late = Duration::from_secs(1_000);
        assert!(matches!(wishes.permitted(1, late, Term(5), at(100_000)), Permitted::Unused(_)));
    }

    #[test]
    fn a_wish_whose_connection_is_gone_is_cancelled() {
        let mut wishes = Wishes::default();
        let (wish, gone) = wish();
        wishes.add(wish);
        wishes.unasked(at(0));
        drop(gone);
        assert_eq!(wishes.abandoned(), [1]);
        assert_eq!(wishes.abandoned(), [] as [u64; 0]);
    }
}
