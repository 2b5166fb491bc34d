//! Rate limits: buckets, the global limit, and the ban of addresses with too many invalid requests.
//!
//! Pure: times are durations since the simulator started.
//! [Source](https://docs.discord.com/developers/topics/rate-limits).

use std::{collections::HashMap, net::IpAddr, time::Duration};

/// Window of the global limit.
const GLOBAL_WINDOW: Duration = Duration::from_secs(1);
/// Window of invalid requests.
const INVALID_WINDOW: Duration = Duration::from_mins(10);
/// Number of windows from which ended ones are pruned.
const PRUNE_FROM: usize = 1_024;

/// The rate limit of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Routes with the same name share a bucket. X-RateLimit-Bucket is derived from it.
    pub(crate) name: &'static str,
    pub(crate) limit: u32,
    pub(crate) window: Duration,
}

/// The subject of a global limit: a token, or an address without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Token(String),
    Address(IpAddr),
}

/// The status of a bucket, for the X-RateLimit headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketStatus {
    pub(crate) bucket: Bucket,
    pub(crate) remaining: u32,
    pub(crate) reset_after: Duration,
}

/// The verdict on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitVerdict {
    /// Allowed, with the bucket's status if the route has one.
    Pass(Option<BucketStatus>),
    /// The bucket's limit is exceeded.
    BucketEmpty(BucketStatus),
    /// The global limit is exceeded; the time to wait.
    Global(Duration),
}

/// A fixed window that begins with its first call.
#[derive(Clone, Copy, Debug)]
struct FixedWindow {
    ends: Duration,
    used: u32,
}

impl FixedWindow {
    fn left(self, now: Duration) -> Duration {
        self.ends.saturating_sub(now)
    }
}

/// Windows by key. Ended windows are pruned when there are many.
#[derive(Debug)]
struct FixedWindows<K> {
    open: HashMap<K, FixedWindow>,
    prune_at: usize,
}

impl<K: std::hash::Hash + Eq> FixedWindows<K> {
    fn new() -> Self {
        Self { open: HashMap::new(), prune_at: PRUNE_FROM }
    }

    /// Returns the window of `key` at `now`. Starts a new one of `length` if there is none or it has ended.
    fn at(&mut self, key: K, length: Duration, now: Duration) -> &mut FixedWindow {
        if self.open.len() >= self.prune_at {
            self.open.retain(|_, window| window.ends > now);
            self.prune_at = PRUNE_FROM.max(self.open.len() * 2);
        }
        let fresh = FixedWindow { ends: now.saturating_add(length), used: 0 };
        let window = self.open.entry(key).or_insert(fresh);
        if window.ends <= now {
            *window = fresh;
        }
        window
    }
}

/// The limits of a simulator.
#[derive(Debug)]
pub(crate) struct Limits {
    settings: LimitSettings,
    global: FixedWindows<Caller>,
    buckets: FixedWindows<(&'static str, String)>,
    invalid: FixedWindows<IpAddr>,
    /// End of each address's ban.
    banned: HashMap<IpAddr, Duration>,
}

/// Settings of the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitSettings {
    /// Calls per second of one token.
    pub(crate) global: u32,
    /// Invalid requests within ten minutes that ban an address.
    pub(crate) invalid: u32,
    pub(crate) ban: Duration,
    /// Factor by which all windows pass faster than Discord's.
    pub(crate) speed: f64,
}

impl Limits {
    pub(crate) fn new(settings: LimitSettings) -> Self {
        Self {
            settings,
            global: FixedWindows::new(),
            buckets: FixedWindows::new(),
            invalid: FixedWindows::new(),
            banned: HashMap::new(),
        }
    }

    fn paced(&self, window: Duration) -> Duration {
        Duration::try_from_secs_f64(window.as_secs_f64() / self.settings.speed).unwrap_or(Duration::MAX)
    }

    /// Judges a call. `caller` is `None` if the global limit does not apply. The bucket's text is the channel, guild or webhook that it
    /// belongs to. A rejected call does not count.
    pub(crate) fn judge(
        &mut self,
        caller: Option<Caller>,
        bucket: Option<(Bucket, String)>,
        now: Duration,
    ) -> LimitVerdict {
        let (second, most) = (self.paced(GLOBAL_WINDOW), self.settings.global);
        if let Some(caller) = &caller {
            let window = self.global.at(caller.clone(), second, now);
            if window.used >= most {
                return LimitVerdict::Global(window.left(now));
            }
        }
        let mut bucket_status = None;
        if let Some((bucket, major)) = bucket {
            let length = self.paced(bucket.window);
            let window = self.buckets.at((bucket.name, major), length, now);
            let reset_after = window.left(now);
            if window.used >= bucket.limit {
                return LimitVerdict::BucketEmpty(BucketStatus { bucket, remaining: 0, reset_after });
            }
            window.used += 1;
            bucket_status = Some(BucketStatus { bucket, remaining: bucket.limit - window.used, reset_after });
        }
        if let Some(caller) = caller {
            self.global.at(caller, second, now).used += 1;
        }
        LimitVerdict::Pass(bucket_status)
    }

