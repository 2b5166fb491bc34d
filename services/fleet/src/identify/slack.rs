//! What is added to Discord's interval between two IDENTIFYs of a bucket: pure.
//!
//! A worker reports a used permit when IDENTIFY goes out. Discord measures from its arrival, so two IDENTIFYs come closer to each other
//! if the first takes longer on its way than the second. A message is late by about a round trip at most; if that was not enough, Discord
//! answers with op 9 and the shard asks again, and the slack grows for a while.

use std::time::Duration;

/// The slack without latency: what a busy machine delays a task by.
pub(super) const LEAST: Duration = Duration::from_millis(100);
/// The most that latency adds.
const MOST_LATENCY: Duration = Duration::from_millis(400);
/// What the first refused IDENTIFY adds; it doubles with each further one.
const FIRST_EXTRA: Duration = Duration::from_millis(200);
const MOST_EXTRA: Duration = Duration::from_secs(2);
/// The addition is halved after this many IDENTIFYs without a refused one.
const GOOD: u32 = 20;

/// The slack.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slack {
    latency: Duration,
    extra: Duration,
    /// IDENTIFYs since the last change of `extra`.
    good: u32,
}

impl Slack {
    pub(super) fn now(&self) -> Duration {
        LEAST + self.latency + self.extra
    }

    /// Notes the round trip to Discord.
    pub(super) fn note_latency(&mut self, latency: Duration) {
        self.latency = latency.min(MOST_LATENCY);
    }

    /// Notes that an IDENTIFY went out.
    pub(super) fn note_used(&mut self) {
        self.good += 1;
        if self.good >= GOOD {
            (self.good, self.extra) = (0, self.extra / 2);
        }
    }

    /// Notes that Discord may have refused an IDENTIFY because it came too early.
    pub(super) fn note_refused(&mut self) {
        (self.good, self.extra) = (0, (self.extra * 2).clamp(FIRST_EXTRA, MOST_EXTRA));
    }
}
