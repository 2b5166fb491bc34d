//! The objects of one kind of one guild, by id, in blocks of a few.
//!
//! A block holds the ids from its `low` up to the next block's; the first one's is 0. A block that grows is split and a block that shrinks
//! joins the one before it, so memory follows the number of objects, also after hours of changes.

use crate::{
    block::{Block, Packed},
    codec::Codec,
};

/// A block with more text than this is split, down to one object.
const LARGEST_TEXT: usize = 16 * 1024;
/// Blocks are joined only if they have less text than this together.
const SMALL_TEXT: usize = LARGEST_TEXT / 2;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    blocks: Vec<Block>,
    count: u32,
}

/// What a change did to blocks.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// The blocks that have changed or gone, by their `low`.
    pub(crate) lows: Vec<u64>,
    /// The blocks that are open now and were not.
    pub(crate) opened: Vec<u64>,
    /// Bytes of text that are open now and were not, about.
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
    /// Compresses objects, which come in the order of their ids, `per_block` together.
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

    /// Takes blocks over that were checked: in order, not overlapping, the first one's `low` being 0.
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
        // Ids that only grow fill their blocks.
        self.split(place, if is_at_end { count - 1 } else { count / 2 }, per_block, codec, touched);
        is_new
    }

    /// Splits an open block until each part is small, at first before its object `at`.
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
            // Growing by an eighth keeps the room that is not used small, and the copies few.
            if self.blocks.len() == self.blocks.capacity() {
                self.blocks.reserve_exact(self.blocks.len() / 8 + 1);
            }
            at = self.blocks[place].count() / 2;
            self.blocks.insert(place + 1, next);
            end += 1;
        }
    }

    /// Replaces an object by what `with` makes of it, unless that is `None`. Returns whether there is such an object with a text.
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

    /// Removes an object. Returns whether there was one.
    pub(crate) fn remove(&mut self, id: u64, codec: &Codec, touched: &mut Touched) -> bool {
        let place = self.place(id);
        let Some(block) = self.blocks.get_mut(place).filter(|block| block.contains(id)) else { return false };
        let (open, was_closed) = block.open(codec);
        open.remove(id);
        touched.note(block.low, was_closed, if was_closed { block.size() } else { 0 });
        self.count -= 1;
        true
    }

    /// Compresses the block with this `low` if it is open, and joins it to the one before if both are small.
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

    /// Removes the first blocks as long as the others hold `most` objects.
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

    /// Removes the first blocks as long as all their ids are below `low`. No block is opened: objects that share one with a newer object
    /// stay.
    pub(crate) fn remove_below(&mut self, low: u64) {
        let is_below = |block: &&Block| block.ids().next_back().is_none_or(|last| last < low);
        self.remove_first(self.blocks.iter().take_while(is_below).count());
    }

    fn remove_first(&mut self, blocks: usize) {
        self.count -= self.blocks.drain(..blocks).map(|block| block.count() as u32).sum::<u32>();
        self.give_back();
    }

    /// Gives memory back after many blocks were removed.
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

    /// A block as its record holds it, compressed first if it is open; `None` when there is none or it is empty.
    pub(crate) fn range(&mut self, low: u64, codec: &Codec) -> Option<Range<'_>> {
        let place = self.place(low);
        let high = self.blocks.get(place + 1).map_or(u64::MAX, |next| next.low);
        let block = self.blocks.get_mut(place).filter(|block| block.low == low && block.count() > 0)?;
        block.seal(codec);
        Some(Range { high, packed: block.packed()? })
    }

    /// Bytes on the heap, without what an allocator adds.
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
