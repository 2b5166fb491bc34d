//! Making one connection, to whichever kind of Redis the URL leads to.

use std::time::Duration;

use futures_util::future::select_ok;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisError, RedisResult, Value,
    aio::{MultiplexedConnection, PubSub},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};

use crate::{
    LinkError, LinkOptions,
    url::{RedisUrl, Topology},
};

/// How often the cluster client follows a redirection or tries another node for one command.
const CLUSTER_RETRIES: u32 = 3;

/// One connection that many commands share.
#[derive(Clone)]
pub(crate) enum Connection {
    /// To one server.
    Server(MultiplexedConnection),
    /// To a cluster's nodes.
    Cluster(ClusterConnection),
}

impl Connection {
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(connection) => cmd.query_async(connection).await,
            Self::Cluster(connection) => cmd.query_async(connection).await,
        }
    }
}

pub(crate) async fn connect(url: &RedisUrl, options: &LinkOptions) -> Result<Connection, LinkError> {
    match &url.topology {
        Topology::Single(info) => Ok(Connection::Server(to_server(info.clone(), options).await?)),
        Topology::Sentinel { sentinels, master, login } => {
            let (_, connection) = to_master(sentinels, master, login, options).await?;
            Ok(Connection::Server(connection))
        }
        Topology::Cluster(nodes) => {
            let client = ClusterClientBuilder::new(nodes.clone())
                .retries(CLUSTER_RETRIES)
                .max_retry_wait(200)
                .connection_timeout(options.connect_timeout)
                .response_timeout(options.deadline)
                .build()?;
            Ok(Connection::Cluster(client.get_async_connection().await?))
        }
    }
}

/// A connection for subscriptions alone. Of a cluster any node will do: `PUBLISH` reaches them all.
pub(crate) async fn connect_pub_sub(url: &RedisUrl, options: &LinkOptions) -> Result<PubSub, LinkError> {
    let open = async |info: ConnectionInfo| Client::open(info)?.get_async_pubsub().await;
    match &url.topology {
        Topology::Single(info) => Ok(open(info.clone()).await?),
        Topology::Sentinel { sentinels, master, login } => {
            let (info, _) = to_master(sentinels, master, login, options).await?;
            Ok(open(info).await?)
        }
        Topology::Cluster(nodes) => {
            let (connection, _) = select_ok(nodes.iter().cloned().map(|info| Box::pin(open(info)))).await?;
            Ok(connection)
        }
    }
}

async fn to_server(info: ConnectionInfo, options: &LinkOptions) -> RedisResult<MultiplexedConnection> {
    // The link's own deadline comes first; the crate's is there so that nothing waits for ever.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.deadline + Duration::from_secs(1)));
    Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Asks all Sentinels at once; the first that leads to a server which calls itself master wins.
async fn to_master(
    sentinels: &[ConnectionInfo],
    master: &str,
    login: &ConnectionInfo,
    options: &LinkOptions,
) -> Result<(ConnectionInfo, MultiplexedConnection), LinkError> {
    let by_way_of = async |sentinel: ConnectionInfo| {
        let mut sentinel = to_server(sentinel, options).await?;
        let answer: Option<(String, u16)> = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(master)
            .query_async(&mut sentinel)
            .await?;
        let Some((host, port)) = answer else {
            return Err(LinkError::Away(format!("the sentinels know no master named {master:?}")));
        };
        let info = login.clone().set_addr(moved_to(login.addr(), host, port));
        let mut connection = to_server(info.clone(), options).await?;
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok((info, connection)),
            _ => Err(LinkError::Away("the sentinels name a server that is no master".to_owned())),
        }
    };
    let (found, _) =
        select_ok(sentinels.iter().cloned().map(|sentinel| Box::pin(by_way_of(sentinel)))).await?;
    Ok(found)
}

fn moved_to(from: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match from.clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

/// Whether a connection is of no more use after this error.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    // A master that was demoted answers READONLY, to a script of Redis 6.2 in the middle of the text: the Sentinels know
    // the new one.
    error.is_unrecoverable_error() || error.is_io_error() || error.to_string().contains("READONLY")
}
