//! Inputs out of examples: pure.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::Target;

/// Length of the largest inputs.
pub const LARGEST: usize = 256 << 10;

/// Length of other inputs at most.
const USUAL: usize = 16 << 10;

/// Every input with this number is a large one.
const LARGE_EVERY: u64 = 500;

/// What breaks readers of numbers and texts.
const WORDS: &[&str] = &[
    "0",
    "-1",
    "1e309",
    "255",
    "65536",
    "4294967296",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "99999999999999999999999999999999",
    "NaN",
    "null",
    "true",
    "\"\"",
    "\\ud800",
    "\\u0000",
    "\u{0}",
    "\u{202e}",
    "\u{1b}[2J",
    "é",
    "🦀",
    "\r\n",
    "\n",
    "[",
    "{",
    "]",
    "}",
    "\"",
    "\\",
    ",",
    ":",
    "%00",
    "../",
    "=",
    ";",
    " ",
    "\t",
];

/// Returns the input with this number.
pub(crate) fn input(target: &Target, seed: u64, number: u64) -> Vec<u8> {
    let random = &mut SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    if number % LARGE_EVERY == LARGE_EVERY - 1 {
        return large(target, random);
    }
    if random.random_ratio(1, 50) {
        let length = random.random_range(0..300);
        return (0..length).map(|_| random.random()).collect();
    }
    let mut input = pick(&target.examples, random).clone();
    for _ in 0..random.random_range(0..8) {
        mutate(&mut input, target, random);
    }
    input.truncate(USUAL);
    input
}

/// An example in which a part is repeated very often.
fn large(target: &Target, random: &mut SmallRng) -> Vec<u8> {
    let mut input = pick(&target.examples, random).clone();
    for _ in 0..random.random_range(0..3) {
        mutate(&mut input, target, random);
    }
    input.truncate(USUAL);
    let (from, to) = range(&input, random);
    let part = if from < to { input[from..to].to_vec() } else { b"[".to_vec() };
    let size = LARGEST - input.len();
    let part = part.iter().copied().cycle().take(size / part.len() * part.len());
    input.splice(to..to, part);
    input
}

fn mutate(input: &mut Vec<u8>, target: &Target, random: &mut SmallRng) {
    let at = random.random_range(0..=input.len());
    let (from, to) = range(input, random);
    match random.random_range(0..10) {
        0 if !input.is_empty() => {
            let at = at.min(input.len() - 1);
            input[at] ^= 1 << random.random_range(0..8);
        }
        1 if !input.is_empty() => {
            let at = at.min(input.len() - 1);
            input[at] = *pick(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'"', b' '], random);
        }
        2 => {
            let new: Vec<u8> = (0..random.random_range(1..9)).map(|_| random.random()).collect();
            input.splice(at..at, new);
        }
        3 => drop(input.drain(from..to)),
        4 => {
            let part = input[from..to].repeat(random.random_range(1..5));
            input.splice(at..at, part);
        }
        5 => {
            let other = pick(&target.examples, random);
            let (first, last) = range(other, random);
            input.splice(at..at, other[first..last].iter().copied());
        }
        6 => {
            let word = word(target, random);
            input.splice(at..at, word.bytes());
        }
        7 => {
            let word = word(target, random);
            let (from, to) = number(input, at).unwrap_or((from, to));
            input.splice(from..to, word.bytes());
        }
        8 => input.truncate(at),
        _ => {
            let open = ["[", "{\"a\":", "\"", "(", "\u{1}"];
            let nested = pick(&open, random).repeat(random.random_range(1..300));
            input.splice(at..at, nested.bytes());
        }
    }
    // Repetitions of repetitions must not grow without end.
    input.truncate(USUAL);
}

fn word(target: &Target, random: &mut SmallRng) -> &'static str {
    let words = if target.words.is_empty() || random.random() { WORDS } else { &target.words };
    words[random.random_range(0..words.len())]
}

/// The digits at or after a place.
fn number(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let from = at + input[at..].iter().position(u8::is_ascii_digit)?;
    let length = input[from..].iter().position(|byte| !byte.is_ascii_digit());
    Some((from, length.map_or(input.len(), |length| from + length)))
}

fn range(input: &[u8], random: &mut SmallRng) -> (usize, usize) {
    let from = random.random_range(0..=input.len());
    (from, random.random_range(from..=input.len().min(from + 200)))
}

fn pick<'a, T>(from: &'a [T], random: &mut SmallRng) -> &'a T {
    &from[random.random_range(0..from.len())]
}
