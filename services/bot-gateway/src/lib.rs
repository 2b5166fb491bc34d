//! Discord's gateway for the bot's own programs. Unmodified Discord libraries connect here as if it were Discord, with any number of
//! shards; events come from the relay, guilds from the workers' caches.
//!
//! - [`session`]: the session is in its id and in the sequence numbers, so a client can resume at any worker.
//! - `boot`: what a client gets first. `tail`, `recent`: the relay's newest entries. `deliver`: what a client gets of an entry.
//! - [`intents`]: what a client's intents let through. `message`, `payload`, `encoding`: the protocol.
//! - `connection`: one connection. `commands`: what clients send to Discord. `voice`: which session joined which voice channel.
//!
//! # Bounds
//!
//! | what | bound | when full |
//! |---|---|---|
//! | clients of a worker | [`GatewayConfig::clients`] | closed with 4000 |
//! | entries that are kept for all clients | 8,192, 32 MiB | clients that are further behind read the relay |
//! | commands of a client under way | 128 | further ones are left out; a log line |
//! | answers out of the cache for one client at once | 4 | the client's next requests for members wait |
//! | guilds whose voice a session has joined | 16,384 | the oldest is forgotten: the bot stays there when its session ends |
//! | requests for members that wait for answers | 1,024 for each client | the oldest one's answer is left out |

mod boot;
mod commands;
mod connection;
mod deliver;
mod encoding;
mod head_limit;
mod identity;
pub mod intents;
mod live;
mod message;
mod metrics;
mod payload;
mod recent;
pub mod session;
mod tail;
#[cfg(test)]
mod testing;
mod voice;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use fleet_model::ShardSlot;
use futures_util::future::BoxFuture;
use process::{
    credentials::{ClientFacingCertificate, PortSecurity},
    server::{Limits, Listener},
};
use relay::RelayStore;
use shard_bridge::Bridge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use metrics::GatewayMetrics;

use crate::{
    commands::{Limited, WaitingRequests},
    identity::Identity,
    intents::Intents,
    message::{InvalidMessage, close},
    recent::Recent,
    session::SessionKey,
    voice::Voice,
};

/// A client that reads nothing for so long is disconnected.
const WRITE_STALL: Duration = Duration::from_mins(10);

/// Connections that have not identified yet, or cannot.
const CONNECTIONS_BESIDE_CLIENTS: usize = 256;

/// Checked settings.
#[derive(Clone)]
pub struct GatewayConfig {
    /// The bot's token.
    pub token: String,
    /// Takes clients with any token: for a simulated Discord alone.
    pub allows_any_token: bool,
    /// The fleet's name.
    pub fleet: String,
    /// What the fleet asks Discord for: clients can have no other intents.
    pub intents: u32,
    /// The URL at which clients connect and resume, such as `ws://127.0.0.1:3081`.
    pub url: String,
    /// The most clients of this worker.
    pub clients: usize,
}

/// Without the token.
impl fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Who the bot is, as READY says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BotIdentity {
    /// The bot's user.
    pub user_id: u64,
    /// The user as Discord's JSON.
    pub user: String,
    /// `id` and `flags` of the application, as JSON.
    pub application: String,
}

/// Asks who the bot is. The error says why that is unknown now.
pub type AskIdentity = Arc<dyn Fn() -> BoxFuture<'static, Result<BotIdentity, String>> + Send + Sync>;

/// What the gateway is made of.
pub struct GatewayParts {
    /// Settings.
    pub config: GatewayConfig,
    /// The fleet: guilds come from it and commands go to it.
    pub bridge: Bridge,
    /// Where events come from; it must have all of them.
    pub relay: Arc<dyn RelayStore>,
    /// Who the bot is.
    pub identity: AskIdentity,
    /// The certificate of the port. With one, clients on other hosts need TLS.
    pub certificate: ClientFacingCertificate,
    /// Counters.
    pub metrics: GatewayMetrics,
}

/// The gateway's port.
#[derive(Debug)]
pub struct BotGateway {
    listener: Listener,
    address: SocketAddr,
}

