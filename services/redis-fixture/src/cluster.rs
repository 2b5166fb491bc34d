//! A cluster of three masters.

use crate::{process::Process, until};

/// A cluster's slots.
const SLOTS: usize = 16_384;

/// Three masters without replicas, which share the slots. Killed when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Process>,
}

impl RedisCluster {
    /// Starts the nodes, introduces them to each other and waits until all three call the cluster whole.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub async fn start() -> Self {
        let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"].map(str::to_owned);
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Process::start(&args, |_| {}).await);
        }
        for (number, node) in nodes.iter().enumerate() {
            // Each its own epoch, so that they need not settle that among themselves.
            let epoch = (number + 1).to_string();
            node.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            let slots = (SLOTS * number / nodes.len())..(SLOTS * (number + 1) / nodes.len());
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            node.command::<()>(&words).await;
        }
        for node in &nodes[1..] {
            node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port().to_string()]).await;
        }
        for node in &nodes {
            until("the cluster is whole", || async {
                let info: String = node.try_command(&["CLUSTER", "INFO"]).await?;
                let told = |line: &str| info.lines().any(|found| found.trim() == line);
                (told("cluster_state:ok") && told("cluster_known_nodes:3") && told("cluster_slots_ok:16384"))
                    .then_some(())
            })
            .await;
        }
        Self { nodes }
    }

    /// Where it answers: all nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }
}
