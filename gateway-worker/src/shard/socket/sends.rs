//! Limits sent messages: Discord closes connections that send more than 120 within 60 s ([rate
//! limiting](https://discord.com/developers/docs/events/gateway#rate-limiting)). Pure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const PERIOD: Duration = Duration::from_mins(1);
const MOST: u8 = 120;
/// Sends left at least, however often heartbeats are due.
const LEAST: u8 = 60;

/// Recently sent messages; scheduled heartbeats have a reserve of their own.
#[derive(Debug)]
pub(super) struct Sends {
    most: u8,
    sent: VecDeque<Instant>,
}

impl Sends {
    /// Reserves one minute of heartbeats, and one more.
    pub(super) fn new(heartbeat_interval: Duration) -> Self {
        let heartbeats = (PERIOD.as_secs_f64() / heartbeat_interval.as_secs_f64().max(0.001)).ceil();
        let heartbeats = (heartbeats + 1.0).min(f64::from(MOST - LEAST));
        Self { most: MOST - heartbeats as u8, sent: VecDeque::new() }
    }

    /// Returns how many may be sent now, and when that is 0, the wait for the next.
    pub(super) fn free(&mut self, now: Instant) -> (u8, Duration) {
        while self.sent.front().is_some_and(|sent| now.saturating_duration_since(*sent) > PERIOD) {
            self.sent.pop_front();
        }
        let free = usize::from(self.most).saturating_sub(self.sent.len());
        let wait = match self.sent.front() {
            Some(first) if free == 0 => (*first + PERIOD).saturating_duration_since(now),
            _ => Duration::ZERO,
        };
        (free as u8, wait)
    }

    /// Notes one sent message.
    pub(super) fn spend(&mut self, now: Instant) {
        self.sent.push_back(now);
        if self.sent.len() > usize::from(MOST) {
            self.sent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_exceeds_the_limit() {
        let began = Instant::now();
        let mut sends = Sends::new(Duration::from_millis(41_250));
        let mut sent = Vec::new();
        for ms in (0..200_000).step_by(50) {
            let now = began + Duration::from_millis(ms);
            if sends.free(now).0 > 0 {
                sends.spend(now);
                sent.push(now);
            }
        }
        assert_eq!(sends.most, 117, "3 are kept for heartbeats");
        let most =
            sent.iter().map(|from| sent.iter().filter(|at| *at >= from && **at - *from <= PERIOD).count());
        assert_eq!(most.max(), Some(117));
        let (free, wait) = sends.free(began + Duration::from_secs(200));
        assert!(free > 0 || wait <= PERIOD);
    }

    #[test]
    fn frequent_heartbeats_leave_room_for_commands() {
        assert_eq!(Sends::new(Duration::from_secs(1)).free(Instant::now()).0, LEAST);
        assert_eq!(Sends::new(Duration::ZERO).free(Instant::now()).0, LEAST);
    }
}
