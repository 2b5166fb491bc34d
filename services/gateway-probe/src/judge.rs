//! Compares what the steps noted with what the fleet assumes. Pure.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    frame::{Frame, GuildPlace, Hash},
    report::{Check, CheckResult},
};

mod order;

pub(crate) use order::{Comparison, compare};

/// Names that are listed in a check's detail.
const MOST_NAMES: usize = 32;

/// One dispatch as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub(crate) at: Instant,
    pub(crate) name: String,
    pub(crate) keys: String,
    pub(crate) bytes: Hash,
    pub(crate) identity: Hash,
    pub(crate) guild_place: GuildPlace,
    pub(crate) guild: Option<u64>,
}

impl Dispatch {
    /// Takes the facts of a dispatch; `None` for other payloads.
    pub(crate) fn of(frame: &Frame, at: Instant) -> Option<Self> {
        (frame.op == 0).then(|| Self {
            at,
            name: frame.name.clone(),
            keys: frame.keys.clone(),
            bytes: frame.bytes,
            identity: frame.identity,
            guild_place: frame.guild_place,
            guild: frame.guild,
        })
    }
}

/// The answer to an IDENTIFY or a RESUME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// READY or RESUMED.
    Accepted,
    /// Op 9 with this `d`.
    InvalidSession(bool),
    /// Closed with a code.
    Closed(Option<u16>),
    /// The connection ended otherwise.
    Lost(String),
    /// Nothing within the time limit.
    Silent,
}

impl Reply {
    /// For people, where acceptance is READY or RESUMED.
    pub(crate) fn text(&self, accepted: &str) -> String {
        match self {
            Self::Accepted => accepted.to_owned(),
            Self::InvalidSession(resumable) => format!("op 9 ({resumable})"),
            Self::Closed(Some(4004)) => "closed with 4004: the token is wrong".to_owned(),
            Self::Closed(Some(code @ (4013 | 4014))) => format!("closed with {code}: correct INTENTS"),
            Self::Closed(Some(code)) => format!("closed with {code}"),
            Self::Closed(None) => "closed without a code".to_owned(),
            Self::Lost(why) => format!("connection lost: {why}"),
            Self::Silent => "no answer".to_owned(),
        }
    }
}

/// A RESUME and its answer.
#[derive(Clone, Debug)]
pub(crate) struct ResumeTry {
    pub(crate) reply: Reply,
    /// From sending until the answer.
    pub(crate) after: Duration,
    /// Dispatches before RESUMED.
    pub(crate) replayed: Vec<Dispatch>,
}

/// A RESUME while the session's socket was open.
#[derive(Clone, Debug)]
pub(crate) struct WhileOpen {
    pub(crate) new: ResumeTry,
    /// How the old socket ended; `None` while it is open.
    pub(crate) old_end: Option<Reply>,
    /// Dispatches after the answer, on each socket.
    pub(crate) new_events: usize,
    pub(crate) old_events: usize,
}

/// A second IDENTIFY in the bucket of a first, which was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Spaced {
    /// Time between sending both.
    pub(crate) gap: Duration,
    pub(crate) reply: Reply,
    pub(crate) after: Duration,
}

fn check(
    check: &'static str,
    result: CheckResult,
    found: String,
    assumed: &'static str,
    detail: Value,
) -> Check {
    Check { check, result, found, assumed, detail }
}

