//! Fuzz targets as ordinary tests: each feeds a function that reads what others wrote with changed examples.
//!
//! A target fails if the function panics, takes more memory at once than its [bound](Target::memory), or more processor time than
//! [`time_limit`] allows, which work in quadratic time exceeds at the largest inputs. The inputs are random, but each follows from the seed
//! and its number alone: a failure prints both, and `FUZZ_SEED=SEED FUZZ_ONLY=NUMBER` repeats this one input.
//!
//! `FUZZ_INPUTS` sets the number of inputs of each target (2,000 by default). `.ci/night fuzz` sets 10 million.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod mutate;
mod settings;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

pub use mutate::LARGEST;
pub use settings::settings;

/// Inputs of a target if `FUZZ_INPUTS` says nothing.
const INPUTS: u64 = 2_000;

/// What a panic shows of its input at most, in bytes.
const SHOWN: usize = 2_000;

/// Something that reads inputs.
#[derive(Debug)]
pub struct Target {
    name: &'static str,
    examples: Vec<Vec<u8>>,
    words: Vec<&'static str>,
    most_bytes: u64,
    most_bytes_per_byte: u64,
}

/// The processor time that an input of this length may take: enough for a build without optimisation, too little for quadratic work on
/// [`LARGEST`] bytes.
fn time_limit(length: usize) -> Duration {
    Duration::from_millis(100) + Duration::from_micros(4) * u32::try_from(length).unwrap_or(u32::MAX)
}

impl Target {
    /// A target with examples of valid inputs. By default an input may take a MiB, and 100 bytes for each of its own.
    pub fn new<E: Into<Vec<u8>>>(name: &'static str, examples: impl IntoIterator<Item = E>) -> Self {
        let examples: Vec<Vec<u8>> = examples.into_iter().map(Into::into).collect();
        assert!(!examples.is_empty(), "{name} needs an example");
        Self { name, examples, words: Vec::new(), most_bytes: 1 << 20, most_bytes_per_byte: 100 }
    }

    /// Words that mean something to the target. They are put into inputs.
    #[must_use]
    pub fn words(mut self, words: impl IntoIterator<Item = &'static str>) -> Self {
        self.words.extend(words);
        self
    }

    /// Memory that an input may take at once, in bytes, and more for each byte of its own. Memory of C libraries is not counted.
    #[must_use]
    pub fn memory(self, most_bytes: u64, most_bytes_per_byte: u64) -> Self {
        Self { most_bytes, most_bytes_per_byte, ..self }
    }

    /// Judges inputs that are text.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_text(self, mut read: impl FnMut(&str)) {
        self.run(|input| read(&String::from_utf8_lossy(input)));
    }

    /// Judges all inputs.
    ///
    /// # Panics
    /// The function panics, or takes too much memory or time.
    #[allow(clippy::print_stderr, reason = "a failed test shows what replays it")]
    pub fn run(self, mut read: impl FnMut(&[u8])) {
        let inputs = setting("FUZZ_INPUTS").unwrap_or(INPUTS);
        let seed: u64 = setting("FUZZ_SEED").unwrap_or(1);
        let numbers = setting("FUZZ_ONLY").map_or(0..inputs, |only: u64| only..only + 1);
        // What is made once is no cost of an input.
        for example in &self.examples {
            read(example);
        }
        let (mut most, mut slowest) = (0, Duration::ZERO);
        for number in numbers {
            let input = mutate::input(&self, seed, number);
            let fail = |why: &str| {
                let shown = input[..input.len().min(SHOWN)].escape_ascii();
                panic!(
                    "{}: {why}\nFUZZ_SEED={seed} FUZZ_ONLY={number}, {} bytes: {shown}",
                    self.name,
                    input.len()
                )
            };
            let bound = self.most_bytes + self.most_bytes_per_byte * input.len() as u64;
            let limit = time_limit(input.len());
            // The processor may have been busy with something else, such as the first use of a page.
            for attempt in 1.. {
                let before = processor_time();
                let mut ended = Ok(());
                let memory = allocation_counter::measure(|| {
                    ended = catch_unwind(AssertUnwindSafe(|| read(&input)));
                });
                if ended.is_err() {
                    fail("it panics");
                }
                if memory.bytes_max > bound {
                    fail(&format!("it takes {} bytes at once, and may take {bound}", memory.bytes_max));
                }
                let took = processor_time().saturating_sub(before);
                most = most.max(memory.bytes_max);
                if took <= limit {
                    slowest = slowest.max(took);
                    break;
                }
                if attempt == 3 {
                    fail(&format!("it takes {took:?} of processor time, and may take {limit:?}"));
                }
            }
        }
        if inputs > INPUTS {
            eprintln!(
                "fuzz: {}: {inputs} inputs with seed {seed}: at most {most} bytes at once, {slowest:?}",
                self.name
            );
        }
    }
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: it takes a number, not {text}")))
}

/// The processor time of this thread until now.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(read: impl FnMut(&[u8])) -> String {
        let run = || Target::new("test", ["[1,2,{\"a\":\"b\"}]"]).memory(1 << 16, 2).run(read);
        let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        payload.downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn panics_memory_and_quadratic_work_are_found() {
        Target::new("harmless", ["x"]).run(|input| assert!(input.len() <= LARGEST));
        let said = fails(|input| assert!(!input.starts_with(b"[1,2,,"), "a bug"));
        assert!(said.contains("test: it panics") && said.contains("FUZZ_ONLY="), "{said}");
        let said = fails(|input| drop(Vec::<u8>::with_capacity(input.len() * 100)));
        assert!(said.contains("bytes at once"), "{said}");
        let said = fails(|input| {
            let share = input.len() as f64 / LARGEST as f64;
            let until = processor_time() + 2 * time_limit(LARGEST).mul_f64(share * share);
            while processor_time() < until {}
        });
        assert!(said.contains("processor time"), "{said}");
    }
}
