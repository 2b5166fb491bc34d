//! `altergolden up --replace` under load: the whole fleet is replaced, and each event is handled once.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use chaos::{
    ledger::{self, Rules, Verdict},
    line::Book,
};
use discord_sim::{Control, Fault, SimConfig};
use fleet_fixture::{
    Coordinator, DEMANDED_INTERVAL, Deployment, IDENTIFY_INTERVAL, LEASE_TTL, Process, binary, command,
    humantime,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::one_at_a_time;

const SHARDS: u32 = 12;
const EVENTS_PER_SECOND: f64 = 500.0;

/// Load before and after the replacement.
const AROUND: Duration = Duration::from_secs(3);

/// How long handlers may take for what is under way once nothing new comes.
const DRAIN: Duration = Duration::from_secs(30);

/// Compares what Discord dispatched with what the workers' books say. Waits for handlers that are under way.
async fn verdict(control: &Control, books: &Path) -> Verdict {
    let deadline = Instant::now() + DRAIN;
    loop {
        let files = fs::read_dir(books).unwrap().map(|file| file.unwrap().path());
        let books: Vec<Book> = files.map(|file| Book::read(&file).unwrap()).collect();
        let report = control.ledger();
        let now_us = (report.started_unix_ms + report.now_ms) * 1_000;
        let verdict = ledger::compare(&ledger::sessions(&report), &books, Rules::default(), now_us);
        if verdict.lost.is_empty() || Instant::now() > deadline {
            return verdict;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_fleet_loses_and_repeats_nothing() {
    let _turn = one_at_a_time::turn().await;
    let deployment = Deployment::start(SimConfig {
        guilds: 96,
        shards: Some(SHARDS),
        max_concurrency: SHARDS as u16,
        identify_interval: DEMANDED_INTERVAL,
        heartbeat_interval: Duration::from_secs(5),
        daily_identifies: 100_000,
        ..SimConfig::default()
    })
    .await;
    let folder = TempDir::with_prefix("chaos-up-").unwrap();
    let (books, state, bot) =
        (folder.path().join("books"), folder.path().join("state"), folder.path().join("bot.sh"));
    fs::create_dir(&books).unwrap();
    // A book for each process.
    let text = format!(
        "#!/bin/sh\nLEDGER_FILE={}/$WORKER_NAME-$$.ledger exec {}\n",
        books.display(),
        binary("ledger-bot").display()
    );
    fs::write(&bot, text).unwrap();
    fs::set_permissions(&bot, fs::Permissions::from_mode(0o755)).unwrap();
    let mut up = deployment.shared("altergolden");
    up.arg("up").arg("--state").arg(&state).arg("--worker-program").arg(&bot).current_dir(folder.path());
    up.env("RUST_LOG", "info,h2=warn,hyper=warn,tower=warn")
        .env("COORDINATOR_LISTEN", "127.0.0.1:0")
        .env("SHARD_COUNT", SHARDS.to_string())
        .env("CLUSTER_COUNT", "3")
        .env("LEASE_TTL", humantime(LEASE_TTL))
        .env("IDENTIFY_INTERVAL", humantime(IDENTIFY_INTERVAL))
        .env("SETTLE", "500ms");
    let mut process = Process::start("up", &mut up);
    let address = process.logged("supervisor started", "coordinator").await;
    let mut fleet = Coordinator::at(process, &address, "");
    fleet.until_balanced_on(&["worker-0", "worker-1", "worker-2"]).await;

    let control = deployment.sim.control();
    control.inject(Fault::EventRate { per_second: EVENTS_PER_SECOND }).unwrap();
    sleep(AROUND).await;
    let mut replace = command("altergolden");
    replace.arg("up").arg("--replace").arg("--state").arg(&state).current_dir(folder.path());
    let mut replace = Process::start("replace", &mut replace);
    assert_eq!(replace.ended().await.code(), Some(0), "{}", replace.output());
    fleet.until_balanced_on(&["worker-0b", "worker-1b", "worker-2b"]).await;
    sleep(AROUND).await;
    control.inject(Fault::EventRate { per_second: 0.0 }).unwrap();

    let verdict = verdict(&control, &books).await;
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.repeated.is_empty() && verdict.gaps.is_empty(), "{verdict}");
    let replayed: u64 = verdict.handled.values().map(|one| one.replayed).sum();
    assert_eq!(replayed, 0, "nothing comes twice: {verdict}");
    assert!(verdict.dispatched as f64 > EVENTS_PER_SECOND * AROUND.as_secs_f64(), "{verdict}");
    assert_eq!(control.identifies().items.len(), SHARDS as usize, "all shards resumed");
    assert_eq!(fleet.process.stop().await, 0);
    deployment.assert_lawful();
}
