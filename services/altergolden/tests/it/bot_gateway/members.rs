//! Requests for members.

use std::collections::{BTreeMap, BTreeSet};

use fleet_fixture::sim_config;
use serde_json::json;

use super::{
    client::{Client, INTENTS},
    fleet::{Fleet, GUILDS},
};

#[tokio::test(flavor = "multi_thread")]
async fn members_come_from_one_request_and_then_from_the_cache() {
    let fleet =
        Fleet::with(sim_config(GUILDS), "GUILDS,GUILD_MEMBERS,GUILD_MESSAGES,MESSAGE_CONTENT", &[]).await;
    let identifies = fleet.identifies();
    let intents = INTENTS | 1 << 1;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::identify(&fleet.gateways[0], (0, 1), intents).await;
        client.until_ready().await;
        clients.push(client);
    }
    let by_size = |client: &Client| {
        let mut guilds: Vec<(u64, u64)> =
            client.guilds.iter().map(|(guild, members)| (*members, *guild)).collect();
        guilds.sort_unstable();
        guilds
    };
    let guilds = by_size(&clients[0]);
    let (members, guild) = guilds[guilds.len() - 1];
    assert!(members > 1_000, "more than one chunk");
    let request = |guild: u64, nonce: &str| json!({"op": 8, "d": {"guild_id": guild.to_string(), "query": "", "limit": 0, "nonce": nonce}});
    // Whether the second joins the first, waits for the end of its answer, or finds it in the cache: Discord is asked once.
    clients[0].send(request(guild, "first")).await;
    clients[1].send(request(guild, "second")).await;
    let found = |client: &Client, nonce: &str| {
        let chunks = client.chunks.iter().filter(|chunk| chunk["nonce"] == nonce);
        let members = chunks.flat_map(|chunk| chunk["members"].as_array().unwrap());
        members.map(|member| member["user"]["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>().len()
            as u64
    };
    for (client, nonce) in clients.iter_mut().zip(["first", "second"]) {
        client.until("members", |client| found(client, nonce) == members).await;
        let other = if nonce == "first" { "second" } else { "first" };
        assert_eq!(found(client, other), 0, "each client has its own nonce");
    }
    assert_eq!(fleet.asked(8, Some(guild)), 1);

    // Now the owner has all members: at any worker nothing more is asked.
    let mut elsewhere = Client::identify(&fleet.gateways[1], (0, 1), intents).await;
    elsewhere.until_ready().await;
    elsewhere.send(request(guild, "cached")).await;
    elsewhere.until("cached members", |client| found(client, "cached") == members).await;
    let user = elsewhere.chunks[0]["members"][0]["user"]["id"].clone();
    elsewhere.chunks.clear();
    let data = json!({"guild_id": guild.to_string(), "user_ids": [user, "1"], "limit": 0, "nonce": "two"});
    elsewhere.send(json!({"op": 8, "d": data})).await;
    elsewhere.until("a cached member", |client| !client.chunks.is_empty()).await;
    assert_eq!((found(&elsewhere, "two"), &elsewhere.chunks[0]["not_found"]), (1, &json!(["1"])));
    assert_eq!(fleet.asked(8, Some(guild)), 1);
    assert_eq!(fleet.identifies(), identifies);
    fleet.deployment.assert_lawful();
}

/// The bot has asked for the same members at Discord itself just before it was moved here: Discord takes one such request in 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn request_for_members_that_discord_puts_off_is_answered_later() {
    let fleet = Fleet::with(sim_config(GUILDS), "GUILDS,GUILD_MEMBERS", &[]).await;
    let intents = 1 | 1 << 1;
    let mut old = loop {
        let mut client = Client::identify(&fleet.deployment.sim.gateway_url(), (0, 1), intents).await;
        while client.session.is_empty() && !client.invalid {
            assert!(client.take().await);
        }
        // The fleet's shards have just identified, and Discord takes one at a time.
        if !client.invalid {
            break client;
        }
    };
    old.until("its guilds", |client| {
        client.guilds.values().filter(|members| **members > 0).count() as u32 == GUILDS
    })
    .await;
    let (guild, members) = old
        .guilds
        .iter()
        .map(|(guild, members)| (*guild, *members))
        .max_by_key(|(_, members)| *members)
        .unwrap();
    let request =
        json!({"op": 8, "d": {"guild_id": guild.to_string(), "query": "", "limit": 0, "nonce": "mine"}});
    old.send(request.clone()).await;
    old.until("its members", |client| !client.chunks.is_empty()).await;
    drop(old);

    let mut moved = Client::identify(&fleet.gateways[0], (0, 1), intents).await;
    moved.until_ready().await;
    moved.send(request).await;
    moved
        .until("all members", |client| {
            let chunks = client.chunks.iter().filter(|chunk| chunk["nonce"] == "mine");
            chunks.map(|chunk| chunk["members"].as_array().unwrap().len() as u64).sum::<u64>() == members
        })
        .await;
    // The old bot's, the one that was put off, and that one again.
    assert_eq!(fleet.asked(8, Some(guild)), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_guilds_with_complete_lists_are_never_asked_for() {
    const GUILDS: u32 = 1_000;
    const CLIENTS: u32 = 12;
    // Without presences Discord sends complete lists of no guild.
    let names = "GUILDS,GUILD_MEMBERS,GUILD_PRESENCES";
    // A worker that loses its lease on a busy machine has no complete lists for a while.
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("LEASE_TTL", "30s")]).await;
    let (mut complete, mut all) = (0, 0);
    for number in 0..CLIENTS {
        let gateway = &fleet.gateways[number as usize % 2];
        let mut client = Client::identify(gateway, (number, CLIENTS), 1 | 1 << 1 | 1 << 8).await;
        client.until_ready().await;
        all += client.guilds.len();
        let mut wanted = BTreeMap::new();
        for (guild, data) in std::mem::take(&mut client.created) {
            let members = client.guilds[&guild];
            if data["members"].as_array().unwrap().len() as u64 == members {
                wanted.insert(guild.to_string(), members);
            }
        }
        for guild in wanted.keys() {
            let request = json!({"guild_id": guild, "query": "", "limit": 0, "nonce": guild});
            client.send(json!({"op": 8, "d": request})).await;
        }
        let mut answered: BTreeMap<String, u64> = BTreeMap::new();
        while answered != wanted {
            assert!(client.take().await, "{:?}", client.close);
            for chunk in client.chunks.drain(..) {
                assert_eq!(chunk["nonce"], chunk["guild_id"]);
                let guild = chunk["guild_id"].as_str().unwrap().to_owned();
                *answered.entry(guild).or_default() += chunk["members"].as_array().unwrap().len() as u64;
            }
        }
        complete += wanted.len();
    }
    assert!(all == GUILDS as usize && complete > all / 2, "{complete} of {all} guilds");
    let asked = fleet.deployment.sim.control().asked().items;
    assert_eq!(asked.iter().filter(|asked| asked.op == 8).count(), 0, "the caches answer");
    fleet.deployment.assert_lawful();
}
