//! Questions to a system, at a steady rate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    system::{Asker, PATIENCE},
    verdict::{Question, Tally, Truth, Verdict},
};

/// Between two calls: 50 a second, however long they take.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The `number`-th question: the total and, in turn, each guild.
pub(crate) fn question(truth: &Truth, number: usize) -> Question {
    // A prime step visits all guilds, because it shares no factor with usual numbers of guilds.
    let place = (number / 2).wrapping_mul(7_919) % truth.0.len().max(1);
    match truth.0.keys().nth(place) {
        Some(id) if number % 2 == 1 => Question::Guild(*id),
        _ => Question::Total,
    }
}

/// Calls at a steady rate, however long each takes. They stop when it is dropped.
pub(crate) struct Asking {
    stop: DropGuard,
    task: JoinHandle<Vec<(Duration, Verdict, Duration)>>,
}

impl Asking {
    pub(crate) fn start(ask: Asker, truth: Arc<Truth>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut calls, mut answers) = (JoinSet::new(), Vec::new());
            let (since, mut ticks) = (Instant::now(), tokio::time::interval(ASK_EVERY));
            for number in 0.. {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    _ = ticks.tick() => {}
                }
                let (ask, truth, begun) = (ask.clone(), truth.clone(), since.elapsed());
                calls.spawn(async move {
                    let question = question(&truth, number);
                    let asked = ask(question).await;
                    (begun, truth.judge(question, &asked.said), asked.took)
                });
                while let Some(done) = calls.try_join_next() {
                    answers.extend(done);
                }
            }
            while let Some(done) = calls.join_next().await {
                answers.extend(done);
            }
            answers
        });
        Self { stop: stop.drop_guard(), task }
    }

    /// Ends the calls, and counts those that began within a time.
    pub(crate) async fn end(self, window: Duration) -> Result<Tally, String> {
        drop(self.stop);
        let answers = timeout(PATIENCE * 5, self.task).await.map_err(|_| "calls hang".to_owned())?;
        let mut tally = Tally::default();
        for (begun, verdict, took) in answers.map_err(|error| error.to_string())? {
            if begun <= window {
                tally.add(verdict, took.as_secs_f64() * 1e3);
            }
        }
        Ok(tally)
    }
}
