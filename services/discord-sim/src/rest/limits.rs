//! Rate limits: buckets, the global limit, and the ban of an address that is refused too often.
//!
//! Pure: time comes in as the duration since the simulator started.
//! [Source](https://docs.discord.com/developers/topics/rate-limits).

use std::{collections::HashMap, net::IpAddr, time::Duration};

/// How long the global limit counts.
const GLOBAL_WINDOW: Duration = Duration::from_secs(1);
/// How long invalid requests count.
const INVALID_WINDOW: Duration = Duration::from_mins(10);
/// Below this many entries nothing is pruned.
const PRUNE_FROM: usize = 1_024;

/// How often a route may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Routes with the same name share a bucket; the hash in X-RateLimit-Bucket is made of it.
    pub(crate) name: &'static str,
    pub(crate) limit: u32,
    pub(crate) window: Duration,
}

/// Who has a global limit of its own: a token, or an address without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Token(String),
    Address(IpAddr),
}

/// Where a bucket stands: what the X-RateLimit headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) bucket: Bucket,
    pub(crate) remaining: u32,
    pub(crate) reset_after: Duration,
}

/// The verdict about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on; the bucket if the route has one.
    Pass(Option<Standing>),
    /// One call too many for its bucket.
    BucketEmpty(Standing),
    /// One call too many for the bot; how long to wait.
    Global(Duration),
}

/// A fixed window that begins with the first call in it.
#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Duration,
    used: u32,
}

impl Window {
    fn left(self, now: Duration) -> Duration {
        self.ends.saturating_sub(now)
    }
}

/// Windows by whose they are; those that have ended are dropped when there are many.
#[derive(Debug)]
struct Windows<K> {
    open: HashMap<K, Window>,
    prune_at: usize,
}

impl<K: std::hash::Hash + Eq> Windows<K> {
    fn new() -> Self {
        Self { open: HashMap::new(), prune_at: PRUNE_FROM }
    }

    /// The window of `key` at `now`; a new one of `length` when there is none or it has ended.
    fn at(&mut self, key: K, length: Duration, now: Duration) -> &mut Window {
        if self.open.len() >= self.prune_at {
            self.open.retain(|_, window| window.ends > now);
            self.prune_at = PRUNE_FROM.max(self.open.len() * 2);
        }
        let fresh = Window { ends: now.saturating_add(length), used: 0 };
        let window = self.open.entry(key).or_insert(fresh);
        if window.ends <= now {
            *window = fresh;
        }
        window
    }
}

