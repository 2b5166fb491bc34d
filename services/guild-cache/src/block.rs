//! Objects in the order of their ids, compressed together, or open while the block changes.
//!
//! The text of a block is its objects with [`SEPARATOR`] between them. [`OWN_ID`] replaces each object's id in quotes, because the block keeps
//! the ids beside the text, and ids compress badly. No valid JSON contains these bytes.

use memchr::{memchr, memchr_iter};

use crate::codec::Codec;

/// Separates two objects.
const SEPARATOR: u8 = 0x1e;
/// Replaces the first occurrence of an object's own id in its text.
const OWN_ID: u8 = 0x1f;

/// Bytes of an id in a packed block.
const ID: usize = 8;

/// Objects with ids from [`Block::low`] up to the next block's `low`.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The lowest id that the block may hold. Never changes, because the block's record is named by it.
    pub(crate) low: u64,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Packed {
        count: u32,
        /// Bytes of the text.
        size: u32,
        /// The ids, little-endian, then the frame: one allocation of exactly this size.
        bytes: Box<[u8]>,
    },
    Open(Box<Open>),
}

/// A block that is being changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    /// Ids and texts, in the order of the ids.
    entries: Vec<(u64, Box<str>)>,
    /// Bytes of all texts.
    size: usize,
}

/// A block's compressed form, for a record.
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    pub(crate) count: u32,
    pub(crate) size: u32,
    /// The ids, little-endian, then the frame.
    pub(crate) bytes: &'a [u8],
}

impl Block {
    /// An empty block.
    pub(crate) fn empty(low: u64) -> Self {
        Self { low, body: Body::Packed { count: 0, size: 0, bytes: Box::default() } }
    }

    /// Compresses objects, which are in the order of their ids. Of objects without text the block keeps only the ids.
    pub(crate) fn pack<'a>(
        low: u64,
        entries: impl ExactSizeIterator<Item = (u64, &'a str)> + Clone,
        codec: &Codec,
    ) -> Self {
        let count = entries.len();
        let size: usize = entries.clone().map(|(_, text)| text.len() + 1).sum::<usize>().saturating_sub(1);
        let mut text = String::new();
        let has_text = entries.clone().any(|(_, text)| !text.is_empty());
        if has_text {
            text.reserve(size);
            for (place, (id, one)) in entries.clone().enumerate() {
                if place > 0 {
                    text.push(SEPARATOR.into());
                }
                push_short(&mut text, id, one);
            }
        }
        let ids = entries.map(|(id, _)| id);
        Self { low, body: Body::packed(count, ids, &text, codec) }
    }

    /// Makes a block from its compressed form. The caller must check its objects with [`Block::check`].
    pub(crate) fn from_packed(low: u64, packed: &Packed<'_>) -> Self {
        let Packed { count, size, bytes } = *packed;
        Self { low, body: Body::Packed { count, size, bytes: bytes.into() } }
    }

    /// Calls `with` with each object's id and text; `with` returns whether they are valid. False if any is invalid, if the block cannot be
    /// decompressed, or if it has more or fewer texts than ids.
    pub(crate) fn check(&self, codec: &Codec, mut with: impl FnMut(u64, &str) -> bool) -> bool {
        let Body::Packed { count, size, bytes } = &self.body else { return false };
        let Some((_, frame)) = bytes.split_at_checked(*count as usize * ID) else { return false };
        let Some(text) = codec.unpack(frame, *size as usize) else { return false };
        if *count == 0 {
            return text.is_empty();
        }
        let mut texts = split(&text);
        let mut long = String::new();
        let are_right = self.ids().all(|id| {
            texts.next().is_some_and(|short| {
                long.clear();
                push_long(&mut long, id, short);
                with(id, &long)
            })
        });
        are_right && texts.next().is_none()
    }

    /// Number of objects.
    pub(crate) fn count(&self) -> usize {
        match &self.body {
            Body::Packed { count, .. } => *count as usize,
            Body::Open(open) => open.entries.len(),
        }
    }

