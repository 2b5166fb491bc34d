//! After the last fault: the fleet gets ready, works off what it has, and its caches are Discord's.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{
    fleet::Fleet,
    ledger::{self, Rules, Verdict},
    line::BookError,
};

/// How long the fleet may take to be whole again after the last fault: a shard may wait a minute before it connects, and
/// then 15 s for a HELLO that does not come. Less than the fixture's own patience, which panics.
const SETTLE: Duration = Duration::from_secs(90);

/// How long handlers may take for what is still under way once nothing new comes.
const DRAIN: Duration = Duration::from_secs(30);

/// How long the caches may take after that.
const CACHES: Duration = Duration::from_secs(10);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until all shards are ready on all workers.
pub(super) async fn settle(fleet: &mut Fleet) -> Option<String> {
    if timeout(SETTLE, fleet.balanced()).await.is_ok() {
        return None;
    }
    let shards = match fleet.coordinator().client().await.shards("").await {
        Ok(shards) => format!("{shards:#?}"),
        Err(error) => error.to_string(),
    };
    Some(format!("the fleet was not whole {SETTLE:?} after the last fault: {shards}"))
}

/// Waits until handlers have started everything that was dispatched, or have told that it is lost. What is missing after
/// [`DRAIN`] is the comparison's matter.
pub(super) async fn drain(fleet: &Fleet) -> Result<Verdict, BookError> {
    let deadline = Instant::now() + DRAIN;
    loop {
        // In this order: what is dispatched in between is missing for now, and would be unheard of the other way round.
        let books = fleet.books()?;
        let report = fleet.control().ledger();
        let now_us = (report.started_unix_ms + report.now_ms) * 1_000;
        let verdict = ledger::compare(&ledger::sessions(&report), &books, Rules::default(), now_us);
        if verdict.lost.is_empty() || Instant::now() > deadline {
            return Ok(verdict);
        }
        sleep(LOOK).await;
    }
}

/// Waits until the relay's streams hold everything that was dispatched, or a gap for it, and looks whether each event is there once.
pub(super) async fn relay_has_all(fleet: &Fleet) -> Option<String> {
    let deadline = Instant::now() + DRAIN;
    loop {
        let book = match fleet.relayed().await {
            Ok(None) => return None,
            Ok(Some(book)) => book,
            Err(error) => return Some(format!("the relay's streams cannot be read: {error}")),
        };
        let report = fleet.control().ledger();
        let now_us = (report.started_unix_ms + report.now_ms) * 1_000;
        let verdict = ledger::compare(&ledger::sessions(&report), &[book], Rules::default(), now_us);
        if verdict.is_clean() {
            return None;
        }
        if Instant::now() > deadline {
            return Some(format!("the relay's streams are not what was dispatched:\n{verdict}"));
        }
        sleep(LOOK).await;
    }
}

/// Waits until the fleet's figures are complete and Discord's.
pub(super) async fn caches_are_right(fleet: &Fleet, shards: u32) -> Option<String> {
    let deadline = Instant::now() + CACHES;
    loop {
        let truth = fleet.control().stats(shards).total;
        let stats = match fleet.coordinator().client().await.aggregate_stats(Duration::ZERO).await {
            Ok(stats) => stats,
            Err(error) => return Some(format!("the coordinator does not tell the figures: {error}")),
        };
        let figures = (
            u64::from(stats.total_guilds),
            stats.total_users,
            stats.total_channels.map(u64::from),
            stats.total_voice_connections.map(u64::from),
        );
        let wanted = (truth.guilds, Some(truth.users), Some(truth.channels), Some(truth.voice_connections));
        if stats.complete && figures == wanted {
            return None;
        }
        if Instant::now() > deadline {
            return Some(format!(
                "the caches are not Discord's: complete: {}, guilds, users, channels and voice are {figures:?}, not \
                 {wanted:?}",
                stats.complete
            ));
        }
        sleep(LOOK).await;
    }
}
