//! The relay, or a shard's session, is lost.

use std::collections::BTreeSet;

use discord_sim::Fault;
use fleet_fixture::sim_config;

use super::{
    client::{Client, until_messages},
    fleet::{Fleet, GUILDS, SHARDS},
};

#[tokio::test(flavor = "multi_thread")]
async fn lost_relay_gives_connected_clients_their_guilds_again() {
    let mut relay = redis_fixture::RedisServer::start().await;
    let url = relay.url();
    let names = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("RELAY_REDIS_URL", &url)]).await;
    let identifies = fleet.identifies();
    let mut clients = Vec::new();
    for (number, gateway) in (0..).zip(&fleet.gateways) {
        clients.push(Client::ready(gateway, (number, 2)).await);
    }
    for loss in ["FLUSHALL", "restart"] {
        fleet.rate(200.0);
        fleet.until_dispatched(fleet.dispatched() + 100).await;
        fleet.rate(0.0);
        until_messages(&mut clients, fleet.dispatched()).await;
        for client in &mut clients {
            client.again.clear();
        }
        if loss == "FLUSHALL" {
            relay.command::<()>(&["FLUSHALL"]).await;
        } else {
            relay.restart().await;
        }
        for client in &mut clients {
            client.until("all guilds again", Client::has_all_again).await;
        }
    }
    fleet.rate(200.0);
    fleet.until_dispatched(fleet.dispatched() + 200).await;
    fleet.rate(0.0);
    until_messages(&mut clients, fleet.dispatched()).await;
    assert_eq!(fleet.identifies(), identifies, "Discord sees nothing of it");
    for client in clients {
        // The numbers that its session has are other entries' now.
        client.must_identify(&fleet.gateways[0]).await;
    }
    fleet.deployment.assert_lawful();
}

/// Copies all keys, as a replica has them at that moment.
const SAVE: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do \
    if string.sub(key, 1, 6) ~= 'saved:' then redis.call('SET', 'saved:' .. key, redis.call('DUMP', key)) end end";
/// Goes back to the copies: what was written since is lost.
const LOSE: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do \
    if string.sub(key, 1, 6) ~= 'saved:' then redis.call('DEL', key) end end \
    for _, key in ipairs(redis.call('KEYS', 'saved:*')) do \
    redis.call('RESTORE', string.sub(key, 7), 0, redis.call('GET', key)) end";

#[tokio::test(flavor = "multi_thread")]
async fn lost_writes_of_the_relay_lose_and_repeat_nothing() {
    let relay = redis_fixture::RedisServer::start().await;
    let url = relay.url();
    let names = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("RELAY_REDIS_URL", &url)]).await;
    let mut clients = Vec::new();
    for (number, gateway) in (0..).zip(&fleet.gateways) {
        clients.push(Client::ready(gateway, (number, 2)).await);
    }
    fleet.rate(300.0);
    for _ in 0..3 {
        fleet.until_dispatched(fleet.dispatched() + 100).await;
        relay.command::<()>(&["EVAL", SAVE, "0"]).await;
        fleet.until_dispatched(fleet.dispatched() + 60).await;
        relay.command::<()>(&["EVAL", LOSE, "0"]).await;
    }
    fleet.until_dispatched(fleet.dispatched() + 200).await;
    fleet.rate(0.0);
    until_messages(&mut clients, fleet.dispatched()).await;
    for client in clients {
        client.must_identify(&fleet.gateways[0]).await;
    }
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_session_of_a_shard_gives_connected_clients_its_guilds_again() {
    let fleet = Fleet::start().await;
    let mut resumed = Client::ready(&fleet.gateways[0], (0, 1)).await;
    resumed = resumed.resumes(&fleet.gateways[1]).await;
    let mut clients = [Client::ready(&fleet.gateways[0], (0, 1)).await];
    let control = fleet.deployment.sim.control();
    control.inject(Fault::DenyResumes { on: true }).unwrap();
    control.inject(Fault::Close { shards: Some(vec![2]), code: 4000, reason: String::new() }).unwrap();
    let of_shard = |client: &Client| -> BTreeSet<u64> {
        client.guilds.keys().copied().filter(|guild| (guild >> 22) % u64::from(SHARDS) == 2).collect()
    };
    clients[0].until("the guilds of the shard again", |client| client.again == of_shard(client)).await;
    fleet.rate(200.0);
    fleet.until_dispatched(100).await;
    fleet.rate(0.0);
    until_messages(&mut clients, fleet.dispatched()).await;
    // Another worker sent this client its guilds, so what it has of them is not known.
    while !resumed.invalid {
        assert!(resumed.take().await, "{:?}", resumed.close);
    }
}
