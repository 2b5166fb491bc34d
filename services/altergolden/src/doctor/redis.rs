//! What Redis says about itself, and its judgement.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_store::{FleetRedisStore, FleetStore as _};
use outside_text::printable_within;
use process::settings::StoreArgs;
use redis_link::{LinkOptions, RedisLink, RedisUrl};
use supervisor::redis_server;
use tokio::time::{Instant, timeout};

use super::{
    clock::{self, Comparison},
    report::Finding,
};
use crate::up;

/// Time limit of all questions together.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Measured round trips; the median counts.
const PINGS: usize = 11;
/// The oldest version that works.
const OLDEST: (u32, u32) = (6, 2);
/// Below this median nothing is felt: leases are renewed each second.
const QUICK: Duration = Duration::from_millis(10);
/// From this median on commands are late: their deadline is 2 s, and several follow each other.
const SLOW: Duration = Duration::from_millis(250);

/// What to do about slow answers.
const NEARER: &str = "run Redis near the fleet, on a machine that is not overloaded";

const CHECKS: [&str; 6] =
    ["redis", "redis_policy", "redis_role", "redis_persistence", "redis_latency", "clock_redis"];

/// Answers of Redis.
#[derive(Clone, Debug)]
pub(super) struct RedisFacts {
    shown_url: String,
    is_cluster_url: bool,
    /// `INFO` of each master.
    masters: Vec<BTreeMap<String, String>>,
    /// Round trips of PING, or why there are none.
    pings: Result<Vec<Duration>, String>,
    clock: Result<Comparison, String>,
    /// Workers with a live lease.
    leases: Result<usize, String>,
}

/// Redis, or why it was not asked.
#[derive(Clone, Debug)]
pub(super) enum RedisState {
    Answers(Box<RedisFacts>),
    /// REDIS_URL is not set.
    NotSet,
    /// The setting is invalid: its error.
    Invalid(String),
    /// Where it should be, and why there is no answer.
    Away(String, String),
}

impl RedisFacts {
    /// Workers with a live lease.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) fn live_leases(&self) -> Result<usize, String> {
        self.leases.clone()
    }
}

impl RedisState {
    /// Workers with a live lease; `None` when unknown.
    pub(super) fn leases(&self) -> Option<usize> {
        match self {
            Self::Answers(facts) => facts.live_leases().ok(),
            _ => None,
        }
    }
}

/// Asks Redis: the one that REDIS_URL names or, without it, the server that a running `altergolden up` has started.
pub(super) async fn ask(args: &StoreArgs) -> RedisState {
    if args.is_named() {
        return ask_named(args).await;
    }
    let Some(url) = up::running_redis() else { return RedisState::NotSet };
    match ask_named(&StoreArgs { redis_url: Some(url), ..args.clone() }).await {
        answers @ RedisState::Answers(_) => answers,
        _ => RedisState::NotSet,
    }
}

