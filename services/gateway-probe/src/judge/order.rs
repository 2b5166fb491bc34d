//! Compares the events of two sessions. Pure.

use std::collections::{BTreeMap, HashMap};

use super::Dispatch;
use crate::frame::Hash;

/// Events that belong to one session: its start, its RESUME, answers to its own requests.
const OF_ONE_SESSION: [&str; 4] = ["READY", "RESUMED", "GUILD_CREATE", "GUILD_MEMBERS_CHUNK"];

/// What two sessions have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Events that both got.
    pub(crate) common: usize,
    /// Common events that the second got before an event that the first got earlier.
    pub(crate) reordered: usize,
    /// Events of one session alone, between the first and the last common event.
    pub(crate) only_first: usize,
    pub(crate) only_second: usize,
    /// Common events with different bytes, by name.
    pub(crate) different: BTreeMap<String, usize>,
}

/// Compares the events of two sessions. Events are matched by name and ids; the n-th of the same name and ids in one is the n-th in
/// the other.
pub(crate) fn compare(first: &[Dispatch], second: &[Dispatch]) -> Comparison {
    let (first, second) = (shared_events(first), shared_events(second));
    let places: HashMap<(Hash, usize), usize> =
        second.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect();
    let pairs: Vec<(usize, usize)> =
        first.iter().enumerate().filter_map(|(place, (key, _))| Some((place, *places.get(key)?))).collect();
    let mut comparison = Comparison { common: pairs.len(), ..Comparison::default() };
    let mut latest = None;
    for (a, b) in &pairs {
        if latest.is_some_and(|latest| *b < latest) {
            comparison.reordered += 1;
        }
        latest = latest.max(Some(*b));
        let (one, other) = (first[*a].1, second[*b].1);
        if one.bytes != other.bytes {
            *comparison.different.entry(one.name.clone()).or_default() += 1;
        }
    }
    // Before the first common event and after the last one, one session was not listened to yet, or not any more.
    let between = |places: Vec<usize>| match (places.iter().min(), places.iter().max()) {
        (Some(from), Some(to)) => to - from + 1 - places.len(),
        _ => 0,
    };
    comparison.only_first = between(pairs.iter().map(|(a, _)| *a).collect());
    comparison.only_second = between(pairs.iter().map(|(_, b)| *b).collect());
    comparison
}

type Keyed<'a> = ((Hash, usize), &'a Dispatch);

/// The events that other sessions get too, each with its identity and its number among those with the same identity.
fn shared_events(dispatches: &[Dispatch]) -> Vec<Keyed<'_>> {
    let mut seen: HashMap<Hash, usize> = HashMap::new();
    dispatches
        .iter()
        .filter(|dispatch| !OF_ONE_SESSION.contains(&dispatch.name.as_str()))
        .map(|dispatch| {
            let number = seen.entry(dispatch.identity).or_default();
            *number += 1;
            ((dispatch.identity, *number), dispatch)
        })
        .collect()
}
