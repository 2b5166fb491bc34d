//! Removes overlaps from the blocks of one list. A writer that stopped between two steps leaves such overlaps. For each id, the newest block
//! that may hold it counts.
//!
//! Only blocks that newer blocks cover in part are unpacked, one at a time.

use std::{cmp::Reverse, collections::BTreeMap};

use super::Piece;
use crate::{block::Block, codec::Codec};

/// Returns the blocks of a list in order, without overlaps. Adds the `low` of each block that was cut, left out or made to
/// `touched`.
pub(super) fn without_overlaps(
    mut pieces: Vec<(u64, Piece)>,
    codec: &Codec,
    touched: &mut Vec<u64>,
) -> Vec<(u64, Piece)> {
    if !pieces.windows(2).any(|pair| pair[0].1.high > pair[1].0) {
        return pieces;
    }
    pieces.sort_by_key(|(low, piece)| Reverse((piece.stamp, *low)));
    // The ids that newer blocks may hold: the first and the last id of each run.
    let mut covered: BTreeMap<u64, u64> = BTreeMap::new();
    let mut kept = Vec::with_capacity(pieces.len());
    for (low, piece) in pieces {
        let last = if piece.high == u64::MAX { u64::MAX } else { piece.high - 1 };
        let gaps = gaps(&covered, low, last);
        cover(&mut covered, low, last);
        if gaps == [(low, last)] {
            kept.push((low, piece));
            continue;
        }
        touched.push(low);
        if gaps.is_empty() {
            continue;
        }
        let mut entries = Vec::new();
        piece.block.each(codec, |id, text| entries.push((id, text.to_owned())));
        for (first, last) in gaps {
            let is_inside = |id: u64| (first..=last).contains(&id);
            let inside: Vec<(u64, &str)> = entries
                .iter()
                .filter(|(id, _)| is_inside(*id))
                .map(|(id, text)| (*id, text.as_str()))
                .collect();
            if !inside.is_empty() {
                let block = Block::pack(first, inside.iter().copied(), codec);
                let voice = piece.voice.iter().filter(|(user, _)| is_inside(*user)).copied().collect();
                kept.push((first, Piece { high: last.saturating_add(1), stamp: piece.stamp, block, voice }));
                touched.push(first);
            }
        }
    }
    kept.sort_by_key(|(low, _)| *low);
    kept
}

/// The runs of ids from `low` to `last` that are not covered.
fn gaps(covered: &BTreeMap<u64, u64>, low: u64, last: u64) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut from = Some(low);
    let before = covered.range(..low).next_back().filter(|(_, end)| **end >= low);
    for (start, end) in before.into_iter().chain(covered.range(low..=last)) {
        let Some(first) = from else { break };
        if *start > first {
            gaps.push((first, start - 1));
        }
        from = end.checked_add(1).filter(|next| *next <= last);
    }
    gaps.extend(from.map(|first| (first, last)));
    gaps
}

/// Adds the ids from `low` to `last` to the covered runs.
fn cover(covered: &mut BTreeMap<u64, u64>, low: u64, last: u64) {
    let before = covered.range(..low).next_back().filter(|(_, end)| **end >= low);
    let (start, mut until) = before.map_or((low, last), |(start, end)| (*start, last.max(*end)));
    let inside: Vec<u64> = covered.range(low..=last).map(|(start, _)| *start).collect();
    for start in inside {
        until = until.max(covered.remove(&start).unwrap_or(last));
    }
    covered.insert(start, until);
}

#[cfg(test)]
mod tests;
