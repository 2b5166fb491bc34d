//! Counters of the worker.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Kinds of parts of events: the label values of `gateway_unreadable_total`.
const PARTS: [&str; 16] = [
    "event",
    "session",
    "guild",
    "channel",
    "thread",
    "role",
    "member",
    "user",
    "voice_state",
    "emoji",
    "sticker",
    "presence",
    "stage_instance",
    "scheduled_event",
    "message",
    "field",
];

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
    handed_over: Counter,
    invalid_sessions: Counter,
    fenced: Counter,
    gaps: Counter,
    replayed: Counter,
    singleton_running: Gauge,
    singleton_panics: Counter,
    shard_panics: Counter,
}

/// A run of the singleton that has not ended. Held by its own task: code that blocks its thread goes on after an abort.
#[derive(Debug)]
pub(crate) struct SingletonGuard(Gauge);

impl Drop for SingletonGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ShardMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("gateway_events", "Dispatches received", &self.events),
            ("gateway_garbled", "Malformed gateway messages", &self.garbled),
            (
                "gateway_foreign_guild_events",
                "Ignored guilds, and events of guilds, that belong to other shards",
                &self.foreign,
            ),
            ("gateway_reconnects", "Gateway connections lost", &self.reconnects),
            ("gateway_identified", "Sessions begun by IDENTIFY", &self.identified),
            ("gateway_resumed", "Sessions resumed", &self.resumed),
            ("shard_handoffs", "Shards started from a handoff copy", &self.handed_over),
            (
                "gateway_invalid_sessions",
                "Times that Discord did not take a session (op 9)",
                &self.invalid_sessions,
            ),
            ("gateway_fenced", "Shards closed because the lease was not known to hold", &self.fenced),
            ("gateway_gaps", "Times that events were or may have been lost", &self.gaps),
            ("gateway_replayed", "Events given to bot code again, marked as replayed", &self.replayed),
            ("shard_panics", "Panics of shard tasks; each reconnects afterwards", &self.shard_panics),
            ("singleton_panics", "Panics of the bot's singleton", &self.singleton_panics),
        ] {
            registry.register(name, help, counter.clone());
        }
        // Present from the start: alerts on growth need the first value.
        for part in PARTS {
            self.count_unreadable(part, 0);
        }
        registry.register(
            "gateway_unreadable",
            "Unreadable parts of Discord's events, left out",
            self.unreadable.clone(),
        );
        let running = self.singleton_running.clone();
        registry.register(
            "singleton_running",
            "Runs of the bot's singleton here that have not ended",
            running,
        );
    }

    pub(crate) fn count_event(&self) {
        self.events.inc();
    }

    pub(crate) fn count_garbled(&self) {
        self.garbled.inc();
    }

    pub(crate) fn count_unreadable(&self, part: &'static str, count: usize) {
        self.unreadable.get_or_create(&[("part", part)]).inc_by(count as u64);
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

    pub(crate) fn count_handed_over(&self) {
        self.handed_over.inc();
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

    pub(crate) fn gap_count(&self) -> u64 {
        self.gaps.get()
    }

    pub(crate) fn count_replayed(&self, events: u64) {
        self.replayed.inc_by(events);
    }

    pub(crate) fn replayed_count(&self) -> u64 {
        self.replayed.get()
    }

    /// Counts a singleton as running until the guard is dropped.
    pub(crate) fn singleton_runs(&self) -> SingletonGuard {
        self.singleton_running.inc();
        SingletonGuard(self.singleton_running.clone())
    }

    #[cfg(test)]
    pub(crate) fn running_singletons(&self) -> i64 {
        self.singleton_running.get()
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
