//! Judges whether the shards suffice for the guilds, and the IDENTIFYs for the shards. Pure.

use std::time::Duration;

use altergolden_proto::v1;
use coordinator::discord::{DiscordError, GatewayInfo};
use fleet::shard_total::wanted;
use fleet_model::{Percent, ShardCount};

use super::{fleet::FleetFacts, report::Finding};

/// The most guilds of a shard; with more, Discord closes it with 4011
/// ([Sharding](https://docs.discord.com/developers/events/gateway#sharding)).
const MOST_GUILDS: u64 = 2_500;
/// From here on a shard is nearly full.
const NEARLY_FULL: u64 = 2_000;

/// What to do about a full shard.
const LARGER_COUNT: &str = "start the fleet with a larger SHARD_COUNT";

/// The settings that decide how many shards there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShardSettings {
    pub(super) count: ShardCount,
    pub(super) buffer: Percent,
    pub(super) reserve: Percent,
}

/// Why there is no answer of `GET /gateway/bot`.
fn without_gateway(check: &'static str, gateway: Option<&Result<GatewayInfo, DiscordError>>) -> Finding {
    match gateway {
        Some(Err(error)) => Finding::unknown(check, error.to_string(), "try again"),
        _ => Finding::unknown(check, "needs an accepted token", "see the line about the token"),
    }
}

/// Returns the number of shards that a full start identifies: the running fleet's, or by the settings.
fn total(settings: ShardSettings, info: &GatewayInfo, fleet: &FleetFacts) -> (u32, &'static str) {
    match fleet.running().map(|running| running.status.shard_total) {
        Some(total) if total > 0 => (total, "the fleet runs"),
        _ => (wanted(settings.count, settings.buffer, info.advice), "the settings make"),
    }
}

/// Returns the number of shards, if it is known.
pub(super) fn known_total(
    settings: ShardSettings,
    gateway: Option<&Result<GatewayInfo, DiscordError>>,
    fleet: &FleetFacts,
) -> Option<u32> {
    let running = fleet.running().map(|running| running.status.shard_total).filter(|total| *total > 0);
    running.or_else(|| Some(total(settings, gateway?.as_ref().ok()?, fleet).0))
}

/// Compares the number of shards with Discord's advice.
pub(super) fn shard_count(
    settings: ShardSettings,
    gateway: Option<&Result<GatewayInfo, DiscordError>>,
    guilds: Option<u64>,
    fleet: &FleetFacts,
) -> Finding {
    const CHECK: &str = "shard_count";
    let Some(Ok(info)) = gateway else { return without_gateway(CHECK, gateway) };
    let (total, whose) = total(settings, info, fleet);
    let advised = info.advice.shards;
    let text = match guilds {
        Some(guilds) => {
            format!("{whose} {total} shards for about {guilds} guilds; Discord recommends {advised}")
        }
        None => format!("{whose} {total} shards; Discord recommends {advised}"),
    };
    let multiple = info.advice.max_concurrency;
    if multiple > 1 && !total.is_multiple_of(multiple) && advised.is_multiple_of(multiple) {
        return Finding::fail(
            CHECK,
            format!("{text}, a multiple of {multiple}; with another number it may close shards with 4010"),
            format!("set SHARD_COUNT to auto or to a multiple of {multiple}"),
        );
    }
    if guilds.is_some_and(|guilds| guilds.div_ceil(u64::from(total.max(1))) > MOST_GUILDS) {
        return Finding::fail(
            CHECK,
            format!("{text}: more than {MOST_GUILDS} guilds on a shard, which Discord closes with 4011"),
            "set SHARD_COUNT to auto or to a larger number",
        );
    }
    if total < advised {
        return Finding::warn(CHECK, text, format!("set SHARD_COUNT to auto or to {advised} and more"));
    }
    Finding::ok(CHECK, text)
}

/// Compares the largest number of guilds on one shard of the running fleet with Discord's limit.
pub(super) fn fullest_shard(fleet: &FleetFacts) -> Finding {
    const CHECK: &str = "fullest_shard";
    let running = match fleet {
        FleetFacts::Running(running) => running,
        FleetFacts::NotRunning(_) => return Finding::not_needed(CHECK, "no coordinator answers", ""),
        FleetFacts::Unknown(why) => {
            return Finding::unknown(CHECK, why.clone(), "see the line about the fleet");
        }
    };
    let stats: &v1::GetAggregateStatsResponse = match &running.stats {
        Ok(stats) => stats,
        Err(why) => return Finding::unknown(CHECK, why.clone(), "see the line about the fleet"),
    };
    let Some(fullest) = stats.shards.iter().max_by_key(|shard| shard.guilds) else {
        return Finding::unknown(CHECK, "no shard answered", "see the line about the fleet");
    };
    let guilds = u64::from(fullest.guilds);
    let text = format!("shard {} has {guilds} guilds; the limit is {MOST_GUILDS}", fullest.shard_id);
    if guilds > MOST_GUILDS {
        return Finding::fail(CHECK, text, LARGER_COUNT);
    }
    if guilds >= NEARLY_FULL {
        return Finding::warn(CHECK, text, LARGER_COUNT);
    }
    if !stats.complete {
        let answered =
            format!("{} of {} shards answered; of these {text}", stats.shards.len(), stats.shard_count);
        return Finding::unknown(CHECK, answered, "run the doctor again when all shards are ready");
    }
    Finding::ok(CHECK, text)
}

