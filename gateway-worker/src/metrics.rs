//! What the worker counts.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::{clock::BootTime, reading::Part, shard::Shard, shards::RunningShards, status::LinkStatus};

/// Counted by the shards' tasks; clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardMetrics {
    events: Counter,
    garbled: Counter,
    unreadable: Family<[(&'static str, &'static str); 1], Counter>,
    foreign: Counter,
    reconnects: Counter,
    identified: Counter,
    resumed: Counter,
    carried: Counter,
    invalid_sessions: Counter,
    fenced: Counter,
    gaps: Counter,
    singleton_running: Gauge,
    singleton_panics: Counter,
    shard_panics: Counter,
}

impl ShardMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("gateway_events", "Dispatches received", &self.events),
            ("gateway_garbled", "Messages that made no sense", &self.garbled),
            (
                "gateway_foreign_guild_events",
                "Ignored guilds, and events of guilds, that belong to other shards",
                &self.foreign,
            ),
            ("gateway_reconnects", "Gateway connections lost", &self.reconnects),
            ("gateway_identified", "Sessions begun by IDENTIFY", &self.identified),
            ("gateway_resumed", "Sessions resumed", &self.resumed),
            ("shard_handoffs", "Shards that came with all they know, from the owner before", &self.carried),
            (
                "gateway_invalid_sessions",
                "Times that Discord did not take a session (op 9)",
                &self.invalid_sessions,
            ),
            ("gateway_fenced", "Shards closed because the lease was not known to hold", &self.fenced),
            ("gateway_gaps", "Times that events were or may have been lost", &self.gaps),
            ("shard_panics", "Panics of shard tasks; each reconnects afterwards", &self.shard_panics),
            ("singleton_panics", "Panics of the bot's singleton", &self.singleton_panics),
        ] {
            registry.register(name, help, counter.clone());
        }
        // Present from the start: alerts on growth need the first value.
        for part in Part::ALL {
            self.count_unreadable(part, 0);
        }
        registry.register(
            "gateway_unreadable",
            "Unreadable parts of Discord's events, left out or replaced by a default",
            self.unreadable.clone(),
        );
        let running = self.singleton_running.clone();
        registry.register("singleton_running", "1 while the bot's singleton runs here", running);
    }

    pub(crate) fn count_event(&self) {
        self.events.inc();
    }

    pub(crate) fn count_garbled(&self) {
        self.garbled.inc();
    }

    pub(crate) fn count_unreadable(&self, part: Part, count: usize) {
        self.unreadable.get_or_create(&[("part", part.as_str())]).inc_by(count as u64);
    }

    pub(crate) fn count_foreign(&self) {
        self.foreign.inc();
    }

    #[cfg(test)]
    pub(crate) fn foreign_guild_events(&self) -> u64 {
        self.foreign.get()
    }

    pub(crate) fn count_reconnect(&self) {
        self.reconnects.inc();
    }

    pub(crate) fn count_identified(&self) {
        self.identified.inc();
    }

    pub(crate) fn count_carried(&self) {
        self.carried.inc();
    }

    pub(crate) fn count_resumed(&self) {
        self.resumed.inc();
    }

    pub(crate) fn count_invalid_session(&self) {
        self.invalid_sessions.inc();
    }

    pub(crate) fn count_gap(&self) {
        self.gaps.inc();
    }

    pub(crate) fn singleton_runs(&self, runs: bool) {
        self.singleton_running.set(runs.into());
    }

    pub(crate) fn count_singleton_panic(&self) {
        self.singleton_panics.inc();
    }

    pub(crate) fn count_panic(&self) {
        self.shard_panics.inc();
    }

    #[cfg(test)]
    pub(crate) fn panics(&self) -> u64 {
        self.shard_panics.get()
    }

    pub(crate) fn count_fenced(&self) {
        self.fenced.inc();
    }
}

/// Counted by the link.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkMetrics {
    refused: Counter,
    overflows: Counter,
}

impl LinkMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("lease_refused", "Times that the lease was refused", self.refused.clone());
        registry.register(
            "link_report_overflows",
            "Streams given up because the coordinator did not read the reports",
            self.overflows.clone(),
        );
    }

    pub(crate) fn count_overflow(&self) {
        self.overflows.inc();
    }

    pub(crate) fn count_refused(&self) {
        self.refused.inc();
    }
}

/// One figure of a shard's handlers or checkpoints.
type WorkFigure = fn(&Shard) -> Option<f64>;

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
                    let labels = [("shard_id", shard.number().0)];
                    ConstGauge::new(value).encode(descriptor.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

/// Resident memory of this process; `None` where the system does not tell this way.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
