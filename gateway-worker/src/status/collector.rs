//! Metrics that are read at each scrape: of the shards, of the lease, of the process.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::LinkStatus;
use crate::{
    clock::BootTime,
    shards::{RunningShard, RunningShards},
};

/// One figure of a shard's handlers or checkpoints.
type WorkFigure = fn(&RunningShard) -> Option<f64>;

/// One figure of a shard.
type Figure = fn(&fleet_model::ShardReport) -> Option<f64>;

/// Reads shards and lease at each scrape: a figure goes with the shard that it is about.
#[derive(Debug)]
pub(crate) struct WorkerCollector {
    pub(crate) shards: RunningShards,
    pub(crate) link: tokio::sync::watch::Receiver<LinkStatus>,
}

impl Collector for WorkerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let reports: Vec<_> = self.shards.all().iter().map(|shard| shard.report()).collect();
        let figures: [(&str, &str, Figure); 6] = [
            ("discord_guilds_total", "Guilds", |report| Some(report.guilds.into())),
            ("discord_users_total", "Members of the guilds, added up", |report| {
                report.users.map(|users| users as f64)
            }),
            ("discord_channels_total", "Channels without threads", |report| report.channels.map(f64::from)),
            ("discord_voice_connections_total", "Users connected to voice", |report| {
                report.voice_connections.map(f64::from)
            }),
            ("discord_gateway_latency_ms", "Round trip to Discord in milliseconds", |report| {
                report.latency_ms
            }),
            ("discord_uptime_seconds", "How long the session has been connected", |report| {
                Some(report.uptime_seconds as f64)
            }),
        ];
        for (name, help, figure) in figures {
            let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for report in &reports {
                if let Some(value) = figure(report) {
                    let labels = [("shard_id", report.shard.0)];
                    ConstGauge::new(value).encode(descriptor.encode_family(&labels)?)?;
                }
            }
        }
        self.encode_work(&mut encoder)?;
        let mut descriptor = encoder.encode_descriptor(
            "shard_status",
            "1 for each shard's status",
            None,
            MetricType::Gauge,
        )?;
        for report in &reports {
            let labels = [("shard_id", report.shard.to_string()), ("status", report.status.to_string())];
            ConstGauge::new(1i64).encode(descriptor.encode_family(&labels)?)?;
        }
        let lease = self.link.borrow().lease.clone();
        let left = lease.map_or(0.0, |lease| lease.left(BootTime::now()).as_secs_f64());
        let gauge = ConstGauge::new(left);
        let descriptor = encoder.encode_descriptor(
            "lease_left_seconds",
            "How long the lease is known to hold",
            None,
            MetricType::Gauge,
        )?;
        gauge.encode(descriptor)?;
        if let Some(bytes) = resident_bytes() {
            let descriptor = encoder.encode_descriptor(
                "process_resident_bytes",
                "Resident memory",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(bytes as f64).encode(descriptor)?;
        }
        Ok(())
    }
}

impl WorkerCollector {
    /// How far the handlers and the checkpoints are behind.
    fn encode_work(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let shards = self.shards.all();
        let figures: [(&str, &str, WorkFigure); 5] = [
            ("gateway_commands_waiting", "Commands of bots that wait to go out", |shard| {
                Some(shard.commands().waiting() as f64)
            }),
            ("handler_queue_events", "Events that wait for bot code or are handled", |shard| {
                Some(shard.queue_figures()?.len as f64)
            }),
            ("handler_queue_bytes", "Their size", |shard| Some(shard.queue_figures()?.bytes as f64)),
            ("handler_queue_oldest_seconds", "Age of the oldest of them", |shard| {
                Some(shard.queue_figures()?.oldest?.as_secs_f64())
            }),
            ("checkpoint_lag_seconds", "How far the checkpoint is behind what was received", |shard| {
                Some(shard.checkpoint_lag()?.as_secs_f64())
            }),
        ];
        for (name, help, figure) in figures {
            let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for shard in &shards {
                if let Some(value) = figure(shard) {
                    let labels = [("shard_id", shard.key().slot().0)];
                    ConstGauge::new(value).encode(descriptor.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

/// Resident memory of this process; `None` without a readable `/proc`.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
