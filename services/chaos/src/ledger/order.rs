//! Order within a guild: on one owner an event starts when the one before it has ended, and never before its turn.

use std::collections::BTreeMap;

use super::Backwards;
use crate::line::{Book, Line, Place};

/// How far a guild is.
#[derive(Default)]
struct Lane {
    running: Option<Place>,
    last: Option<Place>,
}

/// Fresh events of a guild that started out of turn.
pub(super) fn backwards(books: &[Book]) -> Vec<Backwards> {
    let mut found = Vec::new();
    for book in books {
        // A process writes its lines in the order in which things happened.
        let mut lanes: BTreeMap<(u32, u64, u64), Lane> = BTreeMap::new();
        let mut guilds: BTreeMap<Place, u64> = BTreeMap::new();
        for line in &book.lines {
            match line {
                Line::Start(start) if !start.replayed => {
                    let Some(guild) = start.guild else { continue };
                    let place = start.place;
                    guilds.insert(place, guild);
                    let lane = lanes.entry((place.shard, place.epoch, guild)).or_default();
                    let position = |place: Place| (place.session, place.sequence);
                    let before =
                        lane.running.or_else(|| lane.last.filter(|last| position(*last) >= position(place)));
                    if let Some(before) = before {
                        found.push(Backwards { by: book.process.clone(), guild, before, started: place });
                    }
                    *lane = Lane { running: Some(place), last: Some(place) };
                }
                Line::End(end) => {
                    let Some(guild) = guilds.remove(&end.place) else { continue };
                    let lane = lanes.entry((end.place.shard, end.place.epoch, guild)).or_default();
                    lane.running = lane.running.filter(|running| *running != end.place);
                }
                Line::Start(_) | Line::Gap(_) | Line::Death(_) => {}
            }
        }
    }
    found
}
