//! A rate limit with a sliding window. Pure.

use std::{collections::VecDeque, time::Duration};

/// A sliding window with the times of recent items.
#[derive(Debug)]
pub(crate) struct SlidingWindow {
    most: usize,
    span: Duration,
    lately: VecDeque<Duration>,
}

impl SlidingWindow {
    pub(crate) const fn new(most: usize, span: Duration) -> Self {
        Self { most, span, lately: VecDeque::new() }
    }

    /// The limit on sends of a gateway connection: more than 120 in 60 s is close code 4008.
    /// [Source](https://docs.discord.com/developers/events/gateway#rate-limiting).
    pub(crate) const fn sends() -> Self {
        Self::new(120, Duration::from_mins(1))
    }

    /// The limit on presence updates: 5 in 20 s.
    /// [Source](https://docs.discord.com/developers/events/gateway-events#update-presence).
    pub(crate) const fn presences() -> Self {
        Self::new(5, Duration::from_secs(20))
    }

    /// Counts an item at `now`. Returns false, without counting it, if the limit is reached.
    pub(crate) fn try_count(&mut self, now: Duration) -> bool {
        while self.lately.front().is_some_and(|at| now.saturating_sub(*at) >= self.span) {
            self.lately.pop_front();
        }
        if self.lately.len() >= self.most {
            return false;
        }
        self.lately.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_121st_send_in_a_minute_is_rejected() {
        let mut sends = SlidingWindow::sends();
        assert!((0..120).all(|second| sends.try_count(Duration::from_millis(second * 100))));
        assert!(!sends.try_count(Duration::from_secs(59)));
        assert!(sends.try_count(Duration::from_mins(1)), "the first has left the window");
        assert!(!sends.try_count(Duration::from_mins(1)));
    }
}
