//! What we ask Redis about itself: which life of it this is, and whether it is set up not to lose our keys.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use redis::{
    FromRedisValue, Value,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
    from_redis_value,
};

use crate::{LinkError, RedisLink, connect::Connection};

/// The only policy under which Redis never throws a key of ours away.
const SAFE_POLICY: &str = "noeviction";

impl RedisLink {
    /// Returns the run id of the server; for a cluster, the run ids of all masters. The value changes when a server restarts or
    /// another one takes over.
    ///
    /// # Errors
    /// [`LinkError`] when a server does not answer.
    pub async fn run_id(&self) -> Result<String, LinkError> {
        let mut ids = self.info("server", "run_id").await?;
        ids.sort_unstable();
        Ok(ids.join(","))
    }

    /// What is wrong with how Redis is set up, a line each. A server that does not tell, or is away, is not warned about.
    pub async fn warnings(&self) -> Vec<String> {
        // INFO, not CONFIG: managed services and ACLs often forbid the latter.
        let policies = match self.info("memory", "maxmemory_policy").await {
            Ok(policies) => policies,
            Err(error) => {
                tracing::debug!(%error, "redis does not tell its maxmemory-policy");
                return Vec::new();
            }
        };
        match policies.into_iter().find(|policy| policy != SAFE_POLICY) {
            Some(policy) => vec![format!(
                "redis has maxmemory-policy {policy}, so it may throw leases and checkpoints away when it is full: set it \
                 to {SAFE_POLICY}"
            )],
            None => Vec::new(),
        }
    }

    /// Sends one `PING`; of a cluster, to any node.
    ///
    /// # Errors
    /// [`LinkError`] when Redis does not answer.
    pub async fn ping(&self) -> Result<(), LinkError> {
        let answer: String = self.ask_any_node(redis::cmd("PING")).await?;
        if answer == "PONG" { Ok(()) } else { Err(LinkError::Unexpected("PING without PONG".to_owned())) }
    }

    /// Returns the server's clock, as the time since the Unix epoch; of a cluster, any node's.
    ///
    /// # Errors
    /// [`LinkError`] when Redis does not answer.
    pub async fn time(&self) -> Result<Duration, LinkError> {
        let (seconds, micros): (u64, u32) = self.ask_any_node(redis::cmd("TIME")).await?;
        Ok(Duration::from_secs(seconds) + Duration::from_micros(micros.into()))
    }

    /// Returns all fields of `INFO`, from each master.
    ///
    /// # Errors
    /// [`LinkError`] when a server does not answer.
    pub async fn info_of_masters(&self) -> Result<Vec<BTreeMap<String, String>>, LinkError> {
        let fields = |text: &String| {
            let pairs = text.lines().filter_map(|line| line.split_once(':'));
            pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
        };
        Ok(self.info_texts(None).await?.iter().map(fields).collect())
    }

    async fn ask_any_node<T: FromRedisValue>(&self, cmd: redis::Cmd) -> Result<T, LinkError> {
        let answer: Value = self
            .with_connection(async |connection| match connection {
                Connection::Server(_) => connection.send(&cmd).await,
                Connection::Cluster(cluster) => {
                    let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                    cluster.route_command(cmd, any).await
                }
            })
            .await?;
        from_redis_value(answer).map_err(|error| LinkError::Unexpected(error.to_string()))
    }

    /// One field of `INFO`, from each master.
    async fn info(&self, section: &str, field: &str) -> Result<Vec<String>, LinkError> {
        let texts = self.info_texts(Some(section)).await?;
        texts
            .iter()
            .map(|text| {
                let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
                value.map(|value| value.trim().to_owned())
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| LinkError::Unexpected(format!("INFO without {field}")))
    }

    /// The text of `INFO`, or of one section, from each master.
    async fn info_texts(&self, section: Option<&str>) -> Result<Vec<String>, LinkError> {
        let mut cmd = redis::cmd("INFO");
        cmd.arg(section);
        let answer = self
            .with_connection(async |connection| match connection {
                Connection::Server(_) => connection.send(&cmd).await,
                Connection::Cluster(cluster) => {
                    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                    cluster.route_command(cmd, masters).await
                }
            })
            .await?;
        let texts = match answer {
            Value::Map(_) => from_redis_value::<HashMap<String, String>>(answer)
                .map(|by_node| by_node.into_values().collect()),
            answer => String::from_redis_value(answer).map(|text| vec![text]),
        };
        texts.map_err(|error| LinkError::Unexpected(error.to_string()))
    }
}