/// Compares the IDENTIFYs that are left today with the need of a full start.
pub(super) fn identify_budget(
    settings: ShardSettings,
    gateway: Option<&Result<GatewayInfo, DiscordError>>,
    fleet: &FleetFacts,
) -> Finding {
    const CHECK: &str = "identify_budget";
    let Some(Ok(info)) = gateway else { return without_gateway(CHECK, gateway) };
    let (need, _) = total(settings, info, fleet);
    let reserve = settings.reserve.of(info.total);
    let free = info.remaining.saturating_sub(reserve);
    let resets = in_words(info.reset_after);
    let text = format!(
        "{} of {} IDENTIFYs are left, {reserve} of them in reserve; a full start needs {need}; the count resets in {resets}",
        info.remaining, info.total
    );
    if free >= need {
        return Finding::ok(CHECK, text);
    }
    let remedy = format!(
        "wait {resets}, or lower IDENTIFY_RESERVE; restarts that resume, deploys and drains cost none (docs/deploys.md)"
    );
    if fleet.running().is_some() {
        Finding::warn(CHECK, text, remedy)
    } else {
        Finding::fail(CHECK, text, remedy)
    }
}

/// A time for people: `3 h 12 min`, `4 min`.
pub(super) fn in_words(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use ::fleet::shard_total::Advice;
    use tokio::time::Instant;

    use super::{super::fleet::RunningFleet, super::report::Verdict, *};

    fn info(shards: u32, max_concurrency: u32, remaining: u32) -> GatewayInfo {
        GatewayInfo {
            url: "wss://x".to_owned(),
            advice: Advice { shards, max_concurrency },
            total: 1_000,
            remaining,
            reset_after: Duration::from_mins(181),
            asked: Instant::now(),
        }
    }

    fn settings(count: ShardCount) -> ShardSettings {
        ShardSettings { count, buffer: Percent(20), reserve: Percent(10) }
    }

    fn none() -> FleetFacts {
        FleetFacts::NotRunning(String::new())
    }

    fn running(total: u32, guilds: &[u32], complete: bool) -> FleetFacts {
        let shards = (0..).zip(guilds);
        let shards = shards
            .map(|(shard_id, &guilds)| v1::ShardStats { shard_id, guilds, ..Default::default() })
            .collect();
        let stats =
            v1::GetAggregateStatsResponse { complete, shard_count: total, shards, ..Default::default() };
        let status = v1::FleetStatus { acting: true, shard_total: total, ..Default::default() };
        FleetFacts::Running(Box::new(RunningFleet { status, stats: Ok(stats) }))
    }

    #[test]
    fn number_of_shards_is_compared_with_the_advice() {
        let judge = |count, gateway, guilds, fleet: &FleetFacts| {
            shard_count(settings(count), Some(&Ok(gateway)), guilds, fleet).verdict
        };
        assert_eq!(judge(ShardCount::Auto, info(10, 1, 1_000), Some(9_000), &none()), Verdict::Ok);
        assert_eq!(judge(ShardCount::Fixed(9), info(10, 1, 1_000), Some(9_000), &none()), Verdict::Warn);
        assert_eq!(judge(ShardCount::Fixed(3), info(3, 1, 1_000), Some(7_501), &none()), Verdict::Fail);
        assert_eq!(judge(ShardCount::Fixed(3), info(3, 1, 1_000), Some(7_500), &none()), Verdict::Ok);
        assert_eq!(judge(ShardCount::Fixed(170), info(160, 16, 1_000), None, &none()), Verdict::Fail);
        assert_eq!(judge(ShardCount::Fixed(176), info(160, 16, 1_000), None, &none()), Verdict::Ok);
        // A running fleet keeps its number.
        assert_eq!(judge(ShardCount::Auto, info(10, 1, 1_000), None, &running(4, &[], true)), Verdict::Warn);
        assert_eq!(shard_count(settings(ShardCount::Auto), None, None, &none()).verdict, Verdict::Unknown);
    }

    #[test]
    fn fullest_shard_needs_every_answer_to_be_ok() {
        let judge = |guilds: &[u32], complete| fullest_shard(&running(2, guilds, complete)).verdict;
        assert_eq!(judge(&[1_999, 3], true), Verdict::Ok);
        assert_eq!(judge(&[3, 2_000], true), Verdict::Warn);
        assert_eq!(judge(&[3, 2_501], false), Verdict::Fail);
        assert_eq!(judge(&[3], false), Verdict::Unknown);
        assert_eq!(judge(&[], true), Verdict::Unknown);
        assert_eq!(fullest_shard(&none()).verdict, Verdict::NotNeeded);
    }

    #[test]
    fn identifies_left_beyond_the_reserve_must_suffice() {
        let judge = |remaining, fleet: &FleetFacts| {
            identify_budget(settings(ShardCount::Fixed(10)), Some(&Ok(info(10, 1, remaining))), fleet)
        };
        assert_eq!(judge(110, &none()).verdict, Verdict::Ok);
        let short = judge(109, &none());
        assert_eq!(short.verdict, Verdict::Fail);
        assert!(short.text.contains("resets in 3 h 1 min"), "{short:?}");
        assert_eq!(judge(109, &running(10, &[], true)).verdict, Verdict::Warn);
    }
}
