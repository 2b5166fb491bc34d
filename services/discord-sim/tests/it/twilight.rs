//! twilight-gateway as an independent judge.

use crate::client::{PATIENCE, quick, start};
use discord_sim::{Fault, Sim, SimConfig};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;
use twilight_gateway::{
    ConfigBuilder, Event, EventTypeFlags, Intents, Message, Shard, ShardId, StreamExt, parse,
    queue::InMemoryQueue,
};

/// Installs the crypto provider that twilight's TLS needs even for ws://.
pub(crate) fn install_crypto() {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn shard(sim: &Sim, id: ShardId, intents: Intents) -> Shard<InMemoryQueue> {
    install_crypto();
    let config = ConfigBuilder::new("t".to_owned(), intents)
        .proxy_url(sim.gateway_url())
        // No interval between IDENTIFYs, as in the simulator.
        .queue(InMemoryQueue::new(0, 1_000, Duration::from_secs(1), 1_000))
        .build();
    Shard::with_config(id, config)
}

/// Returns the next event, which must parse.
async fn next(shard: &mut Shard<InMemoryQueue>) -> (Option<u64>, Event) {
    loop {
        let message = futures_util::StreamExt::next(shard);
        let message = timeout(PATIENCE, message).await.expect("an event in time").unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let event = parse(text, EventTypeFlags::all()).unwrap_or_else(|error| panic!("{error}: {value}"));
        return (value["s"].as_u64(), event.unwrap_or_else(|| panic!("unknown event {value}")).into());
    }
}

#[tokio::test]
async fn twilight_starts_with_zstd_and_parses_every_guild() {
    let sim = start(SimConfig { guilds: 300, ..quick() }).await;
    for intents in [Intents::all(), Intents::GUILDS | Intents::GUILD_VOICE_STATES] {
        let mut shard = shard(&sim, ShardId::new(0, 2), intents);
        let (mut guilds, mut members, mut voice) = (BTreeSet::new(), 0, 0);
        while guilds.len() < 150 {
            if let (_, Event::GuildCreate(guild)) = next(&mut shard).await {
                let twilight_model::gateway::payload::incoming::GuildCreate::Available(guild) = *guild else {
                    panic!("an unavailable guild")
                };
                guilds.insert(guild.id);
                members += guild.member_count.unwrap();
                voice += guild.voice_states.len() as u64;
            }
        }
        let expected = &sim.control().stats(2).shards[0];
        assert_eq!((members, voice), (expected.users, expected.voice_connections));
    }
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn twilight_resumes_under_load_without_loss() {
    let sim = start(SimConfig { guilds: 20, events_per_second: 400.0, ..quick() }).await;
    let mut shard = shard(&sim, ShardId::ONE, Intents::GUILDS | Intents::GUILD_MESSAGES);
    let faults = [
        Fault::Reconnect { shards: None },
        Fault::Abort { shards: None },
        Fault::Close { shards: None, code: 4000, reason: "again".into() },
        Fault::InvalidSession { shards: None, resumable: true },
    ];
    let (mut seen, mut resumed, mut messages) = (0, 0, 0);
    let mut faults = faults.into_iter();
    let whole = timeout(Duration::from_mins(1), async {
        loop {
            let (sequence, event) = next(&mut shard).await;
            if let Some(sequence) = sequence {
                assert_eq!(sequence, seen + 1, "no event lost or repeated");
                seen = sequence;
            }
            match event {
                Event::MessageCreate(_) => {
                    messages += 1;
                    if messages == 50 {
                        let Some(fault) = faults.next() else { return };
                        assert_eq!(sim.control().inject(fault).unwrap().connections, 1);
                    }
                }
                Event::Resumed => {
                    resumed += 1;
                    messages = 0;
                }
                _ => {}
            }
        }
    });
    whole.await.expect("in time");
    assert_eq!(resumed, 4);
    let sessions = sim.control().sessions();
    assert_eq!(sessions.sessions.len(), 1);
    assert_eq!(
        (sessions.shards[0].identifies, sessions.shards[0].resumes, sessions.shards[0].open_max),
        (1, 4, 1)
    );
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn twilight_identifies_after_an_invalid_session() {
    let sim = start(quick()).await;
    let mut shard = shard(&sim, ShardId::ONE, Intents::GUILDS);
    while !matches!(next(&mut shard).await.1, Event::Ready(_)) {}
    sim.control().inject(Fault::InvalidSession { shards: None, resumable: false }).unwrap();
    while !matches!(next(&mut shard).await.1, Event::Ready(_)) {}
    assert_eq!(sim.control().sessions().shards[0].identifies, 2);
    let fatal = async {
        sim.control().inject(Fault::RejectToken { on: true }).unwrap();
        sim.control().inject(Fault::InvalidSession { shards: None, resumable: false }).unwrap();
        while let Some(item) = shard.next_event(EventTypeFlags::all()).await {
            item.unwrap();
        }
    };
    timeout(PATIENCE, fatal).await.expect("4004 is fatal");
    sim.shutdown().await;
}
