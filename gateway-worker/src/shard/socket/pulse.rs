//! Schedules heartbeats and tracks acknowledgements. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait for the first heartbeat. Discord wants a random part of the interval, but only an acknowledgement
/// shows that a connection without READY is alive.
const FIRST: Duration = Duration::from_secs(15);
/// Shortest time between two heartbeats, so that a flood of requests (op 1) gets one answer in this time.
const BETWEEN: Duration = Duration::from_secs(1);
/// Weight of the newest round trip in the average.
const NEWEST: f64 = 0.3;

/// The heartbeats of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    interval: Duration,
    due: Instant,
    /// The next heartbeat answers op 1.
    asked: bool,
    sent: Option<Instant>,
    /// When the oldest unacknowledged heartbeat was sent.
    unacknowledged: Option<Instant>,
    /// A message came since the last heartbeat.
    heard: bool,
    latency: Option<Duration>,
}

impl Pulse {
    /// Starts at HELLO. `jitter` from 0 to 1 is the part of the interval before the first heartbeat.
    pub(super) fn begin(interval: Duration, jitter: f64, now: Instant) -> Self {
        let due = now + interval.mul_f64(jitter.clamp(0.0, 1.0)).min(FIRST);
        Self { interval, due, asked: false, sent: None, unacknowledged: None, heard: false, latency: None }
    }

    /// Returns when the next heartbeat is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Notes that Discord asks for a heartbeat.
    pub(super) fn asked(&mut self, now: Instant) {
        let soonest = self.sent.map_or(now, |sent| now.max(sent + BETWEEN));
        if soonest < self.due {
            self.due = soonest;
            self.asked = true;
        }
    }

    /// Notes that a message came.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// Whether the next heartbeat is due and nothing has come since the last one: then the connection must be closed
    /// ([heartbeats](https://discord.com/developers/docs/events/gateway#sending-heartbeats)).
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.due <= now && !self.asked && self.unacknowledged.is_some() && !self.heard
    }

    /// Notes that a heartbeat is sent. Returns whether Discord asked for it.
    pub(super) fn beat(&mut self, now: Instant) -> bool {
        self.sent = Some(now);
        self.unacknowledged.get_or_insert(now);
        self.due = now + self.interval;
        self.heard = false;
        std::mem::take(&mut self.asked)
    }

    /// Notes an acknowledgement; surplus ones are ignored.
    pub(super) fn acknowledged(&mut self, now: Instant) {
        let Some(sent) = self.unacknowledged.take() else { return };
        let took = now.saturating_duration_since(sent);
        self.latency = Some(match self.latency {
            Some(latency) => latency.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST),
            None => took,
        });
    }

    /// Returns how long the oldest heartbeat without an acknowledgement has been out.
    pub(super) fn unacknowledged(&self, now: Instant) -> Option<Duration> {
        self.unacknowledged.map(|sent| now.saturating_duration_since(sent))
    }

    /// Returns the average round trip.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(41_250);

    #[test]
    fn flood_of_requests_gets_one_answer_a_second() {
        let began = Instant::now();
        let mut pulse = Pulse::begin(INTERVAL, 1.0, began);
        let mut beats = 0;
        for tenth_ms in 0..100_000_u64 {
            let now = began + Duration::from_micros(tenth_ms * 100);
            pulse.asked(now);
            if pulse.due() <= now {
                assert!(pulse.beat(now));
                beats += 1;
            }
        }
        assert_eq!(beats, 10, "in 10 s");
    }

    #[test]
    fn one_request_is_answered_at_once() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(INTERVAL, 1.0, now);
        pulse.asked(now);
        assert_eq!(pulse.due(), now);
        pulse.beat(now);
        assert_eq!(pulse.due(), now + INTERVAL);
    }

    #[test]
    fn first_heartbeat_comes_within_15_s_and_the_interval() {
        let now = Instant::now();
        assert_eq!(Pulse::begin(INTERVAL, 1.0, now).due(), now + FIRST);
        assert_eq!(Pulse::begin(INTERVAL, 0.1, now).due(), now + INTERVAL.mul_f64(0.1));
        assert_eq!(Pulse::begin(Duration::from_secs(1), 1.0, now).due(), now + Duration::from_secs(1));
    }

    #[test]
    fn connection_without_a_message_between_two_heartbeats_is_dead() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(INTERVAL, 0.0, now);
        assert!(!pulse.is_dead(now), "the first one");
        pulse.beat(now);
        assert!(!pulse.is_dead(now) && pulse.is_dead(now + INTERVAL));
        pulse.heard();
        assert!(!pulse.is_dead(now + INTERVAL));
    }

    #[test]
    fn oldest_unacknowledged_heartbeat_counts() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(INTERVAL, 0.0, now);
        assert_eq!(pulse.unacknowledged(now), None);
        pulse.beat(now);
        pulse.beat(now + INTERVAL);
        assert_eq!(pulse.unacknowledged(now + INTERVAL), Some(INTERVAL));
        pulse.acknowledged(now + INTERVAL);
        pulse.acknowledged(now + INTERVAL);
        assert_eq!((pulse.unacknowledged(now + INTERVAL), pulse.latency()), (None, Some(INTERVAL)));
    }
}