    /// Returns a bucket's status without counting a call, for injected 429s.
    pub(crate) fn bucket_status(&mut self, bucket: Bucket, major: String, now: Duration) -> BucketStatus {
        let length = self.paced(bucket.window);
        let window = self.buckets.at((bucket.name, major), length, now);
        let remaining = bucket.limit.saturating_sub(window.used);
        BucketStatus { bucket, remaining, reset_after: window.left(now) }
    }

    /// Counts an invalid request: an answer with 401, 403, or 429 that was not shared. Returns whether it causes a ban.
    /// [Source](https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans).
    pub(crate) fn note_invalid(&mut self, from: IpAddr, now: Duration) -> bool {
        let length = self.paced(INVALID_WINDOW);
        let window = self.invalid.at(from, length, now);
        window.used += 1;
        let over = window.used >= self.settings.invalid;
        if over {
            *window = FixedWindow { ends: now, used: 0 };
            self.banned.retain(|_, until| *until > now);
            self.banned.insert(from, now.saturating_add(self.paced(self.settings.ban)));
        }
        over
    }

    /// Returns the remaining ban of an address.
    pub(crate) fn banned(&self, from: IpAddr, now: Duration) -> Option<Duration> {
        self.banned.get(&from).and_then(|until| until.checked_sub(now)).filter(|left| !left.is_zero())
    }

    /// Lists addresses with invalid requests or a ban: requests in the window and end of the ban.
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
        Limits::new(LimitSettings { global: 50, invalid: 3, ban: Duration::from_hours(1), speed: 1.0 })
    }

    fn bot() -> Caller {
        Caller::Token("t".into())
    }

    #[test]
    fn each_channel_has_a_bucket_that_refills() {
        let mut limits = limits();
        for left in (0..5).rev() {
            let bucket_status = BucketStatus { bucket: FIVE, remaining: left, reset_after: at(5_000) };
            assert_eq!(
                limits.judge(Some(bot()), Some((FIVE, "1".into())), at(7)),
                LimitVerdict::Pass(Some(bucket_status))
            );
        }
        let empty = BucketStatus { bucket: FIVE, remaining: 0, reset_after: at(1_000) };
        assert_eq!(
            limits.judge(Some(bot()), Some((FIVE, "1".into())), at(4_007)),
            LimitVerdict::BucketEmpty(empty)
        );
        let other = limits.judge(Some(bot()), Some((FIVE, "2".into())), at(4_007));
        assert!(matches!(other, LimitVerdict::Pass(Some(BucketStatus { remaining: 4, .. }))));
        let later = limits.judge(Some(bot()), Some((FIVE, "1".into())), at(5_007));
        assert!(matches!(later, LimitVerdict::Pass(Some(BucketStatus { remaining: 4, .. }))));
    }

    #[test]
    fn the_51st_call_in_a_second_is_rejected() {
        let mut limits = limits();
        assert!((0..50).all(|ms| limits.judge(Some(bot()), None, at(ms)) == LimitVerdict::Pass(None)));
        assert_eq!(limits.judge(Some(bot()), None, at(600)), LimitVerdict::Global(at(400)));
        assert_eq!(limits.judge(None, None, at(600)), LimitVerdict::Pass(None), "exempt");
        assert_eq!(limits.judge(Some(Caller::Address(HOME)), None, at(600)), LimitVerdict::Pass(None));
        assert_eq!(limits.judge(Some(bot()), None, at(1_000)), LimitVerdict::Pass(None));
    }

    #[test]
    fn invalid_requests_ban_an_address_for_a_time() {
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
    fn ended_windows_are_pruned() {
        let mut limits = limits();
        for channel in 0..100_000_u64 {
            limits.judge(None, Some((FIVE, channel.to_string())), at(channel * 100));
        }
        assert!(limits.buckets.open.len() <= PRUNE_FROM, "{}", limits.buckets.open.len());
    }

    #[test]
    fn speed_shortens_all_windows() {
        let settings = LimitSettings { global: 1, invalid: 1, ban: at(3_600), speed: 10.0 };
        let mut limits = Limits::new(settings);
        assert_eq!(limits.judge(Some(bot()), None, at(0)), LimitVerdict::Pass(None));
        assert_eq!(limits.judge(Some(bot()), None, at(0)), LimitVerdict::Global(at(100)));
        assert!(limits.note_invalid(HOME, at(0)));
        assert_eq!(limits.banned(HOME, at(0)), Some(at(360)));
    }

    #[test]
    fn longest_ban_does_not_overflow() {
        let years = Duration::from_hours(500_000_000_000 * 8_766);
        for (ban, speed) in [(years, 0.5), (Duration::MAX, 1.0)] {
            let mut limits = Limits::new(LimitSettings { global: 1, invalid: 1, ban, speed });
            assert!(limits.note_invalid(HOME, at(7)));
            assert_eq!(limits.banned(HOME, at(7)), Some(Duration::MAX.saturating_sub(at(7))));
        }
    }
}
