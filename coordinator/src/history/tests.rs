use fleet_model::{Epoch, HistoryKind, ShardSlot, Term};
use fleet_store::{FleetMemoryStore, FleetRedisStore};
use redis_fixture::RedisServer;
use redis_link::{LinkOptions, RedisLink};

use super::*;

fn history(store: Arc<dyn FleetStore>) -> History {
    History::new(store, "c".parse().unwrap(), Clock::start(), CoordinatorMetrics::default())
}

fn question() -> HistoryQuestion {
    let filter = HistoryFilter::default();
    HistoryQuestion { filter, before: None, limit: 500, deadline: Duration::from_secs(5) }
}

fn resumed(history: &History, shard: u32) {
    let entry = HistoryEntry::new(HistoryKind::ShardsResumed, Term(1), history.now().unix_ms);
    history.record(entry.shard(ShardSlot(shard), Epoch(1)).detail(format!("of {shard}")));
}

/// The shards of an answer, newest first.
fn shards(answer: &HistoryAnswer) -> Vec<String> {
    answer.entries.iter().map(|entry| entry.shards.to_string()).collect()
}

/// Runs the task that writes for as long as `test` runs, and until it has ended.
async fn while_written(history: &History, test: impl AsyncFnOnce()) {
    let ended = CancellationToken::new();
    let tested = async {
        test().await;
        ended.cancel();
    };
    tokio::join!(history.clone().write(ended.clone()), tested);
}

#[tokio::test(start_paused = true)]
async fn entry_is_in_answers_at_once_and_in_the_store_after_a_second() {
    let store: Arc<dyn FleetStore> = Arc::new(FleetMemoryStore::new());
    let history = history(store.clone());
    while_written(&history, async || {
        resumed(&history, 3);
        assert_eq!(shards(&history.answer(&question()).await), ["3"]);
        assert!(store.read_history(None, 10).await.unwrap().is_empty());
        while store.read_history(None, 10).await.unwrap().is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(shards(&history.answer(&question()).await), ["3"], "from the store, and not twice");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn end_writes_what_is_open_and_another_coordinator_reads_it() {
    let store: Arc<dyn FleetStore> = Arc::new(FleetMemoryStore::new());
    let first = history(store.clone());
    while_written(&first, async || resumed(&first, 3)).await;
    let next = History::new(store, "d".parse().unwrap(), Clock::start(), CoordinatorMetrics::default());
    let answer = next.answer(&question()).await;
    assert_eq!((shards(&answer), answer.missing, answer.next), (vec!["3".to_owned()], None, None));
    assert_eq!(answer.begins_unix_ms, Some(answer.entries[0].at_unix_ms));
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_pages_without_a_repetition() {
    let history = history(Arc::new(FleetMemoryStore::new()));
    let total = 2_700_u32;
    while_written(&history, async || (0..total).for_each(|shard| resumed(&history, shard))).await;
    for limit in [7, 400] {
        let mut found = Vec::new();
        let mut asked = HistoryQuestion { limit, ..question() };
        loop {
            let answer = history.answer(&asked).await;
            assert!(answer.entries.len() <= limit && answer.missing.is_none());
            found.extend(shards(&answer));
            let Some(next) = answer.next else { break };
            asked.before = Some(next);
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), total as usize, "pages of {limit}");
    }
    // A filter that matches only the oldest entry: a page without entries names the next one.
    let mut asked = question();
    asked.filter.shard = Some(ShardSlot(0));
    let first = history.answer(&asked).await;
    asked.before = first.next;
    assert!(first.entries.is_empty() && first.next.is_some(), "{first:?}");
    assert_eq!(shards(&history.answer(&asked).await), ["0"]);
}

#[tokio::test]
async fn entries_wait_while_the_store_is_away_and_answers_say_so() {
    let mut server = RedisServer::start().await;
    let link = RedisLink::new(server.url().parse().unwrap(), LinkOptions::default());
    let store: Arc<dyn FleetStore> = Arc::new(FleetRedisStore::new(link, "test".parse().unwrap()));
    let history = history(store.clone());
    while_written(&history, async || {
        resumed(&history, 1);
        while store.read_history(None, 10).await.unwrap().is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
        server.kill();
        resumed(&history, 2);
        let answer = history.answer(&question()).await;
        assert_eq!(shards(&answer), ["2", "1"], "both from memory");
        let why = answer.missing.unwrap();
        assert!(why.contains("away") && why.contains("in memory"), "{why}");
        server.restart().await;
        loop {
            // The new server is empty, so what it has was written after the outage.
            let stored = store.read_history(None, 10).await.unwrap_or_default();
            if let [stored] = stored.as_slice() {
                assert!(stored.entry.text.contains("of 2"), "{}", stored.entry.text);
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(history.answer(&question()).await.missing, None);
    })
    .await;
}

#[tokio::test]
async fn entry_of_another_program_is_counted_as_unreadable() {
    let store: Arc<dyn FleetStore> = Arc::new(FleetMemoryStore::new());
    let foreign = [HistoryText { number: 1, text: "{}".to_owned() }];
    store.append_history(&"x".parse().unwrap(), false, &foreign).await.unwrap();
    let answer = history(store).answer(&question()).await;
    assert!(answer.entries.is_empty());
    assert!(answer.missing.unwrap().starts_with("1 entries cannot be read"));
}
