//! One accept loop for every port.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use backoff::{Backoff, Policy};
use futures_util::{Stream, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    connection::{Connection, Deadlines},
    descriptors::{note_exhaustion, raised_descriptor_limit},
};

/// One port may hold at most one in so many of the process's file descriptors, so that a flood on one port leaves
/// descriptors for the other ports, Redis and Discord.
const SHARE_OF_DESCRIPTORS: usize = 4;

/// Waits after an `accept` that failed: without descriptors it would fail again at once.
const ACCEPT_AGAIN: Policy = Policy {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(1),
    steady: Duration::ZERO,
    free: 0,
};

/// The limits of one port.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. Further ones are closed as soon as they are accepted. A quarter of the process's file descriptors
    /// is a limit too.
    pub connections: usize,
    /// How many bytes a client must send within `greeting_within`; 0 for a protocol whose server has such a deadline itself.
    pub greeting: usize,
    /// See `greeting`.
    pub greeting_within: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub write_stall: Duration,
}

impl Limits {
    /// gRPC: the HTTP/2 connection preface within 10 s
    /// ([RFC 9113, 3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)).
    pub const GRPC: Self = Self {
        connections: 8_192,
        greeting: 24,
        greeting_within: Duration::from_secs(10),
        write_stall: Duration::from_secs(30),
    };
    /// HTTP/1.1, whose server has a deadline for each head ([`crate::Http1`]).
    pub const HTTP1: Self = Self { connections: 2_048, greeting: 0, ..Self::GRPC };
}

/// A bound port with its limits.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    tcp: TcpListener,
    limits: Limits,
    places: Arc<Semaphore>,
    backoff: Backoff,
}

impl Listener {
    /// Binds a port. `name` is what its log lines call it.
    ///
    /// # Errors
    /// When the port is taken or not allowed.
    pub async fn bind(address: SocketAddr, name: &'static str, limits: Limits) -> io::Result<Self> {
        let most = (raised_descriptor_limit() / SHARE_OF_DESCRIPTORS).max(1);
        let limits = Limits { connections: limits.connections.min(most), ..limits };
        Ok(Self {
            name,
            tcp: TcpListener::bind(address).await?,
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            backoff: Backoff::new(ACCEPT_AGAIN),
        })
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts the next connection within the limits. Failures are logged and retried with growing waits. Cancel safe.
    pub async fn accept(&mut self) -> Connection {
        loop {
            let wait = self.backoff.wait(rand::random());
            if !wait.is_zero() {
                sleep(wait).await;
            }
            match self.tcp.accept().await {
                Ok((stream, peer)) => {
                    self.backoff = Backoff::new(ACCEPT_AGAIN);
                    if let Some(connection) = self.admit(stream, peer) {
                        return connection;
                    }
                }
                Err(error) if note_exhaustion(&error) => {
                    self.backoff.failed(Instant::now().into_std());
                    tracing::warn!(
                        listener = self.name, %error,
                        "cannot accept a connection: raise the limit of open files (ulimit -n, LimitNOFILE)"
                    );
                }
                // The client went away before it was accepted: that is about this connection, not about the port.
                Err(error) => {
                    tracing::debug!(listener = self.name, %error, "a connection broke before it was accepted")
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            tracing::warn!(
                listener = self.name, %peer, limit = self.limits.connections,
                "connection limit reached; closing the new connection"
            );
            return None;
        };
        // Without it an answer in several writes waits for the client's delayed acknowledgement: 40 ms each.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(listener = self.name, %peer, %error, "a connection broke before it was served");
            return None;
        }
        let deadlines = Deadlines {
            greeting: self.limits.greeting,
            greeting_within: self.limits.greeting_within,
            write_stall: self.limits.write_stall,
        };
        Some(Connection::new(stream, place, deadlines))
    }

    /// The connections as a stream without an end, for tonic.
    pub fn incoming(self) -> impl Stream<Item = io::Result<Connection>> {
        stream::unfold(self, async |mut listener| Some((Ok(listener.accept().await), listener)))
    }
}
