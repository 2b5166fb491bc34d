//! A host without credentials opens as many connections to a worker's port as it can.
#![allow(clippy::print_stdout, reason = "what was measured is shown")]

use std::{process::Command, sync::Arc, time::Duration};

use fleet_fixture::{DEADLINE, Worker, binary};
use futures_util::{StreamExt as _, stream};
use process::credentials::Role;
use shard_bridge::BridgeClient;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{Scene, gaps};

/// Connections, half of them with the start of a handshake.
const CROWD: usize = 4_096;
/// Open files of the worker: its port takes a quarter as many connections.
const OPEN_FILES: usize = 2_048;
/// The first bytes of a ClientHello of 512 bytes.
const HALF_HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// The same command with a limit of open files.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -n {OPEN_FILES}; exec \"$0\"")).arg(binary("gateway-worker"));
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(key, value),
            None => limited.env_remove(key),
        };
    }
    limited
}

async fn idle(address: &str, number: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    // Another host than the members, where the loopback has more than one address.
    let _ = socket.bind("127.0.0.2:0".parse().unwrap());
    let connecting = timeout(Duration::from_secs(10), socket.connect(address.parse().unwrap()));
    let mut stream = connecting.await.ok()?.ok()?;
    if number.is_multiple_of(2) {
        // It may have been closed already.
        let _ = stream.write_all(&HALF_HELLO).await;
    }
    Some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_handshakes_keep_no_member_from_a_workers_port() {
    process::server::raised_descriptor_limit();
    let scene = Scene::start().await;
    let mut coordinator = scene.coordinator(&[]).await;
    let listen = coordinator.address.split_once("://").unwrap().1.to_owned();
    let mut command = scene.deployment.worker_command("a", &listen);
    command.env("CREDENTIALS", scene.folder.path());
    let a = Worker::start("a", &mut limited(&command)).await;
    let before = coordinator.until_balanced(&[&a]).await;
    let identifies = scene.identifies();

    let address = &a.socket().to_string();
    let began = Instant::now();
    let crowd: Vec<TcpStream> = stream::iter(0..CROWD)
        .map(|number| idle(address, number))
        .buffer_unordered(64)
        .filter_map(async |stream| stream)
        .collect()
        .await;
    println!("{} of {CROWD} idle connections were made in {:?}", crowd.len(), began.elapsed());
    assert!(crowd.len() > OPEN_FILES / 4, "{} connections are no crowd", crowd.len());
    // It goes on while members come.
    let crowd = Arc::new(Mutex::new(crowd));
    let (more, to) = (crowd.clone(), address.clone());
    let coming = tokio::spawn(async move {
        for number in 0.. {
            if let Some(stream) = idle(&to, number).await {
                let mut crowd = more.lock().await;
                let oldest = number % crowd.len();
                crowd[oldest] = stream;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });

    // Members are answered on new connections.
    let (url, bot) = (format!("https://{address}"), scene.folder.of(Role::Bot));
    for _ in 0..10 {
        let began = Instant::now();
        let mut bridge = BridgeClient::connect_with(&url, DEADLINE, &bot, Role::Worker).await.unwrap();
        let stats = bridge.aggregate_stats(Duration::ZERO).await.unwrap();
        assert!(stats.complete && stats.total_guilds == 40, "{stats:?}");
        println!("a bot's connection and call took {:?}", began.elapsed());
    }
    // A new coordinator connects back to the worker before it admits it.
    coordinator.process.kill().await;
    let coordinator = scene.coordinator(&[("COORDINATOR_LISTEN", &listen)]).await;
    let after = coordinator.until_balanced(&[&a]).await;
    assert!(!coordinator.process.output().contains("worker lost"), "{}", coordinator.process.output());
    let epochs = |status: &altergolden_proto::v1::FleetStatus| {
        status.shards.iter().map(|shard| (shard.shard_id, shard.epoch)).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&after), epochs(&before), "the worker kept its lease and its shards");
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    coming.abort();
    scene.deployment.assert_lawful();
}
