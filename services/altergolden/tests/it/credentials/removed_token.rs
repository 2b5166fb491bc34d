//! A token that is removed from the access list: its open streams end too.
#![allow(clippy::print_stdout, reason = "what was measured is shown")]

use std::{fs, time::Duration};

use altergolden_proto::v1;
use futures_util::stream;
use process::credentials::Role;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::{Code, Streaming};

use super::{
    Scene, credentials,
    thief::{Loot, Reach, Thief},
};

/// Programs read the access list every five seconds; the documentation says ten.
const WITHIN: Duration = Duration::from_secs(10);

/// Reads a stream to its end, and returns why it ended.
async fn end<T: Message + Default + 'static>(mut stream: Streaming<T>) -> Code {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_removed_token_end_within_seconds() {
    let scene = Scene::start().await;
    let folder = &scene.folder;
    let token = |role: &str, name: &str| {
        let made = credentials(folder, &["token", role, name]);
        assert_eq!(made.code, 0, "{}", made.err);
        Loot::token(made.out.trim())
    };
    let (operator, kept, bot) = (token("operator", "alice"), token("monitor", "page"), token("bot", "shop"));
    let coordinator = scene.coordinator(&[("RELAY", "redis")]).await;
    let a = scene.worker_with("a", &coordinator, &[("RELAY", "redis")]).await;
    coordinator.until_balanced(&[&a]).await;
    let address = coordinator.address.split_once("://").unwrap().1;
    let thief = async |loot| Thief::connect(folder, &loot, Role::Coordinator, address).await.unwrap();
    let (operator, kept, bot) = (thief(operator).await, thief(kept).await, thief(bot).await);
    let watch = "/altergolden.v1.Fleet/Watch";
    let one = || stream::iter([v1::WatchRequest::default()]);
    let watching = operator.call::<_, v1::FleetStatus>(watch, one()).await.unwrap();
    let mut watching_on = kept.call::<_, v1::FleetStatus>(watch, one()).await.unwrap();
    let events = stream::iter([v1::EventsRequest::default()]);
    let mut events =
        bot.call::<_, v1::EventsResponse>("/altergolden.v1.ShardBridge/Events", events).await.unwrap();
    events.message().await.unwrap().expect("an event");

    let path = folder.path().join("access.list");
    let list = fs::read_to_string(&path).unwrap();
    let left: String = list.lines().filter(|line| line.contains(" page ")).flat_map(|l| [l, "\n"]).collect();
    fs::write(&path, left).unwrap();
    let began = Instant::now();
    let ended = timeout(WITHIN, async { tokio::join!(end(watching), end(events)) });
    let ended = ended.await.expect("the streams end in time");
    println!("streams of removed tokens ended after {:?}", began.elapsed());
    assert_eq!(ended, (Code::Unauthenticated, Code::Unauthenticated));
    assert_eq!(operator.reach(watch).await, Reach::Refused);
    // Other tokens' streams go on.
    watching_on.message().await.unwrap().expect("a status");
    assert_eq!(kept.reach(watch).await, Reach::Service);
}
