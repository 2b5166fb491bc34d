//! A TCP proxy that does to what goes through it what networks do: resets, silence, delay.
//!
//! One task accepts; each connection has a pump for either way. All of them look at one published [`Traffic`].

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Read at once.
const CHUNK: usize = 16 * 1024;

/// Chunks that wait for their time, for each way of a connection; beyond that the sender is not read.
const WAITING: usize = 256;

/// What the proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Forwards.
    Open,
    /// Forwards each byte so much later.
    Late(Duration),
    /// Keeps connections open, takes new ones, and forwards nothing; what was sent meanwhile goes on when this ends.
    Hung,
    /// Resets what is open, and what is new at once.
    Cut,
}

/// Forwards to a target as its [`Traffic`] says. Cut when dropped.
pub struct Proxy {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    traffic: watch::Sender<Traffic>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// To a target that is known already.
    pub async fn to(target: SocketAddr) -> Self {
        let proxy = Self::unaimed().await;
        proxy.aim(target);
        proxy
    }

    /// To a target that is told later; until then connecting clients wait.
    pub async fn unaimed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, traffic) = (watch::Sender::new(None), watch::Sender::new(Traffic::Open));
        let (aimed, told) = (target.subscribe(), traffic.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, aimed.clone(), told.clone()));
            }
        });
        Self { address, target, traffic, accepting }
    }

    /// Where new connections go from now on.
    pub fn aim(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what it does from now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }

    /// [`Traffic::Cut`].
    pub fn cut(&self) {
        self.set(Traffic::Cut);
    }

    /// [`Traffic::Hung`].
    pub fn hang(&self) {
        self.set(Traffic::Hung);
    }

    /// [`Traffic::Open`].
    pub fn heal(&self) {
        self.set(Traffic::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn serve(
    mut client: TcpStream,
    mut target: watch::Receiver<Option<SocketAddr>>,
    mut traffic: watch::Receiver<Traffic>,
) {
    let mut told = traffic.clone();
    let reaching = async {
        flows(&mut told).await;
        let address = target.wait_for(Option::is_some).await.ok().and_then(|address| *address)?;
        TcpStream::connect(address).await.ok()
    };
    let server = tokio::select! {
        biased;
        () = is_cut(&mut traffic) => None,
        server = reaching => server,
    };
    let Some(mut server) = server else { return reset(client) };
    for socket in [&client, &server] {
        // It is gone already, then.
        let _ = socket.set_nodelay(true);
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let ways = async {
        tokio::try_join!(
            pump(from_client, to_server, traffic.clone()),
            pump(from_server, to_client, traffic.clone())
        )
    };
    let mut told = traffic.clone();
    tokio::select! {
        biased;
        () = is_cut(&mut told) => {
            reset(client);
            reset(server);
        }
        // Either side's end, or its failure, is the other's.
        _ = ways => {}
    }
}

/// Closes in the way that the peer sees as "connection reset".
fn reset(socket: TcpStream) {
    // It is gone already, then.
    let _ = socket.set_zero_linger();
}

/// Forwards one way until its sender ends; then ends the other side's receiving.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut traffic: watch::Receiver<Traffic>,
) -> io::Result<()> {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(WAITING);
    let told = traffic.clone();
    let reading = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = from.read(&mut buffer).await?;
            let due = match *told.borrow() {
                Traffic::Late(by) => Instant::now() + by,
                Traffic::Open | Traffic::Hung | Traffic::Cut => Instant::now(),
            };
            if length == 0 || sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async {
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            flows(&mut traffic).await;
            to.write_all(&chunk).await?;
        }
        flows(&mut traffic).await;
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(drop)
}

/// Waits while nothing is let through.
async fn flows(traffic: &mut watch::Receiver<Traffic>) {
    // The sender is gone only with the proxy, which cuts first.
    let _ = traffic.wait_for(|traffic| matches!(traffic, Traffic::Open | Traffic::Late(_))).await;
}

async fn is_cut(traffic: &mut watch::Receiver<Traffic>) {
    let _ = traffic.wait_for(|traffic| *traffic == Traffic::Cut).await;
}

#[cfg(test)]
mod tests;
