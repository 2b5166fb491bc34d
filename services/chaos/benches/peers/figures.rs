//! The figures of one system: pure.

use std::collections::{BTreeMap, BTreeSet};

/// What was measured of a system in one run, or the medians of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    /// By name; the name begins with the phase and ends with the unit.
    pub(crate) figures: BTreeMap<String, f64>,
    /// Why a phase failed.
    pub(crate) failures: BTreeMap<&'static str, String>,
}

/// Returns the median of each figure over the runs that have it, and the first failure of each phase.
pub(crate) fn medians(runs: &[Measured]) -> Measured {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.figures.keys()).collect();
    let median = |name: &String| {
        let mut values: Vec<f64> = runs.iter().filter_map(|run| run.figures.get(name).copied()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { values[middle - 1].midpoint(values[middle]) }
    };
    let mut failures = BTreeMap::new();
    for (phase, reason) in runs.iter().flat_map(|run| &run.failures) {
        failures.entry(*phase).or_insert_with(|| reason.clone());
    }
    Measured { figures: names.into_iter().map(|name| (name.clone(), median(name))).collect(), failures }
}
