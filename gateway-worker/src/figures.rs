//! The worker's figures that are not about one shard, for the coordinator and its page: read from the metrics at each report.

use ::relay::RelayMetrics;
use delays::DelayWindow;
use discord_rest::{RestMetrics, RestStatus};
use dispatch::DispatchMetrics;
use fleet_model::WorkerFigures;
use tokio::time::Instant;

use crate::{checkpoints::SignedHeads, clock::unix_ms, metrics::ShardMetrics};

/// See the module's documentation.
pub(crate) struct FigureReader {
    shards: ShardMetrics,
    dispatch: DispatchMetrics,
    rest: (RestMetrics, RestStatus),
    /// `None` when no events are relayed.
    relay: Option<RelayMetrics>,
    heads: SignedHeads,
    delays: DelayWindow,
    began: Instant,
}

impl FigureReader {
    pub(crate) fn new(
        shards: ShardMetrics,
        dispatch: DispatchMetrics,
        rest: (RestMetrics, RestStatus),
        relay: Option<RelayMetrics>,
        heads: SignedHeads,
    ) -> Self {
        Self { shards, dispatch, rest, relay, heads, delays: DelayWindow::default(), began: Instant::now() }
    }

    pub(crate) fn read(&mut self) -> WorkerFigures {
        let (rest, status) = &self.rest;
        let relay = self.relay.as_ref();
        let handled = self.dispatch.delay_counts();
        let delays = relay.map_or_else(|| handled.clone(), |relay| handled.plus(&relay.delay_counts()));
        WorkerFigures {
            gaps: self.shards.gap_count(),
            dropped: self.dispatch.shed_count(),
            replayed: self.shards.replayed_count(),
            delay_p99_us: self.delays.p99_us(&delays, self.began.elapsed()),
            rest_waiting: rest.waiting_count(),
            rest_invalid: rest.invalid_count(),
            rest_blocked: status.is_blocked(),
            relays: relay.is_some(),
            relay_waiting: relay.map_or(0, RelayMetrics::waiting_count),
            relay_failures: relay.map_or(0, RelayMetrics::failure_count),
            refused_heads: self.heads.refused_lately(unix_ms()),
        }
    }
}
