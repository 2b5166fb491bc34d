//! A process that runs shards is killed or stopped, or all of them are restarted, while events come and questions are asked.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use discord_sim::Control;
use fleet_fixture::{Signal, signal};
use tokio::time::sleep;

use crate::{
    asking::Asking,
    stage::{LOOK, RATE, Stage, WINDOW, figures, set_rate, settled},
    system::{Part, System},
    verdict::percentile,
};

/// How long a process is stopped.
const STOPPED: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Kill,
    Stop,
    Deploy,
}

impl Change {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Deploy => "deploy",
        }
    }
}

/// Calls and events beside a change. Events begin 3 s before it and end 1 s after all is well again.
pub(crate) async fn disturb(
    system: &mut impl System,
    stage: &Stage,
    change: Change,
) -> Result<BTreeMap<String, f64>, String> {
    let first = stage.control.ledger().messages + 1;
    set_rate(stage, RATE)?;
    sleep(Duration::from_secs(3)).await;
    let identifies = stage.control.identifies().items.len();
    let victim = system
        .parts()
        .await?
        .into_iter()
        .max_by_key(|part| part.shards.len())
        .ok_or("no process runs shards")?;
    let before = connected(&stage.control, &victim);
    let since = Instant::now();
    let asking = Asking::start(system.asker(), stage.truth.clone());
    match change {
        Change::Kill => {
            system.kill(&victim).await?;
            until_connected_again(&stage.control, &victim, &before).await;
        }
        Change::Stop => {
            signal(victim.pid, Signal::STOP);
            sleep(STOPPED).await;
            signal(victim.pid, Signal::CONT);
        }
        Change::Deploy => system.deploy().await?,
    }
    system.until_ready().await;
    let took = since.elapsed();
    // A deployment is measured from its start to its end, the others for a fixed time.
    let window = if change == Change::Deploy { took } else { WINDOW };
    sleep(window.saturating_sub(since.elapsed())).await;
    let tally = asking.end(window).await?;
    sleep(Duration::from_secs(1)).await;
    set_rate(stage, 0.0)?;
    let account = settled(stage).await?.account(first..=stage.control.ledger().messages);
    let spent = stage.control.identifies().items.len() - identifies;
    Ok(figures(
        change.name(),
        [
            ("took_s", took.as_secs_f64()),
            ("identifies", spent as f64),
            ("sent", account.sent as f64),
            ("lost", account.lost as f64),
            ("twice", account.twice as f64),
            ("twice_unmarked", account.twice_unmarked as f64),
            ("calls", tally.calls() as f64),
            ("wrong", tally.wrong as f64),
            ("incomplete", tally.incomplete as f64),
            ("unanswered", tally.unanswered as f64),
            ("p50_ms", percentile(&tally.times_ms, 0.5).unwrap_or_default()),
            ("p99_ms", percentile(&tally.times_ms, 0.99).unwrap_or_default()),
        ],
    ))
}

/// How often Discord has accepted an IDENTIFY or a RESUME of each shard of a process.
fn connected(control: &Control, part: &Part) -> BTreeMap<u32, u32> {
    let shards = control.sessions().shards.into_iter();
    let own = shards.filter(|shard| part.shards.contains(&shard.shard.number));
    own.map(|shard| (shard.shard.number, shard.identifies + shard.resumes)).collect()
}

/// Waits until each shard of a dead process has a connection again.
async fn until_connected_again(control: &Control, part: &Part, before: &BTreeMap<u32, u32>) {
    loop {
        let now = connected(control, part);
        if part.shards.iter().all(|shard| now.get(shard) > before.get(shard)) {
            return;
        }
        sleep(LOOK).await;
    }
}