    /// Bytes of its texts, together.
    pub(crate) fn size(&self) -> usize {
        match &self.body {
            Body::Packed { size, .. } => *size as usize,
            Body::Open(open) => open.size,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.body, Body::Open(_))
    }

    fn id_at(&self, place: usize) -> u64 {
        match &self.body {
            Body::Packed { bytes, .. } => id_at(bytes, place),
            Body::Open(open) => open.entries[place].0,
        }
    }

    /// The ids, in order.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        (0..self.count()).map(|place| self.id_at(place))
    }

    fn place(&self, id: u64) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.count());
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.id_at(middle).cmp(&id) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.place(id).is_ok()
    }

    /// An object's text; `None` if there is no such object or it has no text.
    pub(crate) fn get(&self, id: u64, codec: &Codec) -> Option<String> {
        let place = self.place(id).ok()?;
        let text = match &self.body {
            Body::Open(open) => open.entries[place].1.to_string(),
            Body::Packed { count, size, bytes } => {
                if *size == 0 {
                    return None;
                }
                let all = codec.unpack_bytes(&bytes[*count as usize * ID..], *size as usize)?;
                let mut rest = all.as_slice();
                for _ in 0..place {
                    rest = &rest[memchr(SEPARATOR, rest)? + 1..];
                }
                let end = memchr(SEPARATOR, rest).unwrap_or(rest.len());
                let mut text = String::new();
                push_long(&mut text, id, str::from_utf8(&rest[..end]).ok()?);
                text
            }
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// Calls `with` with each object that has a text.
    pub(crate) fn each(&self, codec: &Codec, mut with: impl FnMut(u64, &str)) {
        match &self.body {
            Body::Open(open) => {
                let told = open.entries.iter().filter(|(_, text)| !text.is_empty());
                told.for_each(|(id, text)| with(*id, text));
            }
            Body::Packed { size: 0, .. } => {}
            Body::Packed { .. } => {
                let text = self.unpack(codec);
                let mut long = String::new();
                for (id, short) in self.ids().zip(split(&text)) {
                    long.clear();
                    push_long(&mut long, id, short);
                    with(id, &long);
                }
            }
        }
    }

    fn unpack(&self, codec: &Codec) -> String {
        match &self.body {
            Body::Packed { count, size, bytes } if *size > 0 => codec
                .unpack(&bytes[*count as usize * ID..], *size as usize)
                .expect("this process has compressed or checked the block"),
            _ => String::new(),
        }
    }

    /// Opens the block. Returns the open block, and whether it was closed before.
    pub(crate) fn open(&mut self, codec: &Codec) -> (&mut Open, bool) {
        let was_closed = !self.is_open();
        if was_closed {
            let text = self.unpack(codec);
            let mut texts = split(&text);
            let mut long = String::new();
            let entries: Vec<(u64, Box<str>)> = self
                .ids()
                .map(|id| {
                    long.clear();
                    push_long(&mut long, id, texts.next().unwrap_or_default());
                    (id, long.as_str().into())
                })
                .collect();
            let size = entries.iter().map(|(_, text)| text.len()).sum();
            self.body = Body::Open(Box::new(Open { entries, size }));
        }
        match &mut self.body {
            Body::Open(open) => (open, was_closed),
            Body::Packed { .. } => unreachable!("the block was opened above"),
        }
    }

    /// Compresses the block if it is open.
    pub(crate) fn seal(&mut self, codec: &Codec) {
        if let Body::Open(open) = &self.body {
            *self = Self::pack(self.low, open.entries.iter().map(|(id, text)| (*id, &**text)), codec);
        }
    }

    /// The compressed form of a sealed block.
    pub(crate) fn packed(&self) -> Option<Packed<'_>> {
        match &self.body {
            Body::Packed { count, size, bytes } => Some(Packed { count: *count, size: *size, bytes }),
            Body::Open(_) => None,
        }
    }

    /// Bytes on the heap, without the allocator's overhead.
    pub(crate) fn memory(&self) -> usize {
        match &self.body {
            Body::Packed { bytes, .. } => bytes.len(),
            Body::Open(open) => {
                size_of::<Open>() + open.entries.capacity() * size_of::<(u64, Box<str>)>() + open.size
            }
        }
    }
}

