//! Many workers' answers as one. Pure.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{ShardKey, ShardReport, ShardSlot, ShardStatus, UserLookup, WorkerId};

use crate::answer::{FleetStats, TimedReport, UserAnswer};

/// Reports of one fan-out, or of the heartbeats.
pub(crate) fn timed(
    answers: BTreeMap<WorkerId, Vec<ShardReport>>,
    age: Duration,
) -> impl Iterator<Item = TimedReport> {
    answers.into_iter().flat_map(move |(worker, reports)| {
        reports.into_iter().map(move |report| TimedReport { worker: worker.clone(), report, age })
    })
}

/// The shard is ready, or was when its owner handed it over, and its figures count all its guilds.
fn is_whole(report: &ShardReport) -> bool {
    matches!(report.status, ShardStatus::Ready | ShardStatus::Moving)
        && report.pending_guilds == 0
        && report.uncertain_guilds == 0
}

/// Of two reports on one shard the higher epoch counts: during a move both owners may answer. But who has handed the shard over
/// speaks for it until the next owner is ready.
fn counts_more(new: &ShardReport, known: &ShardReport) -> bool {
    let (newer, older) = if new.epoch > known.epoch { (new, known) } else { (known, new) };
    let handed_over = older.status == ShardStatus::Moving && is_whole(older) && !is_whole(newer);
    std::ptr::eq(new, if handed_over { older } else { newer })
}

/// Totals over shards, one report each.
pub(crate) fn stats(shard_total: u32, reports: impl IntoIterator<Item = TimedReport>) -> FleetStats {
    let mut by_shard: Vec<Option<TimedReport>> = Vec::new();
    by_shard.resize_with(shard_total as usize, || None);
    for report in reports {
        // A shard that the total does not have is left out.
        let Some(known) = by_shard.get_mut(report.report.shard.0 as usize) else { continue };
        if known.as_ref().is_none_or(|known| counts_more(&report.report, &known.report)) {
            *known = Some(report);
        }
    }
    let missing_shards: Vec<ShardKey> = ShardKey::all(shard_total)
        .zip(&by_shard)
        .filter(|(_, report)| report.is_none())
        .map(|(shard, _)| shard)
        .collect();
    let mut shards = Vec::with_capacity(by_shard.len() - missing_shards.len());
    shards.extend(by_shard.into_iter().flatten());
    let all_ready = shards.iter().all(|timed| is_whole(&timed.report));
    let reports = || shards.iter().map(|timed| &timed.report);
    let users = total(reports().map(|report| report.users));
    let channels = total(reports().map(|report| report.channels.map(u64::from)));
    let voice_connections = total(reports().map(|report| report.voice_connections.map(u64::from)));
    let counted_everywhere = [&users, &channels, &voice_connections].iter().all(|total| total.everywhere);
    let capped = |total: Total| total.sum.map(|sum| u32::try_from(sum).unwrap_or(u32::MAX));
    FleetStats {
        total_guilds: reports().map(|report| report.guilds).fold(0, u32::saturating_add),
        total_users: users.sum,
        total_channels: capped(channels),
        total_voice_connections: capped(voice_connections),
        shard_count: shard_total,
        complete: shard_total > 0 && missing_shards.is_empty() && all_ready && counted_everywhere,
        missing_shards,
        shards,
    }
}

/// A figure summed over shards.
struct Total {
    /// The sum over the shards that count it; `None` when none does, for example with its intent off.
    sum: Option<u64>,
    /// All shards count it, or none does; otherwise the sum is too low, as in a deploy with other intents.
    everywhere: bool,
}

fn total(figures: impl Iterator<Item = Option<u64>>) -> Total {
    let (mut sum, mut without) = (None, false);
    for figure in figures {
        match figure {
            Some(figure) => sum = Some(u64::saturating_add(sum.unwrap_or(0), figure)),
            None => without = true,
        }
    }
    Total { everywhere: sum.is_none() || !without, sum }
}

