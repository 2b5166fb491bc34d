//! The objects of one kind of one guild, by id, in small blocks.
//!
//! A block holds the ids from its `low` up to the next block's `low`. The first block's `low` is 0. A block that grows is split, and a
//! block that shrinks joins the block before it, so memory follows the number of objects, even after hours of changes.

use crate::{
    block::{Block, Packed},
    codec::Codec,
};

/// A block with more text than this is split, unless it has only one object.
const LARGEST_TEXT: usize = 16 * 1024;
/// Blocks are joined only if together they have at most this much text.
const SMALL_TEXT: usize = LARGEST_TEXT / 2;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    blocks: Vec<Block>,
    count: u32,
}

/// The effects of a change on blocks.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// The `low` of each block that has changed or gone.
    pub(crate) lows: Vec<u64>,
    /// The `low` of each block that was opened.
    pub(crate) opened: Vec<u64>,
    /// Approximate bytes of text that were opened.
    pub(crate) bytes: usize,
}

/// A block as a record holds it.
#[derive(Debug)]
pub(crate) struct Range<'a> {
    /// The first id that belongs to the next block; `u64::MAX` when there is none.
    pub(crate) high: u64,
    pub(crate) packed: Packed<'a>,
}

impl List {
    /// Compresses objects, which are in the order of their ids, at most `per_block` in a block.
    pub(crate) fn build(entries: &[(u64, &str)], per_block: usize, codec: &Codec) -> Self {
        let mut blocks = Vec::new();
        let mut rest = entries;
        while !rest.is_empty() {
            let (mut count, mut size) = (0, 0);
            while let Some((_, text)) = rest.get(count)
                && count < per_block
                && (count == 0 || size + text.len() <= LARGEST_TEXT)
            {
                size += text.len();
                count += 1;
            }
            let (these, others) = rest.split_at(count);
            let low = if blocks.is_empty() { 0 } else { these[0].0 };
            blocks.push(Block::pack(low, these.iter().copied(), codec));
            rest = others;
        }
        blocks.shrink_to_fit();
        Self { blocks, count: entries.len() as u32 }
    }

