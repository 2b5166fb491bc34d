//! A client that reads nothing.

use std::{
    fs,
    time::{Duration, Instant},
};

use discord_sim::Fault;
use fleet_fixture::{Worker, sim_config};
use tokio::net::TcpSocket;
use tokio_tungstenite::MaybeTlsStream;

use super::{
    client::{Client, INTENTS, until_messages},
    fleet::{Fleet, GUILDS, SHARDS},
};

/// Resident memory of a process, in bytes.
fn memory(worker: &Worker) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", worker.process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A client whose socket takes little of what it does not read.
async fn slow_client(url: &str) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(url.trim_start_matches("ws://").parse().unwrap()).await.unwrap();
    let stream = MaybeTlsStream::Plain(stream);
    let (socket, _) =
        tokio_tungstenite::client_async(format!("{url}/?v=10&encoding=json"), stream).await.unwrap();
    let mut slow = Client::over(socket, false);
    slow.send_identify((0, 1), INTENTS).await;
    slow.until_ready().await;
    slow
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_reads_nothing_is_closed_behind_the_trim_and_costs_others_nothing() {
    let names = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("RELAY_MAX_LENGTH", "200")]).await;
    let url = &fleet.gateways[0];
    let mut slow = slow_client(url).await;
    let mut quick = [Client::ready(url, (0, 1)).await];

    let before = memory(&fleet.workers[0]);
    // More than the socket's buffers, the entries that all clients share, and the relay take.
    let control = fleet.deployment.sim.control();
    let guild_id = control.guilds(1, SHARDS)[0].id;
    for round in 1..=40 {
        for _ in 0..100 {
            let content = Some("\u{1f980}".repeat(2_000));
            control.inject(Fault::Message { guild_id, content }).unwrap();
        }
        until_messages(&mut quick, 100 * round).await;
    }
    let grown = memory(&fleet.workers[0]).saturating_sub(before);
    assert!(grown < 128 * 1024 * 1024, "{grown} bytes");
    while slow.take().await {}
    let (code, reason) = slow.close.clone().unwrap();
    assert!(code == 4000 && reason.contains("too slow"), "{code} {reason}");
    assert!(slow.messages.len() < quick[0].messages.len());
    slow.must_identify(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_stops_does_not_wait_for_a_client_that_reads_nothing() {
    let mut fleet = Fleet::start().await;
    let slow = slow_client(&fleet.gateways[0]).await;
    let mut quick = [Client::ready(&fleet.gateways[0], (0, 1)).await];
    // More than the socket's buffers take.
    let control = fleet.deployment.sim.control();
    let guild_id = control.guilds(1, SHARDS)[0].id;
    for round in 1..=10 {
        for _ in 0..100 {
            let content = Some("\u{1f980}".repeat(2_000));
            control.inject(Fault::Message { guild_id, content }).unwrap();
        }
        until_messages(&mut quick, 100 * round).await;
    }
    let since = Instant::now();
    fleet.workers[0].process.signal(fleet_fixture::Signal::TERM);
    let status = fleet.workers[0].process.ended().await;
    // 10 s for the client, 5 s to close its connection; and what the worker's shards take.
    assert!(status.success() && since.elapsed() < Duration::from_secs(25), "{status} {:?}", since.elapsed());
    drop(slow);
}
