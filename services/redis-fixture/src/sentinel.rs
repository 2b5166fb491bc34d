//! A master, a replica, and the Sentinel that watches them.

use crate::{process::Process, until};

/// The name under which the Sentinel knows the master.
const MASTER: &str = "main";

/// A master, a replica and one Sentinel. Killed when dropped.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<Process>,
    sentinel: Process,
}

impl RedisSentinel {
    /// Starts the three and waits until the Sentinel could make the replica master.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub async fn start() -> Self {
        let master = Process::start(&[], |_| {}).await;
        let port = master.port();
        let of_master = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), port.to_string()];
        let fast_sync = ["--repl-diskless-sync-delay".to_owned(), "0".to_owned()];
        let replica = Process::start(&[of_master.as_slice(), &fast_sync].concat(), |_| {}).await;
        let config = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 3000\n"
        );
        let args = ["sentinel.conf", "--sentinel"].map(str::to_owned);
        let sentinel = Process::start(&args, |directory| {
            std::fs::write(directory.join("sentinel.conf"), &config)
                .expect("the temporary directory can be written");
        })
        .await;
        until("the sentinel knows the replica, and that is in step", || async {
            let replicas: redis::Value = sentinel.try_command(&["SENTINEL", "REPLICAS", MASTER]).await?;
            let info: String = replica.try_command(&["INFO", "replication"]).await?;
            let known = matches!(&replicas, redis::Value::Array(found) if !found.is_empty());
            (known && info.lines().any(|line| line.trim() == "master_link_status:up")).then_some(())
        })
        .await;
        Self { servers: vec![master, replica], sentinel }
    }

    /// Where it answers: the Sentinel.
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}?master={MASTER}", self.sentinel.port())
    }

    /// Waits until the replica has all that the master has, kills the master, and waits until the Sentinel names
    /// the replica in its place and the replica agrees.
    ///
    /// # Panics
    /// When it was called before: there is but one replica.
    pub async fn fail_over(&mut self) {
        let mut master = self.servers.remove(0);
        let replica = self.servers.first().expect("a replica is left");
        until("the replica has everything", || async {
            let here: String = master.try_command(&["INFO", "replication"]).await?;
            let there: String = replica.try_command(&["INFO", "replication"]).await?;
            let offset = |info: &str, field: &str| -> Option<u64> {
                info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok())
            };
            (offset(&here, "master_repl_offset:")? == offset(&there, "slave_repl_offset:")?).then_some(())
        })
        .await;
        master.kill();
        until("the replica is master", || async {
            let address: Vec<String> =
                self.sentinel.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await?;
            let info: String = replica.try_command(&["INFO", "replication"]).await?;
            let named = address.last() == Some(&replica.port().to_string());
            (named && info.lines().any(|line| line.trim() == "role:master")).then_some(())
        })
        .await;
    }
}
