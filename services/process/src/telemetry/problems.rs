//! The metric `problems{code}`: what `/health` lists, for alerts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use fleet_model::Problem;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

/// The current problems by code; clones show the same.
#[derive(Clone, Debug, Default)]
pub struct ProblemMetrics(Arc<Mutex<BTreeMap<&'static str, i64>>>);

impl ProblemMetrics {
    /// Replaces what is shown: for each code that makes the process degraded, how many shards it is about, or 1.
    pub fn set(&self, problems: &[Problem]) {
        let mut counts = BTreeMap::new();
        for problem in problems.iter().filter(|problem| problem.degrades()) {
            let shards = i64::try_from(problem.shards.len()).unwrap_or(i64::MAX);
            let count: &mut i64 = counts.entry(problem.code.as_str()).or_default();
            *count = count.saturating_add(shards.max(1));
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}

impl Collector for ProblemMetrics {
    /// A problem that has ended is absent.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut descriptor = encoder.encode_descriptor(
            "problems",
            "Problems in /health, by code: how many shards each is about, or 1",
            None,
            MetricType::Gauge,
        )?;
        for (code, count) in counts {
            ConstGauge::new(count).encode(descriptor.encode_family(&[("code", code)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{ProblemCode, ShardSlot};

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn problems_are_counted_by_code_and_go_away_when_they_end() {
        let shown = ProblemMetrics::default();
        let metrics = Metrics::new("a", |registry| registry.register_collector(Box::new(shown.clone())));
        let of_shard =
            |shard| Problem::of_shard(ProblemCode::CheckpointFailing, ShardSlot(shard), "away".to_owned());
        shown.set(&[
            of_shard(1),
            of_shard(2),
            Problem::new(ProblemCode::TokenRefused, "401"),
            Problem::new(ProblemCode::TotalDiffers, "advice is no problem"),
        ]);
        let text = metrics.scrape().unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("a_problems{")).collect();
        assert_eq!(
            lines,
            [r#"a_problems{code="checkpoint_failing"} 2"#, r#"a_problems{code="token_refused"} 1"#]
        );
        shown.set(&[]);
        assert!(!metrics.scrape().unwrap().contains("a_problems{"));
    }
}