fn as_assumed(is_so: bool) -> CheckResult {
    if is_so { CheckResult::AsAssumed } else { CheckResult::Differs }
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// The order of the envelope's keys. Clients that search the text for `t`, `s` and `op` need them before `d`.
pub(crate) fn key_order(dispatches: &[Dispatch]) -> Check {
    const NAME: &str = "key_order";
    const ASSUMED: &str = "t, s, op, d";
    let mut orders: BTreeMap<&str, usize> = BTreeMap::new();
    for dispatch in dispatches {
        *orders.entry(&dispatch.keys).or_default() += 1;
    }
    let list: Vec<String> = orders.iter().take(4).map(|(keys, count)| format!("{keys} in {count}")).collect();
    if dispatches.is_empty() {
        return check(NAME, CheckResult::NotObserved, "no dispatch came".to_owned(), ASSUMED, json!({}));
    }
    let is_so = orders.keys().all(|keys| *keys == "t,s,op,d");
    check(
        NAME,
        as_assumed(is_so),
        format!("{} dispatches", list.join(", ")),
        ASSUMED,
        json!({ "orders": orders }),
    )
}

/// The place of `guild_id` in the data.
pub(crate) fn guild_last(dispatches: &[Dispatch], with_ids: bool) -> Check {
    const NAME: &str = "guild_id_last";
    const ASSUMED: &str = "guild_id is the last field of d, where there is one";
    let with_guild: Vec<&Dispatch> =
        dispatches.iter().filter(|dispatch| dispatch.guild_place != GuildPlace::Absent).collect();
    if with_guild.is_empty() {
        let why = "no dispatch with guild_id came: write a message where the bot can see it".to_owned();
        return check(NAME, CheckResult::NotObserved, why, ASSUMED, json!({}));
    }
    let mut names: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for dispatch in &with_guild {
        let (last, all) = names.entry(&dispatch.name).or_default();
        *last += usize::from(dispatch.guild_place == GuildPlace::Last);
        *all += 1;
    }
    let last: usize = names.values().map(|(last, _)| last).sum();
    let by_event: BTreeMap<&str, Value> = names
        .iter()
        .take(MOST_NAMES)
        .map(|(name, (last, all))| (*name, json!({ "last": last, "of": all })))
        .collect();
    let mut detail = json!({ "by_event": by_event });
    if with_ids {
        let guilds: std::collections::BTreeSet<String> =
            with_guild.iter().filter_map(|dispatch| dispatch.guild).map(|guild| guild.to_string()).collect();
        detail["guilds"] = json!(guilds.into_iter().take(MOST_NAMES).collect::<Vec<_>>());
    }
    let found = format!("last in {last} of {} dispatches", with_guild.len());
    check(NAME, as_assumed(last == with_guild.len()), found, ASSUMED, detail)
}

/// Whether two sessions of one shard got the same events in the same order.
pub(crate) fn same_order(comparison: &Comparison) -> Check {
    const NAME: &str = "two_sessions_order";
    const ASSUMED: &str = "two sessions of one shard get the same events in the same order";
    let Comparison { common, reordered, only_first, only_second, .. } = comparison;
    let detail = json!({
        "common": common, "reordered": reordered, "only_first": only_first, "only_second": only_second,
    });
    if *common < 2 {
        let why = format!("{common} events came to both: write messages where the bot can see them");
        return check(NAME, CheckResult::NotObserved, why, ASSUMED, detail);
    }
    let missing = only_first + only_second;
    let found = format!("{common} events in common, {reordered} out of order, {missing} in only one of them");
    check(NAME, as_assumed(*reordered == 0 && missing == 0), found, ASSUMED, detail)
}

/// Whether two sessions of one shard got the same bytes.
pub(crate) fn same_bytes(comparison: &Comparison) -> Check {
    const NAME: &str = "two_sessions_bytes";
    const ASSUMED: &str = "the data of an event has the same bytes in both sessions";
    let different: usize = comparison.different.values().sum();
    let names: BTreeMap<&String, &usize> = comparison.different.iter().take(MOST_NAMES).collect();
    let detail = json!({ "common": comparison.common, "different_by_event": names });
    if comparison.common == 0 {
        let why = "no event came to both: write messages where the bot can see them".to_owned();
        return check(NAME, CheckResult::NotObserved, why, ASSUMED, detail);
    }
    let found = format!("{different} of {} events differ", comparison.common);
    check(NAME, as_assumed(different == 0), found, ASSUMED, detail)
}

/// What a RESUME does while the session's socket is open.
pub(crate) fn while_open(observed: &WhileOpen) -> Check {
    const ASSUMED: &str = "takeover: the new socket resumes and the old one is closed";
    let WhileOpen { new, old_end, new_events, old_events } = observed;
    let old = old_end.as_ref().map_or("stays open".to_owned(), |end| end.text("ended"));
    let kind = match (&new.reply, old_end) {
        (Reply::Accepted, Some(_)) => "takeover",
        (Reply::Accepted, None) if *new_events > 0 && *old_events > 0 => "both get events",
        (Reply::Accepted, None) if *old_events > 0 => "the old socket alone gets events",
        (Reply::Accepted, None) if *new_events > 0 => "the new socket alone gets events",
        (Reply::Accepted, None) => "both are open, and no event came",
        (Reply::InvalidSession(false), None) => "refused",
        (Reply::InvalidSession(true), None) => "refused for now",
        (Reply::InvalidSession(_), Some(_)) => "refused, and the old socket ends too",
        _ => "neither accepted nor refused by op 9",
    };
    let found = format!(
        "{kind}: new socket {} after {} ms, {new_events} events; old socket {old}, {old_events} events",
        new.reply.text("RESUMED"),
        ms(new.after)
    );
    let detail = json!({
        "kind": kind,
        "new": new.reply.text("RESUMED"),
        "new_after_ms": ms(new.after),
        "new_replayed": new.replayed.len(),
        "new_events": new_events,
        "old": old,
        "old_events": old_events,
    });
    let result = match kind {
        "takeover" => CheckResult::AsAssumed,
        "neither accepted nor refused by op 9" => CheckResult::NotObserved,
        _ => CheckResult::Differs,
    };
    check("resume_while_open", result, found, ASSUMED, detail)
}

/// A RESUME over another connection, after the first broke. `comparison` is with a session that stayed connected.
pub(crate) fn after_break(resume: &ResumeTry, comparison: &Comparison) -> Check {
    const ASSUMED: &str =
        "RESUME over another connection succeeds and replays what was missed, in order, with the same bytes";
    let different: usize = comparison.different.values().sum();
    let found = format!(
        "{} after {} ms, {} events replayed; of {} events that another session got too, {} out of order, {different} with other bytes, {} missing",
        resume.reply.text("RESUMED"),
        ms(resume.after),
        resume.replayed.len(),
        comparison.common,
        comparison.reordered,
        comparison.only_second,
    );
    let detail = json!({
        "reply": resume.reply.text("RESUMED"),
        "after_ms": ms(resume.after),
        "replayed": resume.replayed.len(),
        "common": comparison.common,
        "reordered": comparison.reordered,
        "missing": comparison.only_second,
        "different": different,
    });
    let is_so = resume.reply == Reply::Accepted
        && comparison.reordered == 0
        && comparison.only_second == 0
        && different == 0;
    check("resume_after_break", as_assumed(is_so), found, ASSUMED, detail)
}

/// Whether a second IDENTIFY of a bucket is refused within the interval.
pub(crate) fn spacing(tries: &[Spaced], interval: Duration) -> Check {
    const NAME: &str = "identify_spacing";
    const ASSUMED: &str = "a second IDENTIFY of a bucket within 5 s is answered with op 9";
    let list: Vec<String> = tries
        .iter()
        .map(|one| {
            format!("{} ms later: {} after {} ms", ms(one.gap), one.reply.text("READY"), ms(one.after))
        })
        .collect();
    let detail: Vec<Value> = tries
        .iter()
        .map(|one| json!({ "gap_ms": ms(one.gap), "reply": one.reply.text("READY"), "after_ms": ms(one.after) }))
        .collect();
    let detail = json!({ "interval_ms": ms(interval), "tries": detail });
    if tries.is_empty() {
        let why = "no first IDENTIFY was accepted".to_owned();
        return check(NAME, CheckResult::NotObserved, why, ASSUMED, detail);
    }
    let is_so = tries.iter().all(|one| matches!(one.reply, Reply::InvalidSession(_)));
    check(NAME, as_assumed(is_so), list.join("; "), ASSUMED, detail)
}

/// A RESUME after a long wait.
pub(crate) fn after_wait(wait: Duration, resume: &ResumeTry) -> Check {
    let reply = resume.reply.text("RESUMED");
    let waited = wait.as_secs();
    let found =
        format!("after {waited} s without a connection: {reply}, {} events replayed", resume.replayed.len());
    let detail = json!({ "waited_s": waited, "reply": reply, "replayed": resume.replayed.len() });
    let is_so = resume.reply == Reply::Accepted;
    check(
        "resume_after_wait",
        as_assumed(is_so),
        found,
        "a session can be resumed after the wait that was asked for",
        detail,
    )
}

/// A step that could not run.
pub(crate) fn not_run(name: &'static str, why: &str) -> Check {
    check(name, CheckResult::NotObserved, format!("not run: {why}"), "", json!({}))
}

#[cfg(test)]
mod tests;
