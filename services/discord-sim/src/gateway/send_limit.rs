//! 120 sends in 60 s; one more is close code 4008.
//! [Source](https://docs.discord.com/developers/events/gateway#rate-limiting).

use std::{collections::VecDeque, time::Duration};

const SENDS: usize = 120;
const WINDOW: Duration = Duration::from_mins(1);

/// The sends of one connection in the last minute.
#[derive(Debug, Default)]
pub(crate) struct SendLimit(VecDeque<Duration>);

impl SendLimit {
    /// Counts one send at `now`; false when it was one too many.
    pub(crate) fn allows(&mut self, now: Duration) -> bool {
        while self.0.front().is_some_and(|at| now.saturating_sub(*at) >= WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() <= SENDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_121st_in_a_minute_is_too_many() {
        let mut limit = SendLimit::default();
        assert!((0..120).all(|second| limit.allows(Duration::from_millis(second * 100))));
        assert!(limit.allows(WINDOW), "the first has left the window");
        assert!(!limit.allows(WINDOW));
    }
}
