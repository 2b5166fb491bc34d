//! The alert rules of `deploy/prometheus`: by promtool, and by a Prometheus that scrapes a fleet of real processes.

mod prometheus;
mod promql;
mod rules;
mod runs;
