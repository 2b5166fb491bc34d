//! Serves the live page of a fleet that does not exist, to look at it and to measure it: `synthetic PORT SHARDS WORKERS`.
//!
//! Every shard's figures change each second, as in a busy fleet.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use fleet_model::{Problem, ProblemCode, ShardSlot, ShardStatus, WorkerFigures};
use futures_util::future::BoxFuture;
use live_page::{
    FleetData, HistoryData, IdentifyData, LineData, LivePage, PageSource, PlanData, ShardData, ShardDetail,
    StepData, WhyData, WorkerData,
};
use tokio_util::sync::CancellationToken;

struct Synthetic {
    began: Instant,
    shards: u32,
    workers: u32,
}

/// A number that looks random and is always the same for the same seed.
fn noise(seed: u64) -> u64 {
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (seed >> 7);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11
}

impl PageSource for Synthetic {
    fn fleet(&self) -> FleetData {
        let now = self.began.elapsed();
        let second = now.as_secs();
        let shards = (0..self.shards).map(|number| {
            let seed = u64::from(number);
            let status = match noise(seed) % 400 {
                0 => ShardStatus::Reconnecting,
                1 | 2 => ShardStatus::Resuming,
                3..=5 => ShardStatus::Queued,
                6 => ShardStatus::Identifying,
                7 => ShardStatus::Moving,
                8 => ShardStatus::Silent,
                _ => ShardStatus::Ready,
            };
            let rate = 1 + noise(seed + 7) % 80;
            let detail = if status == ShardStatus::Ready { "" } else { "closed with 1006" };
            ShardData {
                number,
                worker: Some(number * self.workers / self.shards.max(1)),
                status,
                guilds: 900 + (noise(seed + 1) % 1_450) as u32,
                latency_ms: Some((noise(seed + second) % 60 + 30 + noise(seed) % 200) as f64),
                sequence: 1 + rate * (second + 600) + noise(seed + second) % 3,
                reported_at: Some(now),
                since_unix_ms: None,
                detail: detail.to_owned(),
            }
        });
        let workers = (0..self.workers).map(|number| WorkerData {
            name: format!("worker-{number}"),
            version: "0.1.0".to_owned(),
            generation: "blue".to_owned(),
            url: format!("http://127.0.0.1:{}", 50_100 + number),
            address: None,
            capacity: None,
            rss_bytes: (90 + noise(number.into()) % 60) << 20,
            connected: number != 3,
            draining: number == 5,
            heard: Duration::from_millis(100 + noise(u64::from(number) + second) % 900),
            figures: Some(WorkerFigures {
                delay_p99_us: Some(900 + noise(u64::from(number) + second) % 4_000),
                relays: true,
                ..WorkerFigures::default()
            }),
        });
        let steps = (0..6).map(|shard| StepData {
            shard,
            from: "worker-1".to_owned(),
            to: "worker-2".to_owned(),
            identifies: false,
            done: false,
        });
        FleetData {
            acting: true,
            term: 1_795_000_000_000,
            age: Duration::from_millis(200),
            shard_total: self.shards,
            active_generation: "blue".to_owned(),
            lease_ttl: Duration::from_secs(5),
            shards: shards.collect(),
            workers: workers.collect(),
            identify: IdentifyData {
                total: 1_000,
                remaining: 640,
                reserve: 200,
                resets_in: Duration::from_secs(40_000),
                waiting: 8,
                max_concurrency: 1,
                last_turn_in: Some(Duration::from_secs(41)),
            },
            problems: vec![
                Problem::of_shard(ProblemCode::ShardNotReady, ShardSlot(3), "reconnecting: closed with 1006"),
                Problem::new(ProblemCode::WorkerCutOff, "worker worker-3 is cut off"),
            ],
            plan: Some(PlanData {
                id: "7".to_owned(),
                description: "promote generation green".to_owned(),
                state: "running".to_owned(),
                done: 12,
                all: 40,
                estimated_ms: 60_000,
                elapsed_ms: 18_000,
                at_once: 3,
                steps: steps.collect(),
                ..PlanData::default()
            }),
        }
    }

    fn shard(&self, number: u32) -> Option<ShardDetail> {
        (number < self.shards).then(|| ShardDetail {
            number,
            worker: "worker-1".to_owned(),
            epoch: "1795000000000".to_owned(),
            sequence: 4_200,
            uptime_seconds: 7_000,
            reported_ms: Some(300),
            start: "resumed in 0.2 s, 3 replayed".to_owned(),
            started_ms: Some(7_000_000),
            state_for_ms: Some(7_000_000),
            ..ShardDetail::default()
        })
    }

    fn history(&self, since_unix_ms: u64) -> BoxFuture<'_, HistoryData> {
        let kinds = [
            ("worker_joined", "worker worker-4 joined"),
            ("shards_moved", "shards 0-3 moved from worker-1 to worker-2"),
            ("shards_resumed", "shards 0-3 resumed on worker-2"),
            ("problem_raised", "problem worker_cut_off began: worker worker-3 is cut off"),
            ("problem_cleared", "problem worker_cut_off ended"),
            ("plan_changed", "plan 7: promote generation green: running"),
            ("worker_lost", "worker worker-3 lost, with shards 12-15: its process is gone"),
        ];
        let entries = (0..120_u64).rev().map(|n| {
            let (kind, text) = kinds[(noise(n) % 7) as usize];
            let at = since_unix_ms + 86_400_000 * n / 120 + noise(n) % 400_000;
            LineData { at, until: at, kind: kind.to_owned(), text: text.to_owned(), count: 1 }
        });
        let entries = entries.collect();
        Box::pin(async move { HistoryData { entries, ..HistoryData::default() } })
    }

    fn why(&self, guild_id: u64) -> BoxFuture<'_, WhyData> {
        Box::pin(async move {
            WhyData {
                verdict: "works".to_owned(),
                sentence: "the shard works".to_owned(),
                shard: Some(0),
                lines: vec![format!("guild {guild_id}: a guild, 120 members")],
                ..WhyData::default()
            }
        })
    }
}

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().expect("PORT SHARDS WORKERS"));
    let mut next = |otherwise| numbers.next().unwrap_or(otherwise);
    let (port, shards, workers) = (next(0), next(64), next(8));
    let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("a port")));
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let source = Arc::new(Synthetic { began: Instant::now(), shards, workers });
    let page =
        LivePage::new(source, address, process::credentials::Credentials::none(), CancellationToken::new());
    tokio::spawn(page.clone().run());
    tracing::info!(%address, "listening");
    axum::serve(listener, page.routes()).await.expect("a server");
}
