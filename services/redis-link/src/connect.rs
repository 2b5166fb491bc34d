//! Making one connection, to whichever kind of Redis the URL leads to.

use std::{fs::File, io::Read as _, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::select_ok;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult,
    TlsCertificates, Value,
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

/// Bytes of a password's file.
const LONGEST_PASSWORD: u64 = 4096;

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

/// How connections are made beyond their address.
struct Dialing<'a> {
    options: &'a LinkOptions,
    root: Option<Arc<TlsCertificates>>,
    /// From the file.
    password: Option<String>,
}

impl<'a> Dialing<'a> {
    async fn load(url: &RedisUrl, options: &'a LinkOptions) -> Result<Self, LinkError> {
        let password = match &url.access.password_file {
            Some(file) => Some(password_in(file.clone()).await?),
            None => None,
        };
        Ok(Self { options, root: url.access.root.clone(), password })
    }

    /// The address with the login of the Redis servers.
    fn logged_in(&self, info: &ConnectionInfo) -> ConnectionInfo {
        match &self.password {
            Some(password) => {
                let settings = info.redis_settings().clone().set_password(password);
                info.clone().set_redis_settings(settings)
            }
            None => info.clone(),
        }
    }

    fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match (&self.root, info.addr()) {
            (Some(root), ConnectionAddr::TcpTls { .. }) => Client::build_with_tls(info, (**root).clone()),
            _ => Client::open(info),
        }
    }

    async fn to_server(&self, info: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        // The link's own deadline comes first; the crate's is there so that nothing waits for ever.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.deadline + Duration::from_secs(1)));
        self.client(info)?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Asks all Sentinels at once; the first that leads to a server which calls itself master wins.
    async fn to_master(
        &self,
        sentinels: &[ConnectionInfo],
        master: &str,
        login: &ConnectionInfo,
    ) -> Result<(ConnectionInfo, MultiplexedConnection), LinkError> {
        let by_way_of = async |sentinel: ConnectionInfo| {
            let mut sentinel = self.to_server(sentinel).await?;
            let answer: Option<(String, u16)> = redis::cmd("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(master)
                .query_async(&mut sentinel)
                .await?;
            let Some((host, port)) = answer else {
                return Err(LinkError::Away(format!("the sentinels know no master named {master:?}")));
            };
            let info = self.logged_in(login).set_addr(moved_to(login.addr(), host, port));
            let mut connection = self.to_server(info.clone()).await?;
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
}

/// The password in a file, without spaces around it.
async fn password_in(file: Arc<PathBuf>) -> Result<String, LinkError> {
    let failed =
        |why: String| LinkError::Away(format!("cannot read the password of redis from a file: {why}"));
    let read = move || -> Result<String, String> {
        let mut text = String::new();
        let shown = file.display();
        let opened = File::open(&*file).map_err(|error| format!("{shown}: {error}"))?;
        let bytes = opened.take(LONGEST_PASSWORD + 1).read_to_string(&mut text);
        match (bytes.map_err(|error| format!("{shown}: {error}"))? as u64, text.trim()) {
            (LONGEST_PASSWORD.., _) => Err(format!("{shown}: it has more than {LONGEST_PASSWORD} bytes")),
            (_, "") => Err(format!("{shown}: it is empty")),
            (_, password) => Ok(password.to_owned()),
        }
    };
    let password = tokio::task::spawn_blocking(read).await.map_err(|error| failed(error.to_string()))?;
    let password = password.map_err(failed)?;
    // A server may repeat in an error what it was sent.
    outside_text::hide_secret(&password);
    Ok(password)
}

pub(crate) async fn connect(url: &RedisUrl, options: &LinkOptions) -> Result<Connection, LinkError> {
    let dialing = Dialing::load(url, options).await?;
    match &url.topology {
        Topology::Single(info) => Ok(Connection::Server(dialing.to_server(dialing.logged_in(info)).await?)),
        Topology::Sentinel { sentinels, master, login } => {
            let (_, connection) = dialing.to_master(sentinels, master, login).await?;
            Ok(Connection::Server(connection))
        }
        Topology::Cluster(nodes) => {
            let nodes: Vec<ConnectionInfo> = nodes.iter().map(|node| dialing.logged_in(node)).collect();
            let mut builder = ClusterClientBuilder::new(nodes)
                .retries(CLUSTER_RETRIES)
                .max_retry_wait(200)
                .connection_timeout(options.connect_timeout)
                .response_timeout(options.deadline);
            if let Some(root) = &dialing.root {
                builder = builder.certs((**root).clone());
            }
            Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
        }
    }
}

/// A connection for subscriptions alone. Of a cluster any node will do: `PUBLISH` reaches them all.
pub(crate) async fn connect_pub_sub(url: &RedisUrl, options: &LinkOptions) -> Result<PubSub, LinkError> {
    let dialing = Dialing::load(url, options).await?;
    let open = async |info: ConnectionInfo| dialing.client(info)?.get_async_pubsub().await;
    match &url.topology {
        Topology::Single(info) => Ok(open(dialing.logged_in(info)).await?),
        Topology::Sentinel { sentinels, master, login } => {
            let (info, _) = dialing.to_master(sentinels, master, login).await?;
            Ok(open(info).await?)
        }
        Topology::Cluster(nodes) => {
            let nodes = nodes.iter().map(|node| Box::pin(open(dialing.logged_in(node))));
            let (connection, _) = select_ok(nodes).await?;
            Ok(connection)
        }
    }
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
    // A cluster's client connects to further nodes with the password that it was made with, which may be old.
    error.kind() == ErrorKind::AuthenticationFailed
        || error.is_unrecoverable_error()
        || error.is_io_error()
        || error.to_string().contains("READONLY")
}
