//! A strict pull parser over JSON text that copies nothing.
//!
//! Owns the grammar (RFC 8259) and the bound on nesting. Values are returned as their text, so numbers of any size, half surrogate pairs and
//! unknown fields pass unchanged. Accepted text has no byte below 0x20 except JSON's white space.

/// The deepest nesting inside a field or a list element. Discord's own objects nest 8 deep; common parsers stop at 128.
pub(crate) const DEEPEST: u32 = 64;

/// Text that is not JSON, or not of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A value as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// With quotes and escapes, without the white space around it.
    pub text: &'a str,
    /// Nested more than 64 levels deep.
    pub is_deep: bool,
}

/// A position in a text.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    text: &'a str,
    at: usize,
    has_escapes: bool,
}

impl<'a> Scan<'a> {
    /// At the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, has_escapes: false }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// Skips white space and returns the next byte.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Result<(), Broken> {
        if self.peek() != Some(byte) {
            return Err(Broken);
        }
        self.at += 1;
        Ok(())
    }

    /// The current offset.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The text between two offsets that [`Scan::offset`] returned.
    pub fn between(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Checks that nothing follows.
    ///
    /// # Errors
    /// More text follows.
    pub fn end(mut self) -> Result<(), Broken> {
        if self.peek().is_none() { Ok(()) } else { Err(Broken) }
    }

    /// Enters an object. [`Scan::next_key`] returns its fields.
    ///
    /// # Errors
    /// No object comes next.
    pub fn enter_object(&mut self) -> Result<(), Broken> {
        self.take(b'{')
    }

    /// Returns the next key without its quotes, escapes as written, and stops before the value; `None` at the object's end.
    /// `is_first`: true before the first key.
    ///
    /// # Errors
    /// What follows is not JSON.
    pub fn next_key(&mut self, is_first: &mut bool) -> Result<Option<&'a str>, Broken> {
        let bytes = self.bytes();
        let mut at = space_end(bytes, self.at);
        match bytes.get(at) {
            Some(b'}') => {
                self.at = at + 1;
                return Ok(None);
            }
            Some(b',') if !*is_first => at = space_end(bytes, at + 1),
            _ if *is_first => *is_first = false,
            _ => return Err(Broken),
        }
        if bytes.get(at) != Some(&b'"') {
            return Err(Broken);
        }
        let (end, has_escapes) = string_span(bytes, at + 1)?;
        let key = self.between(at + 1, end - 1);
        self.has_escapes = has_escapes;
        at = space_end(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return Err(Broken);
        }
        self.at = space_end(bytes, at + 1);
        Ok(Some(key))
    }

    /// Whether the last key was written with escapes.
    pub(crate) fn key_has_escapes(&self) -> bool {
        self.has_escapes
    }

    /// The byte at an offset.
    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    /// Enters a list. [`Scan::next_element`] steps through its elements.
    ///
    /// # Errors
    /// No list comes next.
    pub fn enter_list(&mut self) -> Result<(), Broken> {
        self.take(b'[')
    }

    /// Stops before the next element; false at the list's end. `is_first`: true before the first element.
    ///
    /// # Errors
    /// What follows is not JSON.
    pub fn next_element(&mut self, is_first: &mut bool) -> Result<bool, Broken> {
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::replace(is_first, false) {
            self.take(b',')?;
            self.skip_space();
        }
        Ok(true)
    }

    /// Returns the value that comes next.
    ///
    /// # Errors
    /// What follows is not JSON.
    pub fn value(&mut self) -> Result<Raw<'a>, Broken> {
        let bytes = self.bytes();
        let from = space_end(bytes, self.at);
        let (at, deepest) = match bytes.get(from) {
            Some(b'{' | b'[') => nested_end(bytes, from)?,
            _ => (scalar_end(bytes, from)?, 0),
        };
        self.at = at;
        Ok(Raw { text: self.between(from, at), is_deep: deepest > DEEPEST })
    }
}

