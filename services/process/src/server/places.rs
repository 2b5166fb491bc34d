//! The places of one port, and which connection gives its own up when all are taken.
//!
//! A client that has proven nothing, neither by a certificate nor by a token, may be anybody. It keeps its place while there are others;
//! when none is left, the host with the most such connections loses its oldest one. So no number of them keeps members out. A token that is
//! no longer valid counts as none.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::credentials::{Credentials, Identity, TokenHash};

/// How long [`Places::take`] waits for a connection to close before it asks another one to close.
const GIVES_UP: Duration = Duration::from_millis(50);

/// The places of one port.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    unproven: Arc<Unproven>,
}

/// A place below the limit, for one connection.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    all: Arc<Unproven>,
    unproven: Option<Proof>,
}

/// The connections whose clients have proven nothing, or have lost what they had proven.
#[derive(Debug, Default)]
struct Unproven(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    next: u64,
    /// The connections of each host by age.
    hosts: BTreeMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    /// Those whose clients have a token.
    bearers: BTreeMap<u64, (Proof, ValidToken)>,
}

/// A connection as one whose client has proven nothing, until it does.
#[derive(Clone, Debug)]
pub(crate) struct Proof(Arc<Entry>);

/// A token that a client has shown.
#[derive(Debug)]
pub(crate) enum ValidToken {
    /// One of the access list, which can be removed from it.
    Listed { token: TokenHash, bearer: Identity, credentials: Credentials },
    /// The bot's own, which is valid while this process runs.
    Bot,
}

impl ValidToken {
    fn is_valid(&self) -> bool {
        match self {
            Self::Listed { token, bearer, credentials } => credentials.bearer(token).as_ref() == Some(bearer),
            Self::Bot => true,
        }
    }
}

#[derive(Debug)]
struct Entry {
    host: IpAddr,
    number: u64,
    ended: CancellationToken,
    /// The connection is over; a call on it may still be.
    is_over: AtomicBool,
    all: Weak<Unproven>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), unproven: Arc::default() }
    }

    /// Waits for a place. `at_the_limit` is called when all are taken by clients that have proven who they are.
    pub(super) async fn take(&self, at_the_limit: impl FnOnce()) -> Place {
        let mut at_the_limit = Some(at_the_limit);
        let permit = loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                break permit;
            }
            if !self.unproven.end_one()
                && let Some(at_the_limit) = at_the_limit.take()
            {
                at_the_limit();
            }
            if let Ok(permit) = timeout(GIVES_UP, self.free.clone().acquire_owned()).await {
                break permit.expect("the semaphore is never closed");
            }
        };
        Place { _permit: permit, all: self.unproven.clone(), unproven: None }
    }
}

impl Place {
    /// Lists the connection as one whose client has proven nothing.
    pub(super) fn list_unproven(&mut self, host: IpAddr) {
        self.unproven = Some(self.all.add(host));
    }

    /// Notes that the client has proven who it is for as long as the connection lasts.
    pub(super) fn proven(&mut self) {
        if let Some(proof) = self.unproven.take() {
            proof.forget();
        }
    }

    /// What the client has yet to prove, if it is asked to.
    pub(super) fn proof(&self) -> Option<Proof> {
        self.unproven.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.proven();
    }
}

impl Unproven {
    fn add(self: &Arc<Self>, host: IpAddr) -> Proof {
        let (host, ended) = (network(host), CancellationToken::new());
        let mut listed = self.lock();
        let number = listed.next;
        listed.next += 1;
        listed.hosts.entry(host).or_default().insert(number, ended.clone());
        drop(listed);
        let is_over = AtomicBool::new(false);
        Proof(Arc::new(Entry { host, number, ended, is_over, all: Arc::downgrade(self) }))
    }

    /// Ends the oldest connection of the host with the most; false without any.
    fn end_one(&self) -> bool {
        let mut listed = self.lock();
        if listed.hosts.is_empty() {
            listed.without_valid_tokens();
        }
        let most = listed.hosts.iter().max_by_key(|(_, connections)| {
            (connections.len(), Reverse(connections.first_key_value().map(|(number, _)| *number)))
        });
        let Some(host) = most.map(|(host, _)| *host) else { return false };
        let Some((_, ended)) = listed.hosts.get_mut(&host).and_then(BTreeMap::pop_first) else {
            return false;
        };
        listed.hosts.retain(|_, connections| !connections.is_empty());
        ended.cancel();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// Lists the connections again whose tokens are no longer valid.
    fn without_valid_tokens(&mut self) {
        let lost = self.bearers.extract_if(.., |_, (_, token)| !token.is_valid());
        for (number, (Proof(entry), _)) in lost {
            self.hosts.entry(entry.host).or_default().insert(number, entry.ended.clone());
        }
    }

    fn forget(&mut self, entry: &Entry) {
        self.bearers.remove(&entry.number);
        if let Some(connections) = self.hosts.get_mut(&entry.host) {
            connections.remove(&entry.number);
            if connections.is_empty() {
                self.hosts.remove(&entry.host);
            }
        }
    }
}

impl Proof {
    /// Notes that the client has a token: its place is its own while that is valid.
    pub(crate) fn given(&self, token: ValidToken) {
        let Some(all) = self.0.all.upgrade() else { return };
        let mut listed = all.lock();
        if self.0.is_over.load(Ordering::Relaxed) {
            return;
        }
        listed.forget(&self.0);
        listed.bearers.insert(self.0.number, (self.clone(), token));
    }

    /// Ends the listing, for good.
    fn forget(&self) {
        if let Some(all) = self.0.all.upgrade() {
            let mut listed = all.lock();
            self.0.is_over.store(true, Ordering::Relaxed);
            listed.forget(&self.0);
        }
    }

    /// Cancelled when the connection must give its place up.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.0.ended
    }
}

/// Returns the address under which connections are counted: the /64 network for IPv6, as one host can use all its addresses.
fn network(host: IpAddr) -> IpAddr {
    match host.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn oldest_connection_of_the_busiest_host_gives_its_place_up() {
        let places = Places::new(4);
        let mut taken = Vec::new();
        for host in ["10.0.0.1", "2001:db8::1", "2001:db8::2", "10.0.0.2"] {
            let mut place = places.take(|| panic!("there is room")).await;
            place.list_unproven(host.parse().unwrap());
            let proof = place.proof().unwrap();
            taken.push((place, proof));
        }
        let ended = |taken: &[(Place, Proof)]| {
            taken.iter().map(|(_, proof)| proof.ended().is_cancelled()).collect::<Vec<_>>()
        };
        // Two addresses of one network count as one host.
        assert!(places.unproven.end_one());
        assert_eq!(ended(&taken), [false, true, false, false]);
        // Of hosts with as many, the one that came first.
        assert!(places.unproven.end_one());
        assert_eq!(ended(&taken), [true, true, false, false]);
        // A client that has proven who it is keeps its place.
        taken[2].1.given(ValidToken::Bot);
        assert!(places.unproven.end_one());
        assert_eq!(ended(&taken), [true, true, false, true]);
        assert!(!places.unproven.end_one());

        // All places are taken by members: the next client waits.
        let mut was_full = false;
        assert!(timeout(GIVES_UP * 3, places.take(|| was_full = true)).await.is_err());
        assert!(was_full);
        // The place of a connection that ends is free, and it is no longer listed.
        let mut place = taken.pop().unwrap().0;
        place.list_unproven([10, 0, 0, 9].into());
        drop(place);
        let _next = timeout(Duration::from_secs(8), places.take(|| panic!("it is free"))).await.unwrap();
        assert!(!places.unproven.end_one());
    }
}
