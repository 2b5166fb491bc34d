//! Connections to the workers, made when they are first needed and kept.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use altergolden_proto::convert::refusal;
use fleet_model::{ErrorClass, Routes};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{command::CommandKind, worker_client::WorkerClient};

/// Connections to one worker for requests for members: guilds share them evenly.
const MEMBER_LANES: u64 = 4;

/// On which connection to a worker a call goes. Calls that wait for their turn are kept off the others: a worker limits the calls
/// on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerLane {
    /// What is answered at once.
    Questions,
    /// Presence and voice.
    Commands,
    /// Requests for members.
    Members(u64),
}

impl PeerLane {
    /// Where a command goes.
    pub(crate) fn of(kind: CommandKind) -> Self {
        match kind {
            CommandKind::Presence | CommandKind::Voice { .. } => Self::Commands,
            // The bits below are not spread evenly, as those above are a time.
            CommandKind::Members { guild, .. } => Self::Members((guild >> 22) % MEMBER_LANES),
        }
    }
}

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);

/// The connections, by URL and lane.
#[derive(Debug, Default)]
pub struct Peers {
    by_url: Mutex<HashMap<(String, PeerLane), Channel>>,
}

impl Peers {
    /// A client for the worker at a URL.
    pub(crate) fn client(&self, url: &str) -> Result<WorkerClient, Status> {
        self.client_in(url, PeerLane::Questions)
    }

    /// A client for the worker at a URL, on a lane's own connection.
    pub(crate) fn client_in(&self, url: &str, lane: PeerLane) -> Result<WorkerClient, Status> {
        let mut by_url = self.by_url.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (url.to_owned(), lane);
        if let Some(channel) = by_url.get(&key) {
            return Ok(WorkerClient::new(channel.clone()));
        }
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| {
                refusal(ErrorClass::Unavailable, format!("{url} is an invalid worker address: {error}"))
            })?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let channel = endpoint.connect_lazy();
        by_url.insert(key, channel.clone());
        Ok(WorkerClient::new(channel))
    }

    /// Closes the connections to workers that are no more.
    pub fn forget_all_but(&self, routes: &Routes) {
        let mut by_url = self.by_url.lock().unwrap_or_else(PoisonError::into_inner);
        by_url.retain(|(url, _), _| routes.workers.values().any(|route| route.url == *url));
    }
}
