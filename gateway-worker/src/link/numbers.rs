//! Checks a coordinator's fencing numbers. A worker accepts no lower term than its highest, so one false answer could keep it
//! from the real coordinator for good.

use fleet_model::{AHEAD_MS, Assignment, MAX_SHARDS, Term};

/// Checks that clocks could have made these numbers.
///
/// # Errors
/// The impossible number, and what to do about it.
pub(super) fn check(term: Term, assignment: Option<&Assignment>, now_unix_ms: u64) -> Result<(), String> {
    let newest = now_unix_ms.saturating_add(AHEAD_MS);
    let check = |what: &str, number: u64| {
        (number <= newest).then_some(()).ok_or_else(|| {
            format!(
                "the coordinator's {what} {number} is more than a day ahead of this worker's clock: check both clocks and \
                 COORDINATOR_URL"
            )
        })
    };
    check("term", term.0)?;
    let Some(assignment) = assignment else { return Ok(()) };
    if assignment.shard_total > MAX_SHARDS {
        return Err(format!("the coordinator's fleet of {} shards is impossible", assignment.shard_total));
    }
    let arriving = assignment.arriving.values().map(|arriving| arriving.epoch);
    let departing = assignment.departing.values().map(|departing| departing.epoch);
    let mut epochs = assignment.shards.values().copied().chain(arriving).chain(departing);
    epochs.try_for_each(|epoch| check("epoch", epoch.0))
}

#[cfg(test)]
mod tests {
    use fleet_model::{Arriving, Departing, Epoch, ShardKey};

    use super::*;

    #[test]
    fn implausible_numbers_are_refused() {
        const NOW: u64 = 1_795_715_682_997;
        let newest = NOW + AHEAD_MS;
        for (number, is_possible) in
            [(0, true), (1, true), (NOW, true), (newest, true), (newest + 1, false), (u64::MAX, false)]
        {
            let shard = ShardKey::new(0, 1);
            let (epoch, url) = (Epoch(number), "http://w:1".to_owned());
            let arriving = Arriving { epoch, from: "w".parse().unwrap(), url, ticket: None };
            let departing = Departing { epoch, to: "w".parse().unwrap(), ticket: None };
            let assignments = [
                Assignment { shards: [(shard, Epoch(number))].into(), ..Assignment::default() },
                Assignment { arriving: [(shard, arriving)].into(), ..Assignment::default() },
                Assignment { departing: [(shard, departing)].into(), ..Assignment::default() },
            ];
            assert_eq!(check(Term(number), None, NOW).is_ok(), is_possible, "{number}");
            for assignment in assignments {
                assert_eq!(check(Term(1), Some(&assignment), NOW).is_ok(), is_possible, "{number}");
            }
        }
    }
}