/// Where a value that is neither an object nor a list ends.
fn scalar_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at + 1),
        Some(b'-' | b'0'..=b'9') => number_end(bytes, at),
        Some(b't') => word_end(bytes, at, b"true"),
        Some(b'f') => word_end(bytes, at, b"false"),
        Some(b'n') => word_end(bytes, at, b"null"),
        _ => Err(Broken),
    }
}

/// The open brackets of a value: one bit each, 1 for an object.
#[derive(Default)]
struct Nesting {
    bits: u64,
    depth: u32,
    below: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.below.push(self.bits);
        }
        self.bits = (self.bits << 1) | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.below.pop().unwrap_or_default();
        }
    }

    fn is_in_object(&self) -> bool {
        self.bits & 1 == 1
    }
}

/// Where an object or list ends, and how deep it nests.
fn nested_end(bytes: &[u8], mut at: usize) -> Result<(usize, u32), Broken> {
    let mut nesting = Nesting::default();
    let mut deepest = 0;
    loop {
        // Before a value.
        match bytes.get(at) {
            Some(open @ (b'{' | b'[')) => {
                let is_object = *open == b'{';
                at = space_end(bytes, at + 1);
                let close = if is_object { b'}' } else { b']' };
                if bytes.get(at) == Some(&close) {
                    at += 1;
                    deepest = deepest.max(nesting.depth + 1);
                } else {
                    nesting.push(is_object);
                    deepest = deepest.max(nesting.depth);
                    if is_object {
                        at = key_end(bytes, at)?;
                    }
                    continue;
                }
            }
            _ => at = scalar_end(bytes, at)?,
        }
        // After a value.
        loop {
            if nesting.depth == 0 {
                return Ok((at, deepest));
            }
            at = space_end(bytes, at);
            let is_object = nesting.is_in_object();
            match bytes.get(at) {
                Some(b',') => {
                    at = space_end(bytes, at + 1);
                    if is_object {
                        at = key_end(bytes, at)?;
                    }
                    break;
                }
                Some(b'}') if is_object => nesting.pop(),
                Some(b']') if !is_object => nesting.pop(),
                _ => return Err(Broken),
            }
            at += 1;
        }
    }
}

fn space_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the value of a key begins.
fn key_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Broken);
    }
    let at = space_end(bytes, string_end(bytes, at + 1)?);
    if bytes.get(at) != Some(&b':') {
        return Err(Broken);
    }
    Ok(space_end(bytes, at + 1))
}

fn word_end(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Broken> {
    let end = at + word.len();
    if bytes.get(at..end) == Some(word) { Ok(end) } else { Err(Broken) }
}

fn number_end(bytes: &[u8], mut at: usize) -> Result<usize, Broken> {
    let digits = |mut at: usize| {
        let from = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == from { Err(Broken) } else { Ok(at) }
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(at)?;
    }
    Ok(at)
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// Marks each byte that is zero. Bytes above the first zero may be marked wrongly.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The offset after a string's closing quote. `at`: the offset after the opening quote.
fn string_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    string_span(bytes, at).map(|(end, _)| end)
}

/// As [`string_end`]. Also returns whether the string has escapes.
fn string_span(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut has_escapes = false;
    loop {
        // Eight bytes at once, up to a quote, a backslash or a control character.
        while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            let special = zeros(word ^ (ONES * u64::from(b'"')))
                | zeros(word ^ (ONES * u64::from(b'\\')))
                | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS);
            if special != 0 {
                at += (special.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, has_escapes)),
            Some(b'\\') => {
                has_escapes = true;
                match bytes.get(at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                    Some(b'u') => {
                        let hex = bytes.get(at + 2..at + 6).ok_or(Broken)?;
                        if !hex.iter().all(u8::is_ascii_hexdigit) {
                            return Err(Broken);
                        }
                        at += 6;
                    }
                    _ => return Err(Broken),
                }
            }
            Some(0..0x20) | None => return Err(Broken),
            Some(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests;
