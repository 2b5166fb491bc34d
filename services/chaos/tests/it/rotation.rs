//! The key of checkpoint heads, the CA and a bot's token are replaced under load, while the bot reads events over TLS.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use altergolden_proto::v1::{
    EventsRequest, EventsResponse, events_response::Item, shard_bridge_client::ShardBridgeClient,
};
use chaos::{
    fleet::{Fleet, Setup},
    line::{Book, Line, Start},
    run,
    schedule::Cost,
};
use discord_sim::Fault;
use fleet_fixture::{CredentialsFolder, until};
use process::credentials::Role;
use tokio::task::JoinHandle;
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::one_at_a_time;

/// Shard, session and sequence of an event.
type EventPlace = (u32, u64, u64);

/// A bot that reads all events, with a token that may change.
#[derive(Clone)]
struct Bot {
    address: String,
    /// The certificates of both CAs.
    ca: String,
    token: Arc<Mutex<String>>,
    /// How often each event came.
    events: Arc<Mutex<BTreeMap<EventPlace, u32>>>,
    /// Gaps, and events that were trimmed.
    others: Arc<Mutex<Vec<String>>>,
    cursor: Arc<Mutex<String>>,
}

impl Bot {
    async fn open(&self, token: &str) -> Result<Streaming<EventsResponse>, Status> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        let endpoint = Endpoint::from_shared(self.address.clone()).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        let cursor = self.cursor.lock().unwrap().clone();
        let mut request = Request::new(EventsRequest { cursor, ..EventsRequest::default() });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        Ok(ShardBridgeClient::new(channel).events(request).await?.into_inner())
    }

    /// Reads for ever; connects again after each error, with the token of that moment.
    fn read(&self) -> JoinHandle<()> {
        let bot = self.clone();
        tokio::spawn(async move {
            loop {
                let token = bot.token.lock().unwrap().clone();
                if let Ok(mut stream) = bot.open(&token).await {
                    while let Ok(Some(message)) = stream.message().await {
                        bot.take(message);
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    }

    fn take(&self, message: EventsResponse) {
        match message.item {
            Some(Item::Event(event)) => {
                let place = (event.shard_id, event.session, event.sequence);
                *self.events.lock().unwrap().entry(place).or_default() += 1;
            }
            Some(other) => self.others.lock().unwrap().push(format!("{other:?}")),
            None => {}
        }
        *self.cursor.lock().unwrap() = message.cursor;
    }
}

/// Waits until each worker has taken new head keys since it started.
async fn head_keys_taken(fleet: &Fleet) {
    until("the head keys to be replaced", async || {
        let taken = fleet.outputs().iter().filter(|output| output.contains("head keys replaced")).count();
        (taken == 3).then_some(())
    })
    .await;
}

/// Waits until each process has taken the files that were replaced.
async fn taken(fleet: &Fleet, times: usize) {
    let count = |output: &String| output.matches("credentials replaced").count();
    until("the credentials to be replaced", async || {
        fleet.outputs().iter().all(|output| count(output) >= times).then_some(())
    })
    .await;
}

/// The events in the relay's streams.
fn places(book: &Book) -> Vec<EventPlace> {
    let place = |line: &Line| match line {
        Line::Start(Start { place, .. }) => Some((place.shard, place.session, place.sequence)),
        _ => None,
    };
    book.lines.iter().filter_map(place).collect()
}

/// Restarts the workers, one after the other.
async fn restart(fleet: &mut Fleet) -> Vec<String> {
    let mut failures = Vec::new();
    for number in 0..3 {
        failures.extend(fleet.drain_worker(number).await.err());
        fleet.start_worker(number);
        fleet.balanced().await;
    }
    failures
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night credentials"]
async fn keys_ca_and_token_are_replaced_under_500_events_a_second() {
    let _turn = one_at_a_time::turn().await;
    let (folder, next) = (CredentialsFolder::new(), CredentialsFolder::new());
    let setup = Setup { credentials: Some(PathBuf::from(folder.path())), ..Setup::default().relaying() };
    assert!(setup.events_per_second >= 500.0);
    let old_token = folder.token(Role::Bot, "shop");
    let outcome = run::run_with(setup, Cost::AtMost(0), async |fleet| {
        let port = fleet.coordinator().socket().port();
        let bot = Bot {
            address: format!("https://localhost:{port}"),
            ca: folder.read("ca.pem") + &next.read("ca.pem"),
            token: Arc::new(Mutex::new(old_token.clone())),
            events: Arc::default(),
            others: Arc::default(),
            cursor: Arc::new(Mutex::new("0-0".to_owned())),
        };
        let reading = bot.read();

        // The key of checkpoint heads: a new one in front, then the old one goes. Between them all heads are written again, as
        // the workers restart.
        let (old_key, new_key) = (folder.read("head.keys"), next.read("head.keys"));
        let worker = folder.read("worker.pem");
        assert!(worker.contains(old_key.trim()), "{worker}");
        folder.replace("head.keys", &format!("{new_key}{old_key}"));
        folder.replace("worker.pem", &worker.replace(old_key.trim(), &format!("{new_key}{old_key}")));
        head_keys_taken(fleet).await;
        let mut failures = restart(fleet).await;
        folder.replace("head.keys", &new_key);
        folder.replace("worker.pem", &worker.replace(old_key.trim(), &new_key));
        head_keys_taken(fleet).await;
        failures.extend(restart(fleet).await);
        let before = fleet.outputs().iter().map(|text| text.matches("credentials replaced").count()).max();
        assert_eq!(before, Some(0), "only the workers' files have changed, and they were restarted");

        // The CA: both count, then certificates of the new one, then the new one alone.
        let files = ["coordinator.pem", "worker.pem", "operator.pem"];
        let (old_ca, new_ca) = (folder.read("ca.pem"), next.read("ca.pem"));
        for name in files {
            folder.replace(name, &(folder.read(name) + &new_ca));
        }
        taken(fleet, 1).await;
        let issued = |name: &str| next.read(name);
        for name in files {
            folder.replace(name, &(issued(name) + &old_ca));
        }
        taken(fleet, 2).await;
        for name in files {
            folder.replace(name, &issued(name));
        }
        taken(fleet, 3).await;

        // The token: two count, the bot takes the new one, the old one is removed.
        let new_token = folder.token(Role::Bot, "shop");
        until("the new token to be taken", async || bot.open(&new_token).await.ok().map(drop)).await;
        bot.token.lock().unwrap().clone_from(&new_token);
        let list = folder.read("access.list");
        let old_line = list.lines().find(|line| line.starts_with("token ")).unwrap();
        folder.replace("access.list", &list.replace(old_line, ""));
        until("the old token to be refused", async || {
            bot.open(&old_token).await.err().filter(|status| status.code() == Code::Unauthenticated)
        })
        .await;
        // Workers that connect from now on know nothing but the new credentials; so does the bot.
        failures.extend(restart(fleet).await);
        reading.abort();
        let _ = reading.await;
        let reading = bot.read();

        // Everything in the streams came to the bot, once.
        fleet.control().inject(Fault::EventRate { per_second: 0.0 }).unwrap();
        let stored = until("the bot to have all", async || {
            let stored = places(&fleet.relayed().await.unwrap().unwrap());
            let read = bot.events.lock().unwrap();
            (stored.iter().all(|place| read.contains_key(place))).then_some(stored)
        })
        .await;
        reading.abort();
        let read = bot.events.lock().unwrap();
        failures.extend(
            read.iter()
                .filter(|(_, times)| **times > 1)
                .map(|(place, times)| format!("{place:?} came {times} times")),
        );
        assert!(stored.len() > 5_000, "{}", stored.len());
        failures.extend(bot.others.lock().unwrap().iter().cloned());
        (Vec::new(), failures)
    })
    .await;
    outcome.assert_clean("a script: the same each time");
    assert!(outcome.verdict.gaps.is_empty(), "{outcome}");
    let replayed: u64 = outcome.verdict.handled.values().map(|one| one.replayed).sum();
    assert_eq!(replayed, 0, "nothing comes twice: {outcome}");
}
