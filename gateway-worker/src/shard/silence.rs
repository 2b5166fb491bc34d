//! Detects connections that look open and are dead: heartbeats are not acknowledged, or no event comes where many should. Pure.
//!
//! Waiting for the next heartbeat would take 40 s at Discord's interval. The shard's own measure finds a half-open
//! connection, or a gateway that only acknowledges, sooner.

use std::time::Duration;

/// A shard is silent after this long without an acknowledgement. Discord takes a fraction of a second.
const ACK_LATE: Duration = Duration::from_secs(5);
/// Its connection is given up after this long without one.
pub(super) const ACK_LOST: Duration = Duration::from_secs(10);

/// The cause shown for a connection without acknowledgements.
pub(super) const NOT_ACKNOWLEDGED: &str = "heartbeats are not acknowledged";

/// After at least this long without an event ...
const QUIET: Duration = Duration::from_secs(30);
/// ... when this many were to be expected, a shard is silent. If events were independent of each other, that would happen by
/// chance once in e^30 times.
const EXPECTED: f64 = 30.0;
/// How far back the measure of what is to be expected reaches: the weight of what was so long ago has halved.
const HALF_LIFE: Duration = Duration::from_mins(5);
/// Each time that a new connection brought nothing either, the expected number doubles, at most this often.
const DOUBLINGS: u32 = 6;

/// The state of a connection by its silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SilenceVerdict {
    /// All is well.
    Alive,
    /// Late: the shard shows as silent.
    Late,
    /// Dead: another connection must be made. Why.
    Dead(&'static str),
}

/// Measures the silence of one shard, over all its connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence {
    /// Events a second.
    rate: f64,
    /// Since the last look.
    events: u32,
    quiet: Duration,
    false_alarms: u32,
}

impl Silence {
    /// A dispatch came.
    pub(super) fn event(&mut self) {
        self.events = self.events.saturating_add(1);
    }

    /// Looks at a connection that is up. `elapsed` since the last look; `unacknowledged`: how long ago the heartbeat was sent
    /// that has no acknowledgement yet.
    pub(super) fn look(&mut self, elapsed: Duration, unacknowledged: Option<Duration>) -> SilenceVerdict {
        let seconds = elapsed.as_secs_f64();
        if seconds > 0.0 {
            let kept = 0.5f64.powf(seconds / HALF_LIFE.as_secs_f64());
            self.rate = self.rate * kept + f64::from(self.events) / seconds * (1.0 - kept);
        }
        if self.events > 0 {
            self.quiet = Duration::ZERO;
            self.false_alarms = 0;
        } else {
            self.quiet += elapsed;
        }
        self.events = 0;
        match unacknowledged {
            Some(since) if since >= ACK_LOST => return SilenceVerdict::Dead(NOT_ACKNOWLEDGED),
            Some(since) if since >= ACK_LATE => return SilenceVerdict::Late,
            _ => {}
        }
        let expected = self.rate * self.quiet.as_secs_f64();
        if self.quiet >= QUIET && expected >= EXPECTED * f64::from(1u32 << self.false_alarms) {
            return SilenceVerdict::Dead("no event comes, and many should");
        }
        SilenceVerdict::Alive
    }

    /// Notes that a connection was given up for silence: the next alarm needs more, if the new one brings nothing either.
    pub(super) fn given_up(&mut self) {
        self.quiet = Duration::ZERO;
        self.false_alarms = (self.false_alarms + 1).min(DOUBLINGS);
    }

    /// Starts over for a new connection.
    pub(super) fn connected(&mut self) {
        self.quiet = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    /// Looks for a number of seconds, with a number of events a look. Returns the first alarm, in seconds.
    fn listen(silence: &mut Silence, seconds: u64, events_a_look: u32) -> Option<u64> {
        (0..seconds * 4).find_map(|look| {
            (0..events_a_look).for_each(|_| silence.event());
            matches!(silence.look(LOOK, None), SilenceVerdict::Dead(_)).then_some(look / 4)
        })
    }

    #[test]
    fn heartbeats_without_an_answer_are_noticed() {
        let mut silence = Silence::default();
        assert_eq!(silence.look(LOOK, Some(Duration::from_secs(1))), SilenceVerdict::Alive);
        assert_eq!(silence.look(LOOK, Some(ACK_LATE)), SilenceVerdict::Late);
        assert!(matches!(silence.look(LOOK, Some(ACK_LOST)), SilenceVerdict::Dead(_)));
    }

    #[test]
    fn silence_of_a_busy_shard_is_noticed() {
        let mut silence = Silence::default();
        assert_eq!(listen(&mut silence, 600, 2), None, "8 events a second");
        assert_eq!(listen(&mut silence, 60, 0), Some(29));
    }

    #[test]
    fn quiet_shard_raises_no_alarm() {
        let mut silence = Silence::default();
        for _ in 0..20 {
            silence.event();
            assert_eq!(listen(&mut silence, 60, 0), None, "one event a minute");
        }
    }

    #[test]
    fn false_alarm_delays_the_next_one() {
        let mut silence = Silence::default();
        // An event a second.
        for _ in 0..600 {
            silence.event();
            listen(&mut silence, 1, 0);
        }
        let first = listen(&mut silence, 3_600, 0).unwrap();
        silence.given_up();
        let second = listen(&mut silence, 3_600, 0).unwrap();
        assert!(second > first, "{second} s after {first} s");
        silence.event();
        silence.look(LOOK, None);
        assert_eq!(silence.false_alarms, 0, "events come again: as before");
    }
}