/// What all clients of this worker share.
struct Shared {
    /// Hash of the only accepted token; `None`: any.
    token: Option<[u8; 32]>,
    key: SessionKey,
    intents: Intents,
    url: String,
    bridge: Bridge,
    relay: Arc<dyn RelayStore>,
    recent: Arc<Recent>,
    identity: Arc<Identity>,
    /// Requests for members that clients share.
    waiting: Arc<WaitingRequests>,
    /// The last presence that was sent on each of the fleet's shards.
    presences: Mutex<HashMap<ShardSlot, String>>,
    voice: Voice,
    places: Arc<Semaphore>,
    clients: watch::Sender<usize>,
    metrics: GatewayMetrics,
}

/// Counts a client among this worker's clients until it is dropped.
struct ClientPlace {
    clients: watch::Sender<usize>,
    metrics: GatewayMetrics,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.clients.send_modify(|clients| *clients -= 1);
        self.metrics.clients(-1);
    }
}

fn hashed(token: &str) -> [u8; 32] {
    let token = token.strip_prefix("Bot ").unwrap_or(token);
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Shared {
    /// And the requests for members that Discord puts off.
    fn new(parts: GatewayParts) -> (Self, mpsc::Receiver<Limited>) {
        let GatewayParts { config, bridge, relay, identity, certificate: _, metrics } = parts;
        let (waiting, limited) = WaitingRequests::new();
        let shared = Self {
            token: (!config.allows_any_token).then(|| hashed(&config.token)),
            key: SessionKey::new(&config.fleet, &config.token),
            intents: Intents(config.intents),
            url: config.url,
            bridge,
            relay,
            recent: Arc::default(),
            identity: Arc::new(Identity::new(identity)),
            waiting: Arc::new(waiting),
            presences: Mutex::default(),
            voice: Voice::default(),
            places: Arc::new(Semaphore::new(config.clients)),
            clients: watch::Sender::new(0),
            metrics,
        };
        (shared, limited)
    }

    /// Checks a client's token.
    fn check_token(&self, token: &str) -> Result<(), InvalidMessage> {
        let is =
            |wanted: [u8; 32]| bool::from(subtle::ConstantTimeEq::ct_eq(&hashed(token)[..], &wanted[..]));
        if self.token.is_none_or(is) {
            return Ok(());
        }
        self.metrics.refused_token();
        Err(InvalidMessage(close::AUTHENTICATION_FAILED, "authentication failed"))
    }

    /// A place for one more client, if there is one.
    fn place(&self) -> Option<ClientPlace> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        self.clients.send_modify(|clients| *clients += 1);
        self.metrics.clients(1);
        Some(ClientPlace { clients: self.clients.clone(), metrics: self.metrics.clone(), _permit: permit })
    }
}

impl BotGateway {
    /// Binds the port for at most `clients` clients. The workers of one host share it, so that clients find another one when theirs ends.
    ///
    /// # Errors
    /// It is in use or not permitted.
    pub async fn bind(address: SocketAddr, clients: usize) -> std::io::Result<Self> {
        // A client beyond the limit is told so.
        let connections = clients + CONNECTIONS_BESIDE_CLIENTS;
        let limits = Limits { write_stall: WRITE_STALL, connections, ..Limits::HTTP1 };
        let listener = Listener::bind_shared(address, "gateway", limits).await?;
        let address = listener.address()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `drain`, then takes no more clients and asks the others to connect again elsewhere; ends when they have gone.
    ///
    /// Boxed so that the server is compiled here, not in each program that polls it.
    pub fn serve(self, parts: GatewayParts, drain: CancellationToken) -> BoxFuture<'static, ()> {
        let security = PortSecurity::Clients(parts.certificate.clone());
        let (shared, limited) = Shared::new(parts);
        let shared = Arc::new(shared);
        let mut listener = self.listener;
        Box::pin(async move {
            let clients = TaskTracker::new();
            let (tail_stop, leave) = (CancellationToken::new(), CancellationToken::new());
            let tail = tokio::spawn(tail::run(
                shared.relay.clone(),
                shared.recent.clone(),
                shared.clients.subscribe(),
                shared.waiting.clone(),
                shared.identity.clone(),
                tail_stop.clone(),
            ));
            let again = tokio::spawn(commands::send_again(shared.clone(), limited));
            while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
                clients.spawn(connection::accept(shared.clone(), accepted, security.clone(), leave.clone()));
            }
            // First, so that no client that is sent away comes back here.
            drop(listener);
            leave.cancel();
            clients.close();
            clients.wait().await;
            tail_stop.cancel();
            let _ = tail.await;
            again.abort();
        })
    }
}
