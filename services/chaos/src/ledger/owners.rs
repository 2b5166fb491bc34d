//! One owner a shard: once a higher epoch has begun, a lower one starts nothing; one epoch has one process.

use std::collections::BTreeMap;

use super::{Rules, TwoOwners};
use crate::line::{Book, Line};

/// Events of a shard that a worker started whose time was over.
pub(super) fn two_owners(books: &[Book], rules: Rules) -> Vec<TwoOwners> {
    // By shard and epoch: the first start, and by which book.
    let mut began: BTreeMap<(u32, u64), (u64, usize)> = BTreeMap::new();
    let mut found = Vec::new();
    let each = || {
        books.iter().enumerate().flat_map(|(by, book)| {
            book.lines.iter().filter_map(move |line| match line {
                Line::Start(start) => Some((by, start)),
                Line::End(_) | Line::Gap(_) | Line::Death(_) => None,
            })
        })
    };
    for (by, start) in each() {
        let first = began.entry((start.place.shard, start.place.epoch)).or_insert((start.at_us, by));
        *first = (*first).min((start.at_us, by));
    }
    // By shard and epoch: when the first of the higher ones began, and which.
    let mut over: BTreeMap<(u32, u64), (u64, u64)> = BTreeMap::new();
    let mut above: Option<(u32, (u64, u64))> = None;
    for ((shard, epoch), (at, _)) in began.iter().rev() {
        let higher = above.filter(|(of, _)| of == shard).map(|(_, first)| first);
        if let Some(higher) = higher {
            over.insert((*shard, *epoch), higher);
        }
        let own = (*at, *epoch);
        above = Some((*shard, higher.map_or(own, |higher| higher.min(own))));
    }
    for (by, start) in each() {
        let place = start.place;
        let (began_us, owner) = began[&(place.shard, place.epoch)];
        let loser = over.get(&(place.shard, place.epoch));
        let late = loser.filter(|(at, _)| start.at_us > at.saturating_add(rules.loser_window_us));
        let of_another = (owner != by).then_some((began_us, place.epoch));
        if let Some((other_began_us, other_epoch)) = late.copied().or(of_another) {
            found.push(TwoOwners {
                by: books[by].process.clone(),
                place,
                at_us: start.at_us,
                other_epoch,
                other_began_us,
            });
        }
    }
    found
}
