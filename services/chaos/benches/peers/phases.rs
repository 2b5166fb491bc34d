//! What is measured of each system, one phase after the other. A phase that fails is noted with its reason, and the next one begins.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use discord_sim::Fault;
use fleet_fixture::{Memory, cpu_time_with_children};
use futures_util::FutureExt as _;
use tokio::time::{sleep, timeout};

use crate::{
    asking::question,
    changes::{Change, disturb},
    figures::Measured,
    stage::{RATE, Stage, WINDOW, figures, set_rate, settled},
    system::System,
    verdict::{Question, Tally, percentile},
};

/// How long a phase may take before it has failed.
const DEADLINE: Duration = Duration::from_mins(6);
/// Without load before memory is measured.
const SETTLE: Duration = Duration::from_secs(10);
/// Calls of each kind in calm.
const CALM_CALLS: usize = 1_000;
/// Runs a phase within a time limit. Returns a panic as an error: fixtures panic when they give up waiting.
pub(crate) async fn guarded<T>(
    limit: Duration,
    run: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match timeout(limit, AssertUnwindSafe(run).catch_unwind()).await {
        Err(_) => Err(format!("not done within {} s", limit.as_secs())),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned())
        }
        Ok(Ok(outcome)) => outcome,
    }
}

/// Runs a phase, and notes why it failed if it did.
async fn phase(
    measured: &mut Measured,
    name: &'static str,
    run: impl Future<Output = Result<BTreeMap<String, f64>, String>>,
) -> bool {
    let outcome = guarded(DEADLINE, run).await;
    let is_done = outcome.is_ok();
    match outcome {
        Ok(figures) => measured.figures.extend(figures),
        Err(reason) => drop(measured.failures.insert(name, reason)),
    }
    is_done
}

/// Measures a system from its start to a deployment.
pub(crate) async fn measure(system: &mut impl System, stage: &Stage, progress: impl Fn(&str)) -> Measured {
    let mut measured = Measured::default();
    progress("start");
    if !phase(&mut measured, "start", start(system, stage)).await {
        return measured;
    }
    progress("events");
    phase(&mut measured, "events", events(system, stage)).await;
    progress("answers");
    phase(&mut measured, "calm", calm(system, stage)).await;
    for change in [Change::Kill, Change::Stop, Change::Deploy] {
        progress(change.name());
        phase(&mut measured, change.name(), disturb(system, stage, change)).await;
        // The phase may have ended in its middle.
        let _ = stage.control.inject(Fault::EventRate { per_second: 0.0 });
        sleep(stage.setup.identify_interval + Duration::from_secs(1)).await;
    }
    let violations = stage.control.violations().items.len();
    measured.figures.insert("rules_broken".to_owned(), violations as f64);
    measured
}

async fn start(system: &mut impl System, stage: &Stage) -> Result<BTreeMap<String, f64>, String> {
    let since = Instant::now();
    system.start().await?;
    system.until_ready().await;
    let ready = since.elapsed();
    let cpu = cpu(system).await?;
    sleep(SETTLE).await;
    let pids = pids(system).await?;
    let memory = pids.iter().filter_map(|pid| Memory::of(*pid)).fold(Memory::default(), |sum, one| sum + one);
    Ok(figures(
        "start",
        [
            ("ready_s", ready.as_secs_f64()),
            ("cpu_s", cpu.as_secs_f64()),
            ("processes", pids.len() as f64),
            ("pss_mib", memory.proportional as f64 / 1024.0),
            ("rss_mib", memory.resident as f64 / 1024.0),
            ("identifies", stage.control.identifies().items.len() as f64),
        ],
    ))
}

async fn pids(system: &mut impl System) -> Result<Vec<u32>, String> {
    let parts = system.parts().await?;
    Ok(system.others().into_iter().chain(parts.iter().map(|part| part.pid)).collect())
}

/// The processor time of all processes so far, ended children included.
async fn cpu(system: &mut impl System) -> Result<Duration, String> {
    Ok(pids(system).await?.into_iter().filter_map(cpu_time_with_children).sum())
}

/// The processor time of an event, beyond what the same time costs without events.
async fn events(system: &mut impl System, stage: &Stage) -> Result<BTreeMap<String, f64>, String> {
    let before = cpu(system).await?;
    sleep(WINDOW).await;
    let idle = cpu(system).await?.saturating_sub(before);
    let first = stage.control.ledger().messages + 1;
    set_rate(stage, RATE)?;
    let before = cpu(system).await?;
    sleep(WINDOW).await;
    let busy = cpu(system).await?.saturating_sub(before);
    let sent = stage.control.ledger().messages + 1 - first;
    set_rate(stage, 0.0)?;
    let account = settled(stage).await?.account(first..=stage.control.ledger().messages);
    Ok(figures(
        "events",
        [
            ("idle_cpu_percent", idle.as_secs_f64() / WINDOW.as_secs_f64() * 100.0),
            ("cpu_us", busy.saturating_sub(idle).as_secs_f64() * 1e6 / sent.max(1) as f64),
            ("sent", account.sent as f64),
            ("lost", account.lost as f64),
        ],
    ))
}

/// One call at a time, without events.
async fn calm(system: &mut impl System, stage: &Stage) -> Result<BTreeMap<String, f64>, String> {
    let ask = system.asker();
    let (mut total, mut guild) = (Tally::default(), Tally::default());
    for number in 0..CALM_CALLS * 2 {
        let question = question(&stage.truth, number);
        let asked = ask(question).await;
        let verdict = stage.truth.judge(question, &asked.said);
        let tally = if question == Question::Total { &mut total } else { &mut guild };
        tally.add(verdict, asked.took.as_secs_f64() * 1e3);
    }
    let at = |tally: &Tally, share| percentile(&tally.times_ms, share).unwrap_or_default();
    Ok(figures(
        "calm",
        [
            ("total_p50_ms", at(&total, 0.5)),
            ("total_p99_ms", at(&total, 0.99)),
            ("guild_p50_ms", at(&guild, 0.5)),
            ("guild_p99_ms", at(&guild, 0.99)),
            ("calls", (total.calls() + guild.calls()) as f64),
            ("wrong", (total.wrong + guild.wrong) as f64),
            ("incomplete", (total.incomplete + guild.incomplete) as f64),
            ("unanswered", (total.unanswered + guild.unanswered) as f64),
        ],
    ))
}
