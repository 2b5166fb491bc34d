//! Clients go on where they were, at any worker.

use fleet_fixture::{all_ready, sim_config};

use super::{
    client::{Client, until_messages},
    fleet::{Fleet, GUILDS},
};

#[tokio::test(flavor = "multi_thread")]
async fn clients_resume_at_another_worker_when_theirs_is_killed() {
    let mut fleet = Fleet::start().await;
    let identifies = fleet.identifies();
    let mut clients = Vec::new();
    for number in 0..3 {
        clients.push(Client::ready(&fleet.gateways[0], (number, 3)).await);
    }
    fleet.rate(300.0);
    fleet.until_dispatched(200).await;
    fleet.workers[0].process.kill().await;
    let mut resumed = Vec::new();
    for mut client in clients {
        while client.take().await {}
        resumed.push(client.resumes(&fleet.gateways[1]).await);
    }
    let on_b = |status: &altergolden_proto::v1::FleetStatus| all_ready(status);
    fleet.coordinator.until("all shards on b", on_b).await;
    fleet.until_dispatched(fleet.dispatched() + 200).await;
    fleet.rate(0.0);
    let dispatched = fleet.dispatched();
    until_messages(&mut resumed, dispatched).await;
    assert_eq!(fleet.identifies(), identifies);
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn client_without_events_resumes_and_misses_nothing() {
    let fleet = Fleet::start().await;
    // At the same worker, at the other one, and once more behind a replay.
    let mut client = Client::ready(&fleet.gateways[0], (0, 1)).await;
    client = client.resumes(&fleet.gateways[0]).await;
    client = client.resumes(&fleet.gateways[1]).await;
    let mut sent = 0;
    for gateway in [0, 1, 0] {
        drop(client.socket.close(None).await);
        fleet.rate(200.0);
        fleet.until_dispatched(sent + 150).await;
        fleet.rate(0.0);
        sent = fleet.dispatched();
        client = client.resumes(&fleet.gateways[gateway]).await;
        until_messages(std::slice::from_mut(&mut client), sent).await;
    }
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_stops_sends_its_clients_elsewhere() {
    let fleet = Fleet::start().await;
    let mut client = Client::ready(&fleet.gateways[0], (0, 1)).await;
    fleet.rate(100.0);
    fleet.until_dispatched(100).await;
    fleet.workers[0].process.signal(fleet_fixture::Signal::TERM);
    while client.take().await {}
    assert!(client.reconnects, "op 7");
    let client = client.resumes(&fleet.gateways[1]).await;
    fleet.until_dispatched(fleet.dispatched() + 100).await;
    fleet.rate(0.0);
    let dispatched = fleet.dispatched();
    until_messages(&mut [client], dispatched).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_is_away_for_a_moment_resumes_after_more_events_than_the_relay_keeps() {
    let names = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("RELAY_MAX_LENGTH", "300")]).await;
    let early = Client::ready(&fleet.gateways[0], (0, 1)).await;
    let mut clients = [Client::ready(&fleet.gateways[0], (0, 1)).await];
    fleet.rate(200.0);
    until_messages(&mut clients, 1_500).await;
    fleet.rate(0.0);
    let [mut client] = clients;
    client.socket.close(None).await.unwrap();
    while client.take().await {}
    fleet.rate(100.0);
    fleet.until_dispatched(fleet.dispatched() + 50).await;
    fleet.rate(0.0);
    let dispatched = fleet.dispatched();
    let client = client.resumes(&fleet.gateways[1]).await;
    until_messages(&mut [client], dispatched).await;
    // The relay no longer has what comes after this one's guilds.
    early.must_identify(&fleet.gateways[1]).await;
    fleet.deployment.assert_lawful();
}
