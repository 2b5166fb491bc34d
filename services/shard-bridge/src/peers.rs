//! Connections to the workers, made when they are first needed and kept.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use altergolden_proto::convert::refusal;
use fleet_model::{ErrorClass, Routes};
use process::{
    client::GrpcServer,
    credentials::{Credentials, Role},
};
use tonic::{Status, transport::Channel};

use crate::{command::CommandKind, worker_client::WorkerClient};

/// Connections to one worker for requests for members and the like: guilds share them evenly.
const MEMBER_LANES: u64 = 4;

/// On which connection to a worker a call goes. Calls that wait for their turn are kept off the others: a worker limits the calls
/// on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerLane {
    /// What is answered at once.
    Questions,
    /// Presence and voice.
    Commands,
    /// Requests for members, and for other things of a guild.
    Members(u64),
    /// Guilds for clients of the gateway: much data, read slowly.
    Snapshots,
}

impl PeerLane {
    /// Where a command goes.
    pub(crate) fn of(kind: CommandKind) -> Self {
        match kind {
            CommandKind::Presence | CommandKind::Voice { .. } => Self::Commands,
            // The bits below are not spread evenly, as those above are a time.
            CommandKind::Members { guild, .. }
            | CommandKind::Sounds { first: guild }
            | CommandKind::ChannelInfo { guild } => Self::Members((guild >> 22) % MEMBER_LANES),
        }
    }
}

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);

/// How often a connection is checked.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Connections to workers.
#[derive(Debug, Default)]
pub struct Peers {
    connections: Mutex<Connections>,
    credentials: Credentials,
}

#[derive(Debug, Default)]
struct Connections {
    /// For each worker's URL one connection for each lane that was needed.
    by_url: HashMap<String, Vec<(PeerLane, Channel)>>,
    /// The routing table for which connections were last closed.
    kept_for: Option<Arc<Routes>>,
}

impl Peers {
    /// No connections yet; they are made with these credentials.
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { connections: Mutex::default(), credentials }
    }

    /// A client for the worker at a URL.
    pub(crate) fn client(&self, url: &str) -> Result<WorkerClient, Status> {
        self.client_in(url, PeerLane::Questions)
    }

    /// A client for the worker at a URL, on a lane's own connection.
    pub(crate) fn client_in(&self, url: &str, lane: PeerLane) -> Result<WorkerClient, Status> {
        let mut connections = self.lock();
        let lanes = connections.by_url.get(url);
        if let Some((_, channel)) = lanes.and_then(|lanes| lanes.iter().find(|(known, _)| *known == lane)) {
            return Ok(WorkerClient::new(channel.clone()));
        }
        let server = GrpcServer::new(url, CONNECT, PING_EVERY).map_err(|error| {
            refusal(ErrorClass::Unavailable, format!("{url} is an invalid worker address: {error}"))
        })?;
        let server = if lane == PeerLane::Snapshots { server.with_slow_readers() } else { server };
        let channel = server.connect_lazy(&self.credentials, Role::Worker);
        connections.by_url.entry(url.to_owned()).or_default().push((lane, channel.clone()));
        Ok(WorkerClient::new(channel))
    }

    /// Closes the connections to workers that this table does not list. Does nothing when the last call had the same table.
    pub(crate) fn forget_all_but(&self, routes: &Arc<Routes>) {
        let mut connections = self.lock();
        if connections.kept_for.as_ref().is_some_and(|known| Arc::ptr_eq(known, routes)) {
            return;
        }
        let listed: HashSet<&str> = routes.workers().iter().map(|(_, route)| route.url.as_str()).collect();
        connections.by_url.retain(|url, _| listed.contains(url.as_str()));
        connections.kept_for = Some(routes.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_model::Route;

    use super::*;

    fn table(urls: &[&str]) -> Arc<Routes> {
        let route = |(number, url): (usize, &&str)| {
            let route = Route { url: (*url).to_owned(), shards: BTreeMap::new(), draining: false };
            (format!("w{number}").parse().unwrap(), route)
        };
        Arc::new(Routes::new(1, urls.iter().enumerate().map(route).collect()))
    }

    #[tokio::test]
    async fn connections_end_with_their_worker_and_are_shared_by_lane() {
        let (a, b) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let peers = Peers::default();
        let counts = || {
            let connections = peers.lock();
            [a, b].map(|url| connections.by_url.get(url).map_or(0, Vec::len))
        };
        let both = table(&[a, b]);
        peers.forget_all_but(&both);
        for url in [a, a, b] {
            peers.client(url).unwrap();
        }
        peers.client_in(a, PeerLane::Commands).unwrap();
        assert_eq!(counts(), [2, 1]);
        peers.forget_all_but(&both);
        assert_eq!(counts(), [2, 1]);
        peers.forget_all_but(&table(&[b]));
        assert_eq!(counts(), [0, 1]);
    }
}
