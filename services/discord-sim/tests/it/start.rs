//! The start of a session, up to the last GUILD_CREATE.

use crate::client::{Client, USUAL, first_guild, quick, start};
use discord_sim::{Fault, Shard, Sim, SimConfig, StartError};
use std::{collections::BTreeSet, time::Duration};
use tokio_tungstenite::tungstenite::Message;

fn ids(guilds: &[serde_json::Value]) -> BTreeSet<String> {
    guilds.iter().map(|guild| guild["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn shard_gets_ready_and_only_its_guilds() {
    let sim = start(SimConfig { guilds: 30, ..quick() }).await;
    let mut all = BTreeSet::new();
    for number in 0..3 {
        let (_client, opened, guilds) = Client::open_all(&sim, (number, 3), USUAL).await;
        let ready = &opened.ready["d"];
        assert_eq!(
            (ready["v"].as_u64(), &ready["resume_gateway_url"]),
            (Some(10), &format!("{}/resume", sim.gateway_url()).into())
        );
        assert_eq!(ready["shard"], serde_json::json!([number, 3]));
        let promised = ids(ready["guilds"].as_array().unwrap());
        let bodies: Vec<_> = guilds.iter().map(|guild| guild["d"].clone()).collect();
        assert_eq!(promised, ids(&bodies));
        assert_eq!(
            guilds.iter().filter_map(|guild| guild["s"].as_u64()).collect::<Vec<_>>(),
            [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
        );
        for id in &promised {
            assert_eq!((id.parse::<u64>().unwrap() >> 22) % 3, u64::from(number));
        }
        assert!(bodies.iter().all(|guild| guild["unavailable"] == false));
        all.extend(promised);
    }
    assert_eq!(all.len(), 30);
    assert!(sim.control().violations().items.is_empty());
    let stats = sim.control().stats(3);
    assert_eq!((stats.total.guilds, stats.shards.len(), stats.shards[1].guilds), (30, 3, 10));
    sim.shutdown().await;
}

#[tokio::test]
async fn guild_can_start_with_an_outage() {
    let sim = start(SimConfig { outages: 1, ..quick() }).await;
    let (mut client, opened) = Client::open(&sim, (0, 1), USUAL).await;
    assert_eq!(opened.ready["d"]["guilds"].as_array().unwrap().len(), 8);
    let gone = client.event("GUILD_DELETE").await["d"].take();
    assert_eq!(gone["unavailable"], true);
    let total = sim.control().stats(1).total;
    assert_eq!((total.guilds, total.unavailable_guilds), (7, 1));
    sim.shutdown().await;
}

#[tokio::test]
async fn no_guild_create_without_the_guilds_intent() {
    let sim = start(quick()).await;
    let (mut client, opened) = Client::open(&sim, (0, 1), 1 << 9).await;
    assert_eq!(opened.ready["d"]["guilds"].as_array().unwrap().len(), 8);
    let guild_id = first_guild(&sim.control());
    sim.control().inject(Fault::Message { guild_id, content: Some("text".into()) }).unwrap();
    let message = client.payload().await;
    assert_eq!((&message["t"], &message["s"]), (&"MESSAGE_CREATE".into(), &2.into()));
    assert_eq!(message["d"]["content"], "", "no MESSAGE_CONTENT");
    sim.shutdown().await;
}

#[tokio::test]
async fn compressions_carry_the_same_payloads() {
    let sim = start(quick()).await;
    let mut plain = Vec::new();
    for compress in ["", "&compress=zlib-stream", "&compress=zstd-stream"] {
        let mut client = Client::dial(&sim, &format!("//?v=10&encoding=json{compress}")).await;
        client.identify((0, 1), 1).await;
        let mut inflate = flate2::Decompress::new(true);
        let mut zstd = zstd_safe::DCtx::create();
        let mut guilds = Vec::new();
        while guilds.len() < 8 {
            let text = match client.raw().await.unwrap() {
                Message::Text(text) if compress.is_empty() => text.to_string(),
                Message::Binary(bytes) if compress.ends_with("zlib-stream") => {
                    let mut out = Vec::with_capacity(4_000_000);
                    inflate.decompress_vec(&bytes, &mut out, flate2::FlushDecompress::Sync).unwrap();
                    String::from_utf8(out).unwrap()
                }
                Message::Binary(bytes) => {
                    let mut out = vec![0_u8; 4_000_000];
                    let mut output = zstd_safe::OutBuffer::around(out.as_mut_slice());
                    let mut input = zstd_safe::InBuffer::around(&bytes);
                    while input.pos < bytes.len() {
                        zstd.decompress_stream(&mut output, &mut input).unwrap();
                    }
                    String::from_utf8(output.as_slice().to_vec()).unwrap()
                }
                other => panic!("{other:?}"),
            };
            if text.starts_with(r#"{"t":"GUILD_CREATE","s":"#) {
                guilds.push(text);
            }
        }
        if plain.is_empty() {
            plain = guilds;
        } else {
            assert_eq!(plain, guilds);
        }
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn port_in_use_is_an_error_with_the_address() {
    let sim = start(quick()).await;
    let error = Sim::start(SimConfig { listen: sim.addr(), ..quick() }).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert_eq!(error.to_string(), format!("cannot bind {}", sim.addr()));
    sim.shutdown().await;
}

#[tokio::test]
async fn messages_at_a_rate_are_in_the_ledger() {
    let sim = start(SimConfig { events_per_second: 500.0, ..quick() }).await;
    let (mut client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    let mut last = 9;
    let mut nonces = BTreeSet::new();
    for _ in 0..100 {
        let message = client.payload().await;
        assert_eq!(message["t"], "MESSAGE_CREATE");
        last += 1;
        // Messages may arrive between the guilds.
        last = last.max(message["s"].as_u64().unwrap());
        assert_eq!(message["s"], last);
        assert!(nonces.insert(message["d"]["nonce"].to_string()));
    }
    let ledger = sim.control().ledger();
    let session = ledger.sessions.iter().find(|session| session.session_id == opened.session_id).unwrap();
    assert_eq!(session.shard, Shard { number: 0, total: 1 });
    assert_eq!((session.deliveries.len(), session.deliveries[0].from), (1, 1), "one run");
    assert!(session.deliveries[0].to >= last && ledger.messages >= 100);
    sim.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn no_message_is_written_after_the_rate_is_0() {
    let sim = start(quick()).await;
    for _ in 0..10 {
        sim.control().inject(Fault::EventRate { per_second: 500.0 }).unwrap();
        tokio::time::sleep(Duration::from_millis(105)).await;
        sim.control().inject(Fault::EventRate { per_second: 0.0 }).unwrap();
        let written = sim.control().ledger().messages;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(written > 0);
        assert_eq!(sim.control().ledger().messages, written);
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn sessions_of_different_totals_get_the_same_events() {
    let sim = start(quick()).await;
    let (mut whole, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    let guild = &sim.control().guilds(1, 2)[0];
    let (mut half, ..) = Client::open_all(&sim, (guild.shard.number, 2), USUAL).await;
    let (_other, ..) = Client::open_all(&sim, (1 - guild.shard.number, 2), USUAL).await;
    let outcome = sim.control().inject(Fault::Message { guild_id: guild.id, content: None }).unwrap();
    assert_eq!(outcome.dispatched.len(), 2);
    assert_eq!(whole.payload().await["d"], half.payload().await["d"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn gateway_urls_have_the_advertised_name() {
    let sim = start(SimConfig { advertise: Some("discord-sim:3900".into()), ..quick() }).await;
    let mut client = Client::dial_at(&format!("ws://{}", sim.addr()), "/?v=10&encoding=json").await;
    assert_eq!(client.payload().await["op"], 10);
    client.identify((0, 1), 1).await;
    assert_eq!(client.payload().await["d"]["resume_gateway_url"], "ws://discord-sim:3900/resume");
    sim.shutdown().await;
}
