//! Metrics of checkpoints.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Counted by the writers; clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointMetrics {
    written: Counter,
    records: Counter,
    bytes: Counter,
    failures: Counter,
    rewritten: Counter,
    refused: Counter,
    refused_heads: Counter,
    took: Histogram,
    format: Gauge,
}

impl Default for CheckpointMetrics {
    fn default() -> Self {
        Self {
            written: Counter::default(),
            records: Counter::default(),
            bytes: Counter::default(),
            failures: Counter::default(),
            rewritten: Counter::default(),
            refused: Counter::default(),
            refused_heads: Counter::default(),
            // 1 ms to 16 s.
            took: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            format: Gauge::default(),
        }
    }
}

impl CheckpointMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("checkpoint_writes", "Checkpoints written to their end", &self.written),
            ("checkpoint_records", "Records written", &self.records),
            ("checkpoint_bytes", "Bytes written, compressed", &self.bytes),
            ("checkpoint_failures", "Checkpoints that could not be written", &self.failures),
            (
                "checkpoint_rewrites",
                "Times that the store had lost writes and everything was written again",
                &self.rewritten,
            ),
            ("checkpoint_refused", "Checkpoints that could not be read when a shard started", &self.refused),
            (
                "checkpoint_signatures_refused",
                "Checkpoints refused when a shard started: their signature was missing or wrong",
                &self.refused_heads,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "checkpoint_write_seconds",
            "How long a checkpoint took to write",
            self.took.clone(),
        );
        registry.register(
            "checkpoint_format",
            "Format of the last checkpoint; 0 before it",
            self.format.clone(),
        );
    }

    pub(crate) fn count_written(&self, took: Duration, format: u16) {
        self.written.inc();
        self.format.set(format.into());
        self.took.observe(took.as_secs_f64());
    }

    pub(crate) fn count_step(&self, records: usize, bytes: usize) {
        self.records.inc_by(records as u64);
        self.bytes.inc_by(bytes as u64);
    }

    pub(crate) fn count_failure(&self) {
        self.failures.inc();
    }

    pub(crate) fn count_rewritten(&self) {
        self.rewritten.inc();
    }

    pub(crate) fn count_refused_head(&self) {
        self.refused_heads.inc();
    }

    #[cfg(test)]
    pub(crate) fn refused_head_count(&self) -> u64 {
        self.refused_heads.get()
    }

    pub(crate) fn count_refused(&self) {
        self.refused.inc();
    }
}
