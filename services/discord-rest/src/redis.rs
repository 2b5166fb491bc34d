//! The budget that the whole fleet shares. The rules are scripts, Redis's clock is the only one, and every key expires.
//!
//! All keys have one hash tag, `{prefix:rest}`: a request is decided by its token, its bucket and the breaker together, in one script and
//! one round trip.

use std::{sync::LazyLock, time::Duration};

use async_trait::async_trait;
use redis_link::{KeyPrefix, LinkError, RedisLink, Script};

use crate::{
    Budget, BudgetAnswer, BudgetError, BudgetReport, BudgetRequest, BudgetState, Caller, LimitRules, Scope,
    StopReason, WaitReason,
    limits::{self, millis, millis_up},
};

mod scripts;

static ASK: LazyLock<Script> =
    LazyLock::new(|| scripts::with_constants(include_str!("redis/scripts/ask.lua")));
static REPORT: LazyLock<Script> =
    LazyLock::new(|| scripts::with_constants(include_str!("redis/scripts/report.lua")));
static BREAKER: LazyLock<Script> =
    LazyLock::new(|| scripts::with_constants(include_str!("redis/scripts/breaker.lua")));
static PROBE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/scripts/probe.lua")));

/// The budget over Redis: single, Sentinel or Cluster, from 6.2 on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RedisBudget {
    link: RedisLink,
    /// `{prefix:rest}`.
    tag: String,
    rules: LimitRules,
}

impl RedisBudget {
    /// A budget over this link, whose deadline is how long a request waits for Redis at most. All keys carry the prefix.
    pub fn new(link: RedisLink, prefix: &KeyPrefix, rules: LimitRules) -> Self {
        Self { link, tag: format!("{{{prefix}:rest}}"), rules }
    }

    /// Whether Redis takes writes now.
    ///
    /// # Errors
    /// It is away, or is a replica.
    pub(crate) async fn probe(&self) -> Result<(), BudgetError> {
        let key = format!("{}:probe", self.tag);
        let answer: Result<String, _> = self.link.script(&PROBE, &[&key], &["1000"]).await;
        answer.map(drop).map_err(failed)
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    fn of_caller(&self, caller: &Caller, name: &str) -> String {
        format!("{}:{}:{name}", self.tag, caller.as_str())
    }
}

fn failed(error: LinkError) -> BudgetError {
    BudgetError(error.to_string())
}

fn strange(words: &[String]) -> BudgetError {
    BudgetError(format!("redis answered something unexpected: {words:?}"))
}

/// How long all requests are stopped, and why.
fn breaker(words: &[String]) -> Result<Option<(Duration, StopReason)>, BudgetError> {
    let left = time(words, 0)?;
    let why = if words.get(1).is_some_and(|why| why == "address") {
        StopReason::Blocked
    } else {
        StopReason::Breaker
    };
    Ok((!left.is_zero()).then_some((left, why)))
}

fn time(words: &[String], index: usize) -> Result<Duration, BudgetError> {
    let millis = words.get(index).and_then(|word| word.parse().ok()).ok_or_else(|| strange(words))?;
    Ok(Duration::from_millis(millis))
}

#[async_trait]
impl Budget for RedisBudget {
    async fn ask(&self, ask: &BudgetRequest) -> Result<BudgetAnswer, BudgetError> {
        let learning = format!("learning:{}", ask.pattern);
        let keys = [
            self.of_caller(&ask.caller, "token"),
            self.of_caller(&ask.caller, "turns"),
            self.of_caller(&ask.caller, "routes"),
            self.of_caller(&ask.caller, &learning),
            self.key("breaker"),
        ];
        let args = [
            ask.permit.to_string(),
            ask.pattern.to_string(),
            ask.major.to_string(),
            self.of_caller(&ask.caller, "bucket:"),
            ask.per_second.map_or(0, |per_second| per_second.max(1)).to_string(),
            millis(ask.patience).to_string(),
        ];
        let keys = keys.each_ref().map(String::as_str);
        let words: Vec<String> = self.link.script(&ASK, &keys, &args).await.map_err(failed)?;
        let verdict = words.first().map(String::as_str);
        Ok(match verdict {
            Some("GO") => BudgetAnswer::Go(time(&words, 1)?),
            Some("BUCKET") => BudgetAnswer::Wait(time(&words, 1)?, WaitReason::Bucket),
            Some("LEARNING") => BudgetAnswer::Wait(time(&words, 1)?, WaitReason::Learning),
            Some("GLOBAL") => BudgetAnswer::Wait(time(&words, 1)?, WaitReason::Global),
            Some("BREAKER") => BudgetAnswer::Stop(time(&words, 1)?, StopReason::Breaker),
            Some("BLOCKED") => BudgetAnswer::Stop(time(&words, 1)?, StopReason::Blocked),
            Some("TOKEN") => BudgetAnswer::Stop(time(&words, 1)?, StopReason::Token),
            _ => return Err(strange(&words)),
        })
    }

    async fn report(&self, report: &BudgetReport) -> Result<BudgetState, BudgetError> {
        let ask = &report.ask;
        let learning = format!("learning:{}", ask.pattern);
        let keys = [
            self.of_caller(&ask.caller, "token"),
            self.of_caller(&ask.caller, "routes"),
            self.of_caller(&ask.caller, &learning),
            self.key("breaker"),
            self.key("invalid"),
        ];
        let says_no_bucket = report.seen.is_none() && limits::learn(None, report).is_some();
        let token = match report.token_is_good() {
            Some(true) => "good",
            Some(false) => "bad",
            None => "",
        };
        let mut args = vec![
            ask.permit.to_string(),
            ask.pattern.to_string(),
            ask.major.to_string(),
            self.of_caller(&ask.caller, "bucket:"),
            token.to_owned(),
            u8::from(report.is_invalid()).to_string(),
            self.rules.invalid_limit.to_string(),
            u8::from(says_no_bucket).to_string(),
        ];
        match report.limited {
            Some(limited) => {
                args.extend([limited.scope.name().to_owned(), millis_up(limited.retry_after).to_string()]);
            }
            None => args.extend([String::new(), "0".to_owned()]),
        }
        debug_assert!(
            report.limited.is_none_or(|limited| limited.scope != Scope::Address || report.is_invalid())
        );
        if let Some(seen) = &report.seen {
            args.extend([
                seen.bucket.clone(),
                seen.limit.to_string(),
                seen.remaining.to_string(),
                millis_up(seen.reset_after).to_string(),
                seen.reset.to_string(),
            ]);
        }
        let keys = keys.each_ref().map(String::as_str);
        let words: Vec<String> = self.link.script(&REPORT, &keys, &args).await.map_err(failed)?;
        let [invalid, open @ ..] = words.as_slice() else { return Err(strange(&words)) };
        Ok(BudgetState { invalid: invalid.parse().ok(), breaker: breaker(open)? })
    }

    async fn breaker(&self) -> Result<Option<(Duration, StopReason)>, BudgetError> {
        let keys = [self.key("breaker")];
        let keys = keys.each_ref().map(String::as_str);
        let words: Vec<String> = self.link.script(&BREAKER, &keys, &[] as &[&str]).await.map_err(failed)?;
        breaker(&words)
    }
}
