//! A component's metrics registry.

use std::sync::Arc;

use prometheus_client::{encoding::text::encode, registry::Registry};

/// The content type of [`Metrics::scrape`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One component's registry, filled once at its start and then only read.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Registry>);

impl Metrics {
    /// Makes a registry whose metric names begin with `prefix`, and lets `fill` register them.
    pub fn new(prefix: &str, fill: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix(prefix);
        fill(&mut registry);
        Self(Arc::new(registry))
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// A collector that failed to write itself.
    pub fn scrape(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}