    /// Makes a list from checked blocks. They must be in order and must not overlap, and the first block's `low` must be 0.
    pub(crate) fn from_blocks(mut blocks: Vec<Block>) -> Self {
        blocks.shrink_to_fit();
        let count = blocks.iter().map(Block::count).sum::<usize>() as u32;
        Self { blocks, count }
    }

    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// The ids, in order.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.blocks.iter().flat_map(Block::ids)
    }

    fn place(&self, id: u64) -> usize {
        self.blocks.partition_point(|block| block.low <= id).saturating_sub(1)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.blocks.get(self.place(id)).is_some_and(|block| block.contains(id))
    }

    pub(crate) fn get(&self, id: u64, codec: &Codec) -> Option<String> {
        self.blocks.get(self.place(id))?.get(id, codec)
    }

    /// Calls `with` with each object that has a text, in order.
    pub(crate) fn each(&self, codec: &Codec, mut with: impl FnMut(u64, &str)) {
        self.blocks.iter().for_each(|block| block.each(codec, &mut with));
    }

    /// Calls `with` with each object from this id on that has a text, in order, until it returns false.
    pub(crate) fn each_from(&self, from: u64, codec: &Codec, mut with: impl FnMut(u64, &str) -> bool) {
        for block in self.blocks.iter().skip(self.place(from)) {
            let mut goes_on = true;
            block.each(codec, |id, text| {
                if goes_on && id >= from {
                    goes_on = with(id, text);
                }
            });
            if !goes_on {
                return;
            }
        }
    }

    /// Adds or replaces an object. Returns whether it is new.
    pub(crate) fn put(
        &mut self,
        id: u64,
        text: &str,
        per_block: usize,
        codec: &Codec,
        touched: &mut Touched,
    ) -> bool {
        if self.blocks.is_empty() {
            self.blocks.reserve_exact(1);
            self.blocks.push(Block::empty(0));
        }
        let place = self.place(id);
        let is_last = place + 1 == self.blocks.len();
        let block = &mut self.blocks[place];
        let low = block.low;
        let before = block.size();
        let (open, was_closed) = block.open(codec);
        let is_new = open.put(id, text);
        let (count, is_at_end) = (open.len(), is_last && open.last_id() == Some(id));
        touched.note(
            low,
            was_closed,
            if was_closed { block.size() } else { block.size().saturating_sub(before) },
        );
        self.count += u32::from(is_new);
        // If ids only grow, each block is filled before the next one begins.
        self.split(place, if is_at_end { count - 1 } else { count / 2 }, per_block, codec, touched);
        is_new
    }

    /// Splits an open block until each part is small. The first split is before object `at`.
    fn split(&mut self, place: usize, mut at: usize, per_block: usize, codec: &Codec, touched: &mut Touched) {
        let (mut place, mut end) = (place, place + 1);
        while place < end {
            let block = &mut self.blocks[place];
            let count = block.count();
            let is_large = count > 1 && (count > per_block || block.size() > LARGEST_TEXT);
            let Some(next) = is_large.then(|| block.open(codec).0.split_off(at)).flatten() else {
                place += 1;
                at = self.blocks.get(place).map_or(0, Block::count) / 2;
                continue;
            };
            touched.note(next.low, true, 0);
            // Growing by an eighth leaves little unused room and copies rarely.
            if self.blocks.len() == self.blocks.capacity() {
                self.blocks.reserve_exact(self.blocks.len() / 8 + 1);
            }
            at = self.blocks[place].count() / 2;
            self.blocks.insert(place + 1, next);
            end += 1;
        }
    }

    /// Replaces an object's text by the result of `with`; `None` changes nothing. Returns whether there is such an object with a text.
    pub(crate) fn update(
        &mut self,
        id: u64,
        per_block: usize,
        codec: &Codec,
        touched: &mut Touched,
        with: impl FnOnce(&str) -> Option<String>,
    ) -> bool {
        let place = self.place(id);
        let Some(block) = self.blocks.get_mut(place).filter(|block| block.contains(id)) else { return false };
        let (open, was_closed) = block.open(codec);
        let Some(text) = open.get(id).filter(|text| !text.is_empty()) else { return false };
        let text = with(text);
        touched.note(block.low, was_closed, if was_closed { block.size() } else { 0 });
        if let Some(text) = text {
            self.put(id, &text, per_block, codec, touched);
        }
        true
    }

    /// Removes an object. Returns whether the list had the object.
    pub(crate) fn remove(&mut self, id: u64, codec: &Codec, touched: &mut Touched) -> bool {
        let place = self.place(id);
        let Some(block) = self.blocks.get_mut(place).filter(|block| block.contains(id)) else { return false };
        let (open, was_closed) = block.open(codec);
        open.remove(id);
        touched.note(block.low, was_closed, if was_closed { block.size() } else { 0 });
        self.count -= 1;
        true
    }

    /// Compresses the block with this `low` if it is open, and joins it to the block before it if both are small.
    pub(crate) fn seal(&mut self, low: u64, per_block: usize, codec: &Codec, touched: &mut Touched) {
        let place = self.place(low);
        let Some(block) = self.blocks.get(place).filter(|block| block.low == low) else { return };
        let (count, size) = (block.count(), block.size());
        if self.count == 0 {
            self.blocks = Vec::new();
            return;
        }
        if place == 0 {
            self.blocks[place].seal(codec);
            return;
        }
        let before = &self.blocks[place - 1];
        let is_small = before.count() + count <= per_block / 2 && before.size() + size <= SMALL_TEXT;
        if count > 0 && !is_small {
            self.blocks[place].seal(codec);
            return;
        }
        let gone = self.blocks.remove(place);
        touched.lows.push(gone.low);
        if count > 0 {
            let before = &mut self.blocks[place - 1];
            before.open(codec).0.append(gone, codec);
            before.seal(codec);
            touched.lows.push(before.low);
        }
        self.give_back();
    }

    /// Removes the first blocks as long as the other blocks hold at least `most` objects.
    pub(crate) fn keep_newest(&mut self, most: usize) {
        let (mut gone, mut left) = (0, self.len());
        while let Some(first) = self.blocks.get(gone)
            && left - first.count() >= most
        {
            left -= first.count();
            gone += 1;
        }
        self.remove_first(gone);
    }

    /// Removes the first blocks as long as all their ids are below `low`. Objects that share a block with a newer object stay, so that no block
    /// is opened.
    pub(crate) fn remove_below(&mut self, low: u64) {
        let is_below = |block: &&Block| block.ids().next_back().is_none_or(|last| last < low);
        self.remove_first(self.blocks.iter().take_while(is_below).count());
    }

    fn remove_first(&mut self, blocks: usize) {
        self.count -= self.blocks.drain(..blocks).map(|block| block.count() as u32).sum::<u32>();
        self.give_back();
    }

    /// Frees memory after many blocks were removed.
    fn give_back(&mut self) {
        if self.blocks.capacity() > self.blocks.len() * 2 {
            self.blocks.shrink_to_fit();
        }
    }

    /// Whether fewer than `most` objects have higher ids.
    pub(crate) fn is_among_newest(&self, id: u64, most: usize) -> bool {
        let place = self.place(id);
        let later: usize = self.blocks.iter().skip(place + 1).map(Block::count).sum();
        later < most
            && self
                .blocks
                .get(place)
                .is_some_and(|block| later + block.ids().rev().take_while(|other| *other > id).count() < most)
    }

    /// The `low` of each block.
    pub(crate) fn lows(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.iter().map(|block| block.low)
    }

    /// A block as its record holds it, compressed first if it is open; `None` when there is no such block or it is empty.
    pub(crate) fn range(&mut self, low: u64, codec: &Codec) -> Option<Range<'_>> {
        let place = self.place(low);
        let high = self.blocks.get(place + 1).map_or(u64::MAX, |next| next.low);
        let block = self.blocks.get_mut(place).filter(|block| block.low == low && block.count() > 0)?;
        block.seal(codec);
        Some(Range { high, packed: block.packed()? })
    }

    /// Bytes on the heap, without the allocator's overhead.
    pub(crate) fn memory(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Block::memory).sum();
        self.blocks.capacity() * size_of::<Block>() + blocks
    }
}

impl Touched {
    fn note(&mut self, low: u64, was_closed: bool, bytes: usize) {
        self.lows.push(low);
        self.bytes += bytes;
        if was_closed {
            self.opened.push(low);
        }
    }
}

#[cfg(test)]
mod tests;