/// One user out of all workers' answers. `missing` says which workers, or shards, gave none.
pub(crate) fn user(
    user_id: u64,
    position: usize,
    all: bool,
    answers: &BTreeMap<WorkerId, UserLookup>,
    missing: Option<&str>,
) -> UserAnswer {
    let known = answers.values().filter_map(|answer| answer.users.get(position));
    let known: Vec<_> = known.filter(|user| user.user_id == user_id && !user.shards.is_empty()).collect();
    let mut shards: Vec<ShardSlot> = known.iter().flat_map(|user| &user.shards).copied().collect();
    shards.sort_unstable();
    shards.dedup();
    let found = !shards.is_empty();
    let doubt =
        missing.map(str::to_owned).or_else(|| answers.values().find_map(|answer| answer.incomplete.clone()));
    let complete = found && !all || doubt.is_none();
    UserAnswer {
        found,
        complete,
        user_id,
        shards,
        username: known.first().map(|user| user.username.clone()).unwrap_or_default(),
        reason: if complete { String::new() } else { doubt.unwrap_or_default() },
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{Epoch, UserRecord};

    use super::*;

    fn id(name: &str) -> WorkerId {
        name.parse().unwrap()
    }

    fn report(worker: &str, shard: u32, epoch: u64, guilds: u32) -> TimedReport {
        let mut report = ShardReport::bare(ShardSlot(shard), Epoch(epoch), ShardStatus::Ready);
        report.guilds = guilds;
        report.users = Some(u64::from(guilds) * 10);
        TimedReport { worker: id(worker), report, age: Duration::ZERO }
    }

    #[test]
    fn the_highest_epoch_counts_and_no_shard_counts_twice() {
        let answer = stats(2, [report("a", 0, 5, 10), report("b", 0, 6, 11), report("b", 1, 1, 20)]);
        assert_eq!((answer.total_guilds, answer.total_users), (31, Some(310)));
        assert_eq!(answer.shards[0].worker.as_str(), "b");
        assert!(answer.complete);
        assert_eq!(answer.total_channels, None, "an unknown figure is absent, not 0");
    }

    #[test]
    fn previous_owner_answers_for_a_shard_until_the_next_is_ready() {
        let handed_over = || {
            let mut report = report("a", 0, 5, 10);
            report.report.status = ShardStatus::Moving;
            report
        };
        let resuming = || {
            let mut report = report("b", 0, 6, 0);
            report.report.status = ShardStatus::Resuming;
            report
        };
        for both in [[handed_over(), resuming()], [resuming(), handed_over()]] {
            let answer = stats(1, both);
            assert!((answer.total_guilds, answer.complete) == (10, true), "{answer:?}");
        }
        for both in [[handed_over(), report("b", 0, 6, 11)], [report("b", 0, 6, 11), handed_over()]] {
            assert_eq!(stats(1, both).shards[0].worker.as_str(), "b");
        }
        // One that is cut off and thinks that it is ready is not one that has handed over.
        assert!(!stats(1, [report("a", 0, 5, 10), resuming()]).complete);
    }

    #[test]
    fn a_missing_shard_is_named() {
        let answer = stats(3, [report("a", 0, 1, 10), report("a", 2, 1, 10)]);
        assert_eq!(answer.missing_shards, [ShardKey::new(1, 3)]);
        assert_eq!(answer.missing_shards[0].total(), 3);
        assert!(!answer.complete);
        assert_eq!(answer.shard_count, 3);
    }

    #[test]
    fn a_shard_that_is_not_ready_makes_it_incomplete() {
        let mut late = report("a", 0, 1, 10);
        late.report.status = ShardStatus::Identifying;
        assert!(!stats(1, [late]).complete);
        assert!(!stats(0, []).complete);
    }

    #[test]
    fn figures_that_are_too_low_are_incomplete() {
        type Change = fn(&mut ShardReport);
        let pending = |report: &mut ShardReport| report.pending_guilds = 1;
        let outage_since_ready = |report: &mut ShardReport| report.uncertain_guilds = 1;
        let other_intents = |report: &mut ShardReport| report.users = None;
        let huge = |report: &mut ShardReport| (report.guilds, report.users) = (u32::MAX, Some(u64::MAX));
        let cases: [(&str, Change, bool); 4] = [
            ("a guild of READY has not come", pending, false),
            ("an outage since READY", outage_since_ready, false),
            ("a shard that does not count users", other_intents, false),
            ("a sum too large", huge, true),
        ];
        for (name, change, complete) in cases {
            let mut odd = report("b", 1, 1, 10);
            change(&mut odd.report);
            assert_eq!(stats(2, [report("a", 0, 1, 10), odd]).complete, complete, "{name}");
        }
    }

    fn users(shards: &[u32], incomplete: Option<&str>) -> UserLookup {
        let record = UserRecord {
            user_id: 7,
            shards: shards.iter().copied().map(ShardSlot).collect(),
            username: "ada".to_owned(),
        };
        UserLookup {
            users: vec![record],
            incomplete: incomplete.map(str::to_owned),
            shards: vec![ShardSlot(0)],
        }
    }

    #[test]
    fn user_is_found_or_the_answer_gives_a_reason() {
        let answers =
            BTreeMap::from([(id("a"), users(&[], None)), (id("b"), users(&[3, 1], Some("partial")))]);
        let first = user(7, 0, false, &answers, Some("worker c cannot be reached"));
        assert!(first.found && first.complete && first.reason.is_empty());
        assert_eq!(first.shards, [1, 3].map(ShardSlot));
        let all = user(7, 0, true, &answers, None);
        assert!(all.found && !all.complete);
        assert_eq!(all.reason, "partial");

        let nowhere = BTreeMap::from([(id("a"), users(&[], None))]);
        let not_found = user(7, 0, false, &nowhere, None);
        assert!(!not_found.found && not_found.complete);
        let unsure = user(7, 0, false, &nowhere, Some("worker c cannot be reached"));
        assert!(!unsure.found && !unsure.complete);
    }
}
