//! What the coordinator says about the fleet, and the reports of exits to it.

use std::time::{Duration, Instant};

use backoff::{Backoff, Policy};
use process::credentials::{Credentials, Role};
use shard_bridge::{BridgeClient, FleetGlance};
use tokio::{sync::watch, time::sleep};

/// By when a call is answered.
const DEADLINE: Duration = Duration::from_secs(3);

/// Attempts to report an exit, over about 20 s: the coordinator may be restarting, or not trust its store yet.
const REPORT_TRIES: u32 = 15;

/// Waits before the coordinator is tried again.
const AGAIN: Policy = Policy {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
    steady: Duration::from_secs(5),
    free: 0,
};

/// Follows the fleet until the receivers are gone. `None` while the coordinator does not answer; while it answers with errors, it does not act.
pub(crate) async fn follow(
    url: String,
    credentials: Credentials,
    published: watch::Sender<Option<FleetGlance>>,
) {
    let mut backoff = Backoff::new(AGAIN);
    loop {
        tokio::select! {
            () = published.closed() => return,
            answered = follow_once(&url, &credentials, &published, &mut backoff) => {
                let glance = answered.then(FleetGlance::default);
                published.send_if_modified(|known| std::mem::replace(known, glance.clone()) != glance);
            }
        }
        backoff.failed(Instant::now());
        tokio::select! {
            () = published.closed() => return,
            () = sleep(backoff.wait(0.75)) => {}
        }
    }
}

/// Follows the fleet until the connection ends. Returns whether the coordinator has answered with an error at last.
async fn follow_once(
    url: &str,
    credentials: &Credentials,
    published: &watch::Sender<Option<FleetGlance>>,
    backoff: &mut Backoff,
) -> bool {
    let client = BridgeClient::connect_with(url, DEADLINE, credentials, Role::Coordinator).await;
    let Ok(mut client) = client else { return false };
    let mut glances = match client.glances().await {
        Ok(glances) => glances,
        Err(error) => return error.is_from_server(),
    };
    while let Ok(Some(glance)) = glances.next().await {
        backoff.succeeded(Instant::now());
        published.send_if_modified(|known| {
            let news = known.as_ref() != Some(&glance);
            *known = Some(glance);
            news
        });
    }
    false
}

/// Reports that a worker's process has ended, so that the coordinator need not wait for its lease.
pub(crate) async fn report_exit(
    url: String,
    credentials: Credentials,
    worker: String,
    incarnation: String,
    reason: String,
) {
    let mut backoff = Backoff::new(AGAIN);
    for _ in 0..REPORT_TRIES {
        let reported = async {
            let mut client =
                BridgeClient::connect_with(&url, DEADLINE, &credentials, Role::Coordinator).await?;
            client.report_exit(&worker, &incarnation, &reason).await
        };
        match reported.await {
            // Not known: the coordinator saw the end first, or the worker said good-bye.
            Ok(known) => {
                tracing::info!(worker.id = worker, reason, known, "exit reported to the coordinator");
                return;
            }
            Err(error) => tracing::debug!(%error, worker.id = worker, "exit not reported yet"),
        }
        backoff.failed(Instant::now());
        sleep(backoff.wait(0.75)).await;
    }
    tracing::warn!(worker.id = worker, "exit not reported: the coordinator waits for the worker's lease");
}