impl Body {
    fn packed(count: usize, ids: impl Iterator<Item = u64>, text: &str, codec: &Codec) -> Self {
        let join = |frame: &[u8]| {
            let mut bytes = Vec::with_capacity(count * ID + frame.len());
            ids.for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
            bytes.extend_from_slice(frame);
            bytes.into_boxed_slice()
        };
        let bytes = if text.is_empty() { join(&[]) } else { codec.pack(text, join) };
        Self::Packed { count: count as u32, size: text.len() as u32, bytes }
    }
}

impl Open {
    /// Adds or replaces an object. Returns whether it is new.
    pub(crate) fn put(&mut self, id: u64, text: &str) -> bool {
        self.size += text.len();
        match self.entries.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => {
                let old = std::mem::replace(&mut self.entries[place].1, text.into());
                self.size = self.size.saturating_sub(old.len());
                false
            }
            Err(place) => {
                self.entries.insert(place, (id, text.into()));
                true
            }
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&str> {
        let place = self.entries.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.entries[place].1)
    }

    pub(crate) fn remove(&mut self, id: u64) {
        if let Ok(place) = self.entries.binary_search_by_key(&id, |(id, _)| *id) {
            let (_, old) = self.entries.remove(place);
            self.size = self.size.saturating_sub(old.len());
        }
    }

    /// Moves the objects from `place` on into a new block. `None` if there are none.
    pub(crate) fn split_off(&mut self, place: usize) -> Option<Block> {
        let entries = self.entries.split_off(place);
        let size = entries.iter().map(|(_, text)| text.len()).sum();
        self.size = self.size.saturating_sub(size);
        let low = entries.first()?.0;
        Some(Block { low, body: Body::Open(Box::new(Open { entries, size })) })
    }

    /// Adds the objects of the next block.
    pub(crate) fn append(&mut self, mut other: Block, codec: &Codec) {
        let (other, _) = other.open(codec);
        self.entries.append(&mut other.entries);
        self.size += other.size;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The highest id.
    pub(crate) fn last_id(&self) -> Option<u64> {
        Some(self.entries.last()?.0)
    }
}

/// Splits a block's text into objects.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr(SEPARATOR, text.as_bytes());
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// An id in quotes.
struct Quoted {
    bytes: [u8; 22],
    from: usize,
}

impl Quoted {
    fn new(mut id: u64) -> Self {
        let mut bytes = [b'"'; 22];
        let mut from = bytes.len() - 1;
        loop {
            from -= 1;
            bytes[from] = b'0' + (id % 10) as u8;
            id /= 10;
            if id == 0 {
                return Self { bytes, from: from - 1 };
            }
        }
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[self.from..]).unwrap_or_default()
    }
}

/// Adds an object to a block's text, with [`OWN_ID`] in place of its id.
fn push_short(text: &mut String, id: u64, long: &str) {
    let quoted = Quoted::new(id);
    let quoted = quoted.as_str();
    let found = memchr_iter(b'"', long.as_bytes()).find(|at| long[*at..].starts_with(quoted));
    match found {
        Some(at) => {
            text.push_str(&long[..at]);
            text.push(OWN_ID.into());
            text.push_str(&long[at + quoted.len()..]);
        }
        None => text.push_str(long),
    }
}

/// Adds an object from a block's text, with its id in place of [`OWN_ID`].
fn push_long(text: &mut String, id: u64, short: &str) {
    match memchr(OWN_ID, short.as_bytes()) {
        Some(at) => {
            text.reserve(short.len() + 22);
            text.push_str(&short[..at]);
            text.push_str(Quoted::new(id).as_str());
            text.push_str(&short[at + 1..]);
        }
        None => text.push_str(short),
    }
}

fn id_at(bytes: &[u8], place: usize) -> u64 {
    let bytes = bytes.get(place * ID..).and_then(<[u8]>::first_chunk).copied();
    u64::from_le_bytes(bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests;
