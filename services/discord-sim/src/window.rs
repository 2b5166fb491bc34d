//! So many in so long, counted in a sliding window. Pure.

use std::{collections::VecDeque, time::Duration};

/// What happened lately.
#[derive(Debug)]
pub(crate) struct Window {
    most: usize,
    span: Duration,
    lately: VecDeque<Duration>,
}

impl Window {
    pub(crate) const fn new(most: usize, span: Duration) -> Self {
        Self { most, span, lately: VecDeque::new() }
    }

    /// Sends on a gateway connection: one more than 120 in 60 s is close code 4008.
    /// [Source](https://docs.discord.com/developers/events/gateway#rate-limiting).
    pub(crate) const fn sends() -> Self {
        Self::new(120, Duration::from_mins(1))
    }

    /// Presence updates: 5 in 20 s.
    /// [Source](https://docs.discord.com/developers/events/gateway-events#update-presence).
    pub(crate) const fn presences() -> Self {
        Self::new(5, Duration::from_secs(20))
    }

    /// Counts one at `now`; false when it was one too many.
    pub(crate) fn allows(&mut self, now: Duration) -> bool {
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
    fn the_121st_in_a_minute_is_too_many() {
        let mut sends = Window::sends();
        assert!((0..120).all(|second| sends.allows(Duration::from_millis(second * 100))));
        assert!(!sends.allows(Duration::from_secs(59)));
        assert!(sends.allows(Duration::from_mins(1)), "the first has left the window");
        assert!(!sends.allows(Duration::from_mins(1)));
    }
}
