use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{StreamExt as _, future::BoxFuture};
use tokio::time::timeout;

use super::*;
use crate::{FleetData, HistoryData, ShardDetail, WhyData};

/// Counts how often it was asked.
#[derive(Default)]
struct Counting(AtomicU32);

impl PageSource for Counting {
    fn fleet(&self) -> FleetData {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        FleetData { shard_total: asked, ..FleetData::default() }
    }

    fn shard(&self, _: u32) -> Option<ShardDetail> {
        None
    }

    fn history(&self, _: u64) -> BoxFuture<'_, HistoryData> {
        Box::pin(async { HistoryData::default() })
    }

    fn why(&self, _: u64) -> BoxFuture<'_, WhyData> {
        Box::pin(async { WhyData::default() })
    }
}

fn feed() -> (Arc<Counting>, Feed) {
    let source = Arc::new(Counting::default());
    let feed = Feed::new(source.clone(), CancellationToken::new());
    tokio::spawn(feed.clone().run());
    (source, feed)
}

/// The name and the sequence of the next event.
async fn next(page: &mut (impl Stream<Item = Result<Bytes, Infallible>> + Unpin)) -> (String, u64) {
    let bytes = page.next().await.unwrap().unwrap();
    let text = str::from_utf8(&bytes).unwrap();
    let (name, data) = text.trim_end().split_once('\n').unwrap();
    let data: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    (name.strip_prefix("event: ").unwrap().to_owned(), data["seq"].as_u64().unwrap())
}

#[tokio::test(start_paused = true)]
async fn pages_get_everything_first_and_then_changes() {
    let (source, feed) = feed();
    let mut first = Box::pin(feed.open().unwrap());
    assert_eq!(next(&mut first).await, ("full".to_owned(), 1));
    assert_eq!(next(&mut first).await, ("changes".to_owned(), 2));
    let mut second = Box::pin(feed.open().unwrap());
    assert_eq!(next(&mut second).await, ("full".to_owned(), 2), "the newest frame at once");
    assert_eq!(next(&mut second).await, ("changes".to_owned(), 3));
    assert_eq!(next(&mut first).await, ("changes".to_owned(), 3));
    assert_eq!(source.0.load(Ordering::Relaxed), 3, "one frame for all pages");
}

#[tokio::test(start_paused = true)]
async fn slow_page_skips_to_the_newest_frame() {
    let (_, feed) = feed();
    let mut slow = Box::pin(feed.open().unwrap());
    let mut quick = Box::pin(feed.open().unwrap());
    assert_eq!(next(&mut slow).await, ("full".to_owned(), 1));
    for sequence in 1..=5 {
        assert_eq!(next(&mut quick).await.1, sequence);
    }
    assert_eq!(next(&mut slow).await, ("full".to_owned(), 5));
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_without_a_page() {
    let (source, feed) = feed();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(source.0.load(Ordering::Relaxed), 0);
    let mut page = Box::pin(feed.open().unwrap());
    assert_eq!(next(&mut page).await, ("full".to_owned(), 1));
    drop(page);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let asked = source.0.load(Ordering::Relaxed);
    assert!(asked <= 2, "{asked}");
    assert!(feed.frames.borrow().is_none(), "no frame is kept");
    let mut page = Box::pin(feed.open().unwrap());
    assert_eq!(next(&mut page).await.0, "full");
}

#[tokio::test(start_paused = true)]
async fn pages_have_a_cap_and_end_with_the_server() {
    let (_, feed) = feed();
    let mut pages: Vec<_> = (0..MOST_PAGES).map(|_| Box::pin(feed.open().unwrap())).collect();
    assert!(feed.open().is_none());
    pages.pop();
    let mut last = Box::pin(feed.open().unwrap());
    assert_eq!(next(&mut last).await.0, "full");
    feed.stop.cancel();
    let rest = async { while last.next().await.is_some() {} };
    timeout(Duration::from_secs(5), rest).await.unwrap();
}

/// Panics when it is asked the second time.
#[derive(Default)]
struct Failing(Counting);

impl PageSource for Failing {
    fn fleet(&self) -> FleetData {
        let fleet = self.0.fleet();
        assert_ne!(fleet.shard_total, 1, "a frame fails");
        fleet
    }

    fn shard(&self, _: u32) -> Option<ShardDetail> {
        None
    }

    fn history(&self, since: u64) -> BoxFuture<'_, HistoryData> {
        self.0.history(since)
    }

    fn why(&self, guild: u64) -> BoxFuture<'_, WhyData> {
        self.0.why(guild)
    }
}

#[tokio::test(start_paused = true)]
async fn frame_that_fails_is_followed_by_everything() {
    let feed = Feed::new(Arc::new(Failing::default()), CancellationToken::new());
    tokio::spawn(feed.clone().run());
    let mut page = Box::pin(feed.open().unwrap());
    assert_eq!(next(&mut page).await, ("full".to_owned(), 1));
    assert_eq!(next(&mut page).await, ("full".to_owned(), 2));
    assert_eq!(next(&mut page).await, ("changes".to_owned(), 3));
}
