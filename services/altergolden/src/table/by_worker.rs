//! Many shards on a terminal: a row for each worker, then the shards that are not ready.

use std::collections::BTreeMap;

use altergolden_proto::v1;

use super::{
    grid::{Cell, Colour, Grid, number, text},
    latency, optional, or_unknown, ranges, stats_grid,
};
use crate::screen::{SafeText, Screen};

/// The most shards that a terminal shows one by one.
const MOST_ROWS: usize = 16;

/// Whether this screen shows so long a list by worker. A pipe gets every shard.
pub(super) fn is_grouped(shards: usize, screen: Screen) -> bool {
    screen.width.is_some() && shards > MOST_ROWS
}

/// The shards of one worker.
#[derive(Default)]
struct Summary {
    shards: Vec<v1::ShardRange>,
    ready: usize,
    guilds: u64,
    /// `None` when a shard does not know.
    users: Option<u64>,
    worst_latency_ms: Option<f64>,
}

impl Summary {
    fn add(&mut self, shard: &v1::ShardStats) {
        self.users = match self.shards.is_empty() {
            true => shard.users,
            false => self.users.zip(shard.users).map(|(all, users)| all.saturating_add(users)),
        };
        self.shards.push(v1::ShardRange { first: shard.shard_id, last: shard.shard_id, epoch: 0 });
        self.ready += usize::from(is_ready(shard));
        self.guilds += u64::from(shard.guilds);
        let latencies = [self.worst_latency_ms, shard.latency_ms];
        self.worst_latency_ms = latencies.into_iter().flatten().reduce(f64::max);
    }
}

fn is_ready(shard: &v1::ShardStats) -> bool {
    shard.status == i32::from(v1::ShardStatus::Ready)
}

/// A row for each worker, then a row for each shard that is not ready.
pub(super) fn table(shards: &[v1::ShardStats], screen: Screen) -> SafeText {
    let mut summaries: BTreeMap<&str, Summary> = BTreeMap::new();
    for shard in shards {
        summaries.entry(&shard.worker_id).or_default().add(shard);
    }
    let mut grid = Grid::new([
        text("WORKER", 0),
        text("SHARDS", 0),
        text("READY", 0),
        number("GUILDS", 0),
        number("USERS", 1),
        number("WORST LATENCY", 2),
    ]);
    for (worker, summary) in summaries {
        let (ready, all) = (summary.ready, summary.shards.len());
        let colour = if ready == all { Colour::Good } else { Colour::Changing };
        grid.add_row([
            or_unknown(worker).into(),
            ranges(&summary.shards).into(),
            Cell::coloured(&format!("{ready} of {all}"), colour),
            summary.guilds.to_string().into(),
            optional(summary.users).into(),
            latency(summary.worst_latency_ms).into(),
        ]);
    }
    let hint = "\n(`altergolden shards` lists every shard)".to_owned();
    let not_ready: Vec<&v1::ShardStats> = shards.iter().filter(|shard| !is_ready(shard)).collect();
    let mut shown = grid.render(screen) + hint.into();
    if !not_ready.is_empty() {
        shown = shown + format!("\n\nnot ready: {}\n", not_ready.len()).into();
        shown = shown + stats_grid(not_ready, screen);
    }
    shown
}