async fn ask_named(args: &StoreArgs) -> RedisState {
    let url = match args.url() {
        Ok(url) => url,
        Err(error) => return RedisState::Invalid(error.to_string()),
    };
    let shown = url.to_string();
    match timeout(TIMEOUT, ask_at(url, args)).await {
        Ok(Ok(facts)) => RedisState::Answers(Box::new(facts)),
        Ok(Err(why)) => RedisState::Away(shown, why),
        Err(_) => RedisState::Away(shown, format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn ask_at(url: RedisUrl, args: &StoreArgs) -> Result<RedisFacts, String> {
    let (shown_url, is_cluster_url) = (url.to_string(), url.is_cluster());
    let link = RedisLink::new(url, LinkOptions::default());
    let masters = link.info_of_masters().await.map_err(|error| error.to_string())?;
    let pings = measure(&link).await;
    let (before, here) = (Instant::now(), SystemTime::now());
    let time = link.time().await.map_err(|error| error.to_string());
    let took = before.elapsed();
    let clock = time.map(|there| Comparison {
        there: UNIX_EPOCH + there,
        here: here + took / 2,
        unsure: took / 2 + Duration::from_millis(1),
    });
    let store = FleetRedisStore::new(link, args.redis_prefix.clone());
    let leases = store.leases().await.map_err(|error| error.to_string());
    let leases = leases
        .map(|leases| leases.values().filter(|lease| !lease.revoked && !lease.remaining.is_zero()).count());
    Ok(RedisFacts { shown_url, is_cluster_url, masters, pings, clock, leases })
}

async fn measure(link: &RedisLink) -> Result<Vec<Duration>, String> {
    let mut pings = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let before = Instant::now();
        link.ping().await.map_err(|error| error.to_string())?;
        pings.push(before.elapsed());
    }
    Ok(pings)
}

/// Judges what Redis said.
pub(super) fn judge(state: &RedisState) -> Vec<Finding> {
    let facts = match state {
        RedisState::Answers(facts) => facts,
        RedisState::NotSet => {
            let text = "REDIS_URL is not set";
            let mut findings = vec![if redis_server::is_installed() {
                let starts = format!("{text}: `altergolden up` starts a redis-server of its own");
                Finding::not_needed("redis", starts, "")
            } else {
                Finding::unknown(
                    "redis",
                    text,
                    "set REDIS_URL, or install redis-server, which `altergolden up` then starts",
                )
            }];
            findings.extend(
                CHECKS[1..].iter().map(|check| Finding::not_needed(check, "REDIS_URL is not set", "")),
            );
            return findings;
        }
        RedisState::Invalid(error) => {
            return vec![Finding::fail("redis", error.clone(), "correct REDIS_URL")];
        }
        RedisState::Away(url, why) => {
            let mut findings = vec![Finding::fail(
                "redis",
                format!("{url}: {why}"),
                "start Redis, or correct REDIS_URL, its user and its password",
            )];
            findings
                .extend(CHECKS[1..].iter().map(|check| Finding::unknown(check, "Redis does not answer", "")));
            return findings;
        }
    };
    vec![
        version(facts),
        policy(facts),
        role(facts),
        persistence(facts),
        latency(facts),
        match &facts.clock {
            Ok(comparison) => clock::judge("clock_redis", "Redis's", *comparison),
            Err(why) => Finding::unknown("clock_redis", format!("TIME: {why}"), "allow the command TIME"),
        },
    ]
}

/// The values of a field, one from each master that has it, without repetitions.
fn values<'a>(facts: &'a RedisFacts, field: &str) -> Vec<&'a str> {
    let mut values: Vec<&str> =
        facts.masters.iter().filter_map(|info| info.get(field)).map(String::as_str).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn version(facts: &RedisFacts) -> Finding {
    let versions = values(facts, "redis_version");
    let shown: Vec<String> =
        versions.iter().map(|version| printable_within(version, 30).to_string()).collect();
    let text = format!("{} answers, version {}", facts.shown_url, shown.join(", "));
    let number = |version: &str| {
        let mut parts = version.split('.');
        Some((parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?))
    };
    let numbers: Option<Vec<(u32, u32)>> = versions.iter().map(|version| number(version)).collect();
    match numbers.as_deref() {
        None | Some([]) => {
            Finding::unknown("redis", format!("{text}, which is not a version"), "use Redis 6.2 or newer")
        }
        Some(numbers) if numbers.iter().any(|number| *number < OLDEST) => Finding::fail(
            "redis",
            text,
            "use Redis 6.2 or newer: older ones lack commands that the fleet uses",
        ),
        Some(_) => Finding::ok("redis", text),
    }
}

fn policy(facts: &RedisFacts) -> Finding {
    const CHECK: &str = "redis_policy";
    let policies = values(facts, "maxmemory_policy");
    let limits = values(facts, "maxmemory_human").join(", ");
    match policies.as_slice() {
        [] => Finding::unknown(CHECK, "INFO has no maxmemory_policy", "make sure that it is noeviction"),
        ["noeviction"] if matches!(limits.as_str(), "" | "0B") => {
            Finding::ok(CHECK, "maxmemory-policy noeviction, no maxmemory")
        }
        ["noeviction"] => Finding::ok(CHECK, format!("maxmemory-policy noeviction, maxmemory {limits}")),
        policies => Finding::warn(
            CHECK,
            format!(
                "maxmemory-policy {}: a full Redis deletes leases and owners",
                printable_within(&policies.join(", "), 60)
            ),
            "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        ),
    }
}

fn role(facts: &RedisFacts) -> Finding {
    const CHECK: &str = "redis_role";
    let roles = values(facts, "role");
    let is_cluster = values(facts, "cluster_enabled").contains(&"1");
    if is_cluster && !facts.is_cluster_url {
        return Finding::fail(CHECK, "this Redis is a cluster", "write REDIS_URL with redis-cluster://");
    }
    match roles.as_slice() {
        [] => Finding::unknown(CHECK, "INFO has no role", "make sure that REDIS_URL leads to the master"),
        ["master"] if is_cluster => Finding::ok(CHECK, format!("cluster of {} masters", facts.masters.len())),
        ["master"] => {
            let replicas = values(facts, "connected_slaves").join(", ");
            Finding::ok(
                CHECK,
                format!("master, {} replicas", if replicas.is_empty() { "no" } else { &replicas }),
            )
        }
        roles => Finding::fail(
            CHECK,
            format!("role {}: it refuses writes", printable_within(&roles.join(", "), 40)),
            "let REDIS_URL lead to the master, or use redis-sentinel:// to find it",
        ),
    }
}

fn persistence(facts: &RedisFacts) -> Finding {
    const CHECK: &str = "redis_persistence";
    match values(facts, "aof_enabled").as_slice() {
        [] => {
            Finding::unknown(CHECK, "INFO has no aof_enabled", "look at the settings of your Redis service")
        }
        ["1"] => Finding::ok(CHECK, "appendonly yes"),
        _ => Finding::warn(
            CHECK,
            "appendonly no: if Redis and the workers stop together, all sessions are lost and each shard identifies",
            "redis-cli CONFIG SET appendonly yes, and the same in redis.conf",
        ),
    }
}

fn latency(facts: &RedisFacts) -> Finding {
    const CHECK: &str = "redis_latency";
    let mut pings = match &facts.pings {
        Ok(pings) if !pings.is_empty() => pings.clone(),
        Ok(_) => return Finding::unknown(CHECK, "nothing was measured", "try again"),
        Err(why) => return Finding::unknown(CHECK, format!("PING: {why}"), "try again"),
    };
    pings.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (median, longest) = (pings[pings.len() / 2], pings[pings.len() - 1]);
    let text = format!("median of {} PINGs {:.2} ms, longest {:.2} ms", pings.len(), ms(median), ms(longest));
    if median >= SLOW {
        Finding::fail(CHECK, text, NEARER)
    } else if median >= QUICK {
        Finding::warn(CHECK, text, NEARER)
    } else {
        Finding::ok(CHECK, text)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Verdict, *};

    fn facts(fields: &[(&str, &str)]) -> RedisFacts {
        let info = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        RedisFacts {
            shown_url: "redis://127.0.0.1".to_owned(),
            is_cluster_url: false,
            masters: vec![info],
            pings: Ok(vec![Duration::from_micros(100); 11]),
            clock: Err("not asked".to_owned()),
            leases: Ok(0),
        }
    }

    #[test]
    fn versions_below_the_oldest_fail() {
        let of = |text| version(&facts(&[("redis_version", text)])).verdict;
        assert_eq!(of("6.2.0"), Verdict::Ok);
        assert_eq!(of("8.0.1"), Verdict::Ok);
        assert_eq!(of("6.0.16"), Verdict::Fail);
        assert_eq!(of("5.2"), Verdict::Fail);
        assert_eq!(of("new"), Verdict::Unknown);
        assert_eq!(version(&facts(&[])).verdict, Verdict::Unknown);
        let mut mixed = facts(&[("redis_version", "7.2.1")]);
        mixed.masters.push(BTreeMap::from([("redis_version".to_owned(), "6.0.1".to_owned())]));
        assert_eq!(version(&mixed).verdict, Verdict::Fail);
    }

    #[test]
    fn policy_role_and_persistence_are_judged_by_their_fields() {
        let of = |judge: fn(&RedisFacts) -> Finding, fields: &[(&str, &str)]| judge(&facts(fields)).verdict;
        assert_eq!(of(policy, &[("maxmemory_policy", "noeviction")]), Verdict::Ok);
        assert_eq!(of(policy, &[("maxmemory_policy", "allkeys-lru")]), Verdict::Warn);
        assert_eq!(of(role, &[("role", "master")]), Verdict::Ok);
        assert_eq!(of(role, &[("role", "slave")]), Verdict::Fail);
        assert_eq!(of(role, &[("role", "master"), ("cluster_enabled", "1")]), Verdict::Fail);
        assert_eq!(of(persistence, &[("aof_enabled", "1")]), Verdict::Ok);
        assert_eq!(of(persistence, &[("aof_enabled", "0")]), Verdict::Warn);
        for judge in [policy, role, persistence] {
            assert_eq!(judge(&facts(&[])).verdict, Verdict::Unknown);
        }
    }

    #[test]
    fn median_of_the_round_trips_counts() {
        let of = |ms: &[u64]| {
            let pings = Ok(ms.iter().copied().map(Duration::from_millis).collect());
            latency(&RedisFacts { pings, ..facts(&[]) }).verdict
        };
        assert_eq!(of(&[1, 900, 1]), Verdict::Ok);
        assert_eq!(of(&[1, 12, 900]), Verdict::Warn);
        assert_eq!(of(&[300, 300, 1]), Verdict::Fail);
        assert_eq!(of(&[]), Verdict::Unknown);
        let failed = RedisFacts { pings: Err("late".to_owned()), ..facts(&[]) };
        assert_eq!(latency(&failed).verdict, Verdict::Unknown);
    }

    #[test]
    fn each_line_is_there_without_redis() {
        let away = RedisState::Away("redis://127.0.0.1:1".to_owned(), "refused".to_owned());
        let names = |findings: Vec<Finding>| findings.iter().map(|finding| finding.check).collect::<Vec<_>>();
        assert_eq!(names(judge(&away)), CHECKS);
        assert_eq!(names(judge(&RedisState::NotSet)), CHECKS);
        assert_eq!(names(judge(&RedisState::Answers(Box::new(facts(&[]))))), CHECKS);
    }
}
