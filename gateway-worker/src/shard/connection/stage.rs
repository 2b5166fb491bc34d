//! How far a connection has come, and how long each step may take.

use std::time::Duration;

use tokio::time::Instant;

/// Time limit for HELLO, which Discord sends at once.
const TO_HELLO: Duration = Duration::from_secs(15);
/// Time limit from IDENTIFY or RESUME to READY or RESUMED, while heartbeats are acknowledged ...
const TO_READY: Duration = Duration::from_mins(2);
/// ... to which each event adds this much, as a replay takes time: a few events a second are no replay.
const FOR_EVENT: Duration = Duration::from_millis(100);
/// Time limit for a replay, regardless of its events.
const REPLAY: Duration = Duration::from_mins(15);
/// Each failure doubles the limits, at most this often: a gateway may be slow for all bots. HELLO at a resume URL keeps
/// its limit, as the gateway's own URL is tried next.
const DOUBLINGS: u32 = 2;

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// No HELLO yet.
    Connecting { since: Instant, by_resume_url: bool },
    /// It waits for a permit, for as long as that takes.
    Queued,
    /// IDENTIFY or RESUME went out at `at`. Events move `since` forward.
    Greeted { at: Instant, since: Instant },
    /// READY or RESUMED came.
    Running,
}

impl Stage {
    /// The WebSocket is open.
    pub(super) fn connecting(by_resume_url: bool) -> Self {
        Self::Connecting { since: Instant::now(), by_resume_url }
    }

    /// IDENTIFY or RESUME goes out.
    pub(super) fn greeted() -> Self {
        let now = Instant::now();
        Self::Greeted { at: now, since: now }
    }

    /// Notes an event, which extends the time limit of a replay.
    pub(super) fn event_came(&mut self) {
        if let Self::Greeted { since, .. } = self {
            *since = (*since + FOR_EVENT).min(Instant::now());
        }
    }

    /// Returns what the connection hangs in, if its time limit after `failures` failures is over.
    pub(super) fn hangs(self, failures: u32) -> Option<&'static str> {
        let grown = |limit: Duration| limit * (1 << failures.min(DOUBLINGS));
        match self {
            Self::Connecting { since, by_resume_url } => {
                let limit = if by_resume_url { TO_HELLO } else { grown(TO_HELLO) };
                (since.elapsed() >= limit).then_some("no HELLO came")
            }
            Self::Greeted { at, since } if since.elapsed() >= grown(TO_READY) || at.elapsed() >= REPLAY => {
                Some("neither READY nor RESUMED came")
            }
            Self::Queued | Self::Greeted { .. } | Self::Running => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_limits_grow_with_failures_except_at_a_resume_url() {
        type Case = (&'static str, fn() -> Stage, [u64; 3]);
        let cases: [Case; 3] = [
            ("HELLO at the resume URL", || Stage::connecting(true), [15, 15, 15]),
            ("HELLO at the gateway's URL", || Stage::connecting(false), [15, 30, 60]),
            ("READY or RESUMED", Stage::greeted, [120, 240, 480]),
        ];
        for (what, begin, limits) in cases {
            let (stage, mut hangs_after) = (begin(), [None; 3]);
            for second in 1..600 {
                tokio::time::advance(Duration::from_secs(1)).await;
                for (failures, after) in [0, 1, 9].into_iter().zip(&mut hangs_after) {
                    *after = after.or(stage.hangs(failures).map(|_| second));
                }
            }
            assert_eq!(hangs_after, limits.map(Some), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_replay_extends_the_time_limit() {
        for (what, every_ms, hangs_after) in [
            ("silence", 10_000_000, 120),
            ("an event in 5 s", 5_000, 122),
            ("an event a second", 1_000, 133),
            ("five a second", 200, 239),
            ("a replay without an end", 10, 900),
        ] {
            let (mut stage, began) = (Stage::greeted(), Instant::now());
            let mut ms = 0_u64;
            while stage.hangs(0).is_none() {
                tokio::time::advance(Duration::from_millis(10)).await;
                ms += 10;
                if ms.is_multiple_of(every_ms) {
                    stage.event_came();
                }
            }
            assert_eq!(began.elapsed().as_secs(), hangs_after, "{what}");
        }
    }
}