/// All limits of one simulator.
#[derive(Debug)]
pub(crate) struct Limits {
    settings: Settings,
    global: Windows<Caller>,
    buckets: Windows<(&'static str, String)>,
    invalid: Windows<IpAddr>,
    /// Until when an address is banned.
    banned: HashMap<IpAddr, Duration>,
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Calls a second of one token.
    pub(crate) global: u32,
    /// Refused calls in ten minutes that an address may make.
    pub(crate) invalid: u32,
    pub(crate) ban: Duration,
    /// How many times faster than Discord's all windows pass.
    pub(crate) speed: f64,
}

impl Limits {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            global: Windows::new(),
            buckets: Windows::new(),
            invalid: Windows::new(),
            banned: HashMap::new(),
        }
    }

    fn paced(&self, window: Duration) -> Duration {
        Duration::try_from_secs_f64(window.as_secs_f64() / self.settings.speed).unwrap_or(Duration::MAX)
    }

    /// Judges one call. `caller` is none where the global limit does not apply; `major` is the channel, guild or webhook
    /// that the bucket is kept for. A call that is refused uses up nothing.
    pub(crate) fn ask(
        &mut self,
        caller: Option<Caller>,
        bucket: Option<(Bucket, String)>,
        now: Duration,
    ) -> Verdict {
        let (second, most) = (self.paced(GLOBAL_WINDOW), self.settings.global);
        if let Some(caller) = &caller {
            let window = self.global.at(caller.clone(), second, now);
            if window.used >= most {
                return Verdict::Global(window.left(now));
            }
        }
        let mut standing = None;
        if let Some((bucket, major)) = bucket {
            let length = self.paced(bucket.window);
            let window = self.buckets.at((bucket.name, major), length, now);
            let reset_after = window.left(now);
            if window.used >= bucket.limit {
                return Verdict::BucketEmpty(Standing { bucket, remaining: 0, reset_after });
            }
            window.used += 1;
            standing = Some(Standing { bucket, remaining: bucket.limit - window.used, reset_after });
        }
        if let Some(caller) = caller {
            self.global.at(caller, second, now).used += 1;
        }
        Verdict::Pass(standing)
    }

    /// Where a bucket stands, without a call; what a made-up 429 tells.
    pub(crate) fn look(&mut self, bucket: Bucket, major: String, now: Duration) -> Standing {
        let length = self.paced(bucket.window);
        let window = self.buckets.at((bucket.name, major), length, now);
        let remaining = bucket.limit.saturating_sub(window.used);
        Standing { bucket, remaining, reset_after: window.left(now) }
    }

    /// Counts an answer with 401, 403, or 429 that was not shared; true when it brought the ban.
    /// [Source](https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans).
    pub(crate) fn note_invalid(&mut self, from: IpAddr, now: Duration) -> bool {
        let length = self.paced(INVALID_WINDOW);
        let window = self.invalid.at(from, length, now);
        window.used += 1;
        let over = window.used >= self.settings.invalid;
        if over {
            *window = Window { ends: now, used: 0 };
            self.banned.retain(|_, until| *until > now);
            self.banned.insert(from, now.saturating_add(self.paced(self.settings.ban)));
        }
        over
    }

    /// For how long an address is still banned.
    pub(crate) fn banned(&self, from: IpAddr, now: Duration) -> Option<Duration> {
        self.banned.get(&from).and_then(|until| until.checked_sub(now)).filter(|left| !left.is_zero())
    }

    /// Addresses with invalid requests in their window, and until when those are banned that are.
    pub(crate) fn callers(&self, now: Duration) -> Vec<(IpAddr, u32, Option<Duration>)> {
        let counted = self.invalid.open.iter().filter(|(_, window)| window.ends > now);
        let mut callers: HashMap<_, _> = counted.map(|(from, window)| (*from, (window.used, None))).collect();
        for (from, until) in self.banned.iter().filter(|(_, until)| **until > now) {
            callers.entry(*from).or_default().1 = Some(*until);
        }
        let mut callers: Vec<_> =
            callers.into_iter().map(|(from, (invalid, until))| (from, invalid, until)).collect();
        callers.sort_unstable();
        callers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Bucket = Bucket { name: "five", limit: 5, window: Duration::from_secs(5) };
    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn limits() -> Limits {
        Limits::new(Settings { global: 50, invalid: 3, ban: Duration::from_hours(1), speed: 1.0 })
    }

    fn bot() -> Caller {
        Caller::Token("t".into())
    }

    #[test]
    fn a_bucket_empties_and_fills_again_for_each_channel() {
        let mut limits = limits();
        for left in (0..5).rev() {
            let standing = Standing { bucket: FIVE, remaining: left, reset_after: at(5_000) };
            assert_eq!(
                limits.ask(Some(bot()), Some((FIVE, "1".into())), at(7)),
                Verdict::Pass(Some(standing))
            );
        }
        let empty = Standing { bucket: FIVE, remaining: 0, reset_after: at(1_000) };
        assert_eq!(limits.ask(Some(bot()), Some((FIVE, "1".into())), at(4_007)), Verdict::BucketEmpty(empty));
        let other = limits.ask(Some(bot()), Some((FIVE, "2".into())), at(4_007));
        assert!(matches!(other, Verdict::Pass(Some(Standing { remaining: 4, .. }))));
        let later = limits.ask(Some(bot()), Some((FIVE, "1".into())), at(5_007));
        assert!(matches!(later, Verdict::Pass(Some(Standing { remaining: 4, .. }))));
    }

    #[test]
    fn the_51st_call_in_a_second_is_too_many() {
        let mut limits = limits();
        assert!((0..50).all(|ms| limits.ask(Some(bot()), None, at(ms)) == Verdict::Pass(None)));
        assert_eq!(limits.ask(Some(bot()), None, at(600)), Verdict::Global(at(400)));
        assert_eq!(limits.ask(None, None, at(600)), Verdict::Pass(None), "exempt");
        assert_eq!(limits.ask(Some(Caller::Address(HOME)), None, at(600)), Verdict::Pass(None));
        assert_eq!(limits.ask(Some(bot()), None, at(1_000)), Verdict::Pass(None));
    }

    #[test]
    fn too_many_invalid_requests_ban_an_address_for_a_time() {
        let mut limits = limits();
        assert!(!limits.note_invalid(HOME, at(0)));
        assert!(!limits.note_invalid(HOME, INVALID_WINDOW), "the first is too old to count");
        assert!(!limits.note_invalid(HOME, INVALID_WINDOW));
        assert_eq!(limits.callers(INVALID_WINDOW), [(HOME, 2, None)]);
        assert!(limits.note_invalid(HOME, INVALID_WINDOW));
        let end = INVALID_WINDOW + Duration::from_hours(1);
        assert_eq!(limits.banned(HOME, INVALID_WINDOW), Some(Duration::from_hours(1)));
        assert_eq!(limits.callers(INVALID_WINDOW), [(HOME, 0, Some(end))]);
        assert_eq!(limits.banned(HOME, end), None);
    }

    #[test]
    fn ended_windows_are_forgotten() {
        let mut limits = limits();
        for channel in 0..100_000_u64 {
            limits.ask(None, Some((FIVE, channel.to_string())), at(channel * 100));
        }
        assert!(limits.buckets.open.len() <= PRUNE_FROM, "{}", limits.buckets.open.len());
    }

    #[test]
    fn all_windows_can_pass_faster() {
        let settings = Settings { global: 1, invalid: 1, ban: at(3_600), speed: 10.0 };
        let mut limits = Limits::new(settings);
        assert_eq!(limits.ask(Some(bot()), None, at(0)), Verdict::Pass(None));
        assert_eq!(limits.ask(Some(bot()), None, at(0)), Verdict::Global(at(100)));
        assert!(limits.note_invalid(HOME, at(0)));
        assert_eq!(limits.banned(HOME, at(0)), Some(at(360)));
    }

    #[test]
    fn a_ban_can_be_longer_than_all_time() {
        let years = Duration::from_hours(500_000_000_000 * 8_766);
        for (ban, speed) in [(years, 0.5), (Duration::MAX, 1.0)] {
            let mut limits = Limits::new(Settings { global: 1, invalid: 1, ban, speed });
            assert!(limits.note_invalid(HOME, at(7)));
            assert_eq!(limits.banned(HOME, at(7)), Some(Duration::MAX.saturating_sub(at(7))));
        }
    }
}
