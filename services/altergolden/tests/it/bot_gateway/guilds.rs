//! Which guilds and events clients get.

use std::{collections::BTreeMap, time::Duration};

use discord_sim::SimConfig;
use fleet_fixture::{http, sim_config};
use serde_json::{Value, json};

use super::{
    client::{Client, INTENTS, TOKEN, until_messages},
    fleet::{Fleet, GUILDS},
};

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_any_total_get_each_guild_and_message_once() {
    const SHARDS: u32 = 12;
    let intents = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::of(SHARDS, sim_config(GUILDS), intents, &[]).await;
    let identifies = fleet.identifies();
    let health: Value = http::json(&format!("{}/health", fleet.workers[0].health)).await;
    let rest = format!("http://{}/api/v10/gateway/bot", health["rest"].as_str().unwrap());
    let (status, answer) = http::get_as(&rest, &format!("Bot {TOKEN}")).await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["url"], &answer["shards"]), (200, &json!(fleet.gateways[0]), &json!(SHARDS)));

    let world = fleet.deployment.sim.control().guilds(GUILDS as usize, SHARDS);
    let mut dispatched = fleet.dispatched();
    for total in [1, 5, SHARDS, 16] {
        let mut clients = Vec::new();
        for number in 0..total {
            let gateway = &fleet.gateways[number as usize % 2];
            clients.push(Client::ready(gateway, (number, total)).await);
        }
        for (number, client) in (0..).zip(&clients) {
            assert!(client.guilds.keys().all(|guild| (guild >> 22) % u64::from(total) == number));
        }
        let counts: BTreeMap<u64, u64> = clients.iter().flat_map(|client| client.guilds.clone()).collect();
        let wanted = world.iter().map(|guild| (guild.id.0, guild.member_count));
        assert_eq!(counts, wanted.collect::<BTreeMap<_, _>>(), "of {total}");
        fleet.rate(200.0);
        fleet.until_dispatched(dispatched + 200).await;
        fleet.rate(0.0);
        let sent = fleet.dispatched() - dispatched;
        until_messages(&mut clients, sent).await;
        dispatched = fleet.dispatched();
    }
    assert_eq!(fleet.identifies(), identifies, "clients spend no IDENTIFY at Discord");
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_clients_get_the_same() {
    let fleet = Fleet::start().await;
    let plain = Client::ready(&fleet.gateways[0], (0, 1)).await;
    let mut compressed =
        Client::connect_with(&fleet.gateways[1], "v=10&encoding=json&compress=zlib-stream").await;
    compressed.send_identify((0, 1), INTENTS).await;
    compressed.until_ready().await;
    assert_eq!(compressed.created, plain.created);
    fleet.rate(200.0);
    fleet.until_dispatched(200).await;
    fleet.rate(0.0);
    until_messages(&mut [compressed], fleet.dispatched()).await;
}

/// A guild with its lists in the order of ids.
fn in_order(guild: &Value) -> Value {
    let mut guild = guild.clone();
    for list in guild.as_object_mut().unwrap().values_mut().filter_map(Value::as_array_mut) {
        let key = |element: &Value| {
            let id = ["/id", "/user/id", "/user_id"].into_iter().find_map(|path| element.pointer(path));
            id.and_then(Value::as_str).and_then(|id| id.parse::<u64>().ok()).unwrap_or_default()
        };
        list.sort_by_key(key);
    }
    guild
}

#[tokio::test(flavor = "multi_thread")]
async fn guilds_are_those_that_discord_sends() {
    // GUILDS, GUILD_VOICE_STATES, GUILD_MESSAGES; the fleet has more.
    const FEW: u32 = 1 | 1 << 7 | 1 << 9;
    let names = "GUILDS,GUILD_MEMBERS,GUILD_VOICE_STATES,GUILD_PRESENCES,GUILD_MESSAGES,MESSAGE_CONTENT";
    let all = FEW | 1 << 1 | 1 << 8 | 1 << 15;
    // The clients that ask Discord itself do not wait for a turn after the fleet's shards.
    let config = SimConfig { identify_interval: Duration::from_millis(1), ..sim_config(GUILDS) };
    let fleet = Fleet::with(config, names, &[]).await;
    for intents in [FEW, all] {
        let mut direct = Client::identify(&fleet.deployment.sim.gateway_url(), (0, 1), intents).await;
        let is_ready = |client: &Client| {
            !client.session.is_empty() && client.guilds.values().all(|members| *members > 0)
        };
        direct.until("guilds of Discord", is_ready).await;
        let mut client = Client::identify(&fleet.gateways[0], (0, 1), intents).await;
        client.until_ready().await;
        assert_eq!(client.guilds, direct.guilds);
        for (guild, wanted) in &direct.created {
            let (ours, wanted) = (in_order(&client.created[guild]), in_order(wanted));
            for (field, value) in wanted.as_object().unwrap() {
                assert_eq!(&ours[field], value, "{field} of {guild} with intents {intents}");
            }
        }
    }
}
