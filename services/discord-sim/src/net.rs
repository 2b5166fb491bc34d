//! Sockets with arrival times, resets and raw bytes.
//!
//! A simulator that is short of CPU reads bytes late and would blame the client: two IDENTIFYs sent in time can be read in one
//! moment. The kernel records when bytes arrived (`SO_TIMESTAMPNS`); rules that depend on time use that time.

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use socket2::SockRef;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// Access to the TCP socket below a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawSocket(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Address of the client.
    peer: Option<IpAddr>,
    /// Arrival time of the last bytes read, in nanoseconds since the Unix epoch; 0 is unknown.
    arrived: AtomicU64,
    reset: AtomicBool,
    /// Raw bytes to write before the WebSocket's bytes.
    pending: Mutex<Vec<u8>>,
}

impl RawSocket {
    fn of(peer: IpAddr) -> Self {
        Self(Arc::new(Inner { peer: Some(peer), ..Inner::default() }))
    }

    /// Returns the client's address.
    pub(crate) fn peer(&self) -> IpAddr {
        self.0.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Returns the arrival time of the last bytes read.
    pub(crate) fn arrived(&self) -> Instant {
        let now = Instant::now();
        match self.0.arrived.load(Ordering::Relaxed) {
            0 => now,
            at => {
                let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_nanos(at));
                now.checked_sub(age.unwrap_or_default()).unwrap_or(now)
            }
        }
    }

    /// Stops reads and writes; closing the socket then resets the connection (RST).
    pub(crate) fn reset(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// Queues raw bytes, written at the next flush.
    pub(crate) fn write_raw(&self, bytes: &[u8]) {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }

    fn is_reset(&self) -> bool {
        self.0.reset.load(Ordering::Relaxed)
    }

    fn check_open(&self) -> io::Result<()> {
        if self.is_reset() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

/// A listener whose connections have a [`RawSocket`].
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Binds an address and enables arrival times.
    pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        timestamps::switch_on(&tcp);
        Ok(Self(tcp))
    }

    pub(crate) fn addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (tcp, addr) = axum::serve::Listener::accept(&mut self.0).await;
        // Without it small payloads wait for the client's TCP acknowledgement; a failure only costs time.
        let _ = tcp.set_nodelay(true);
        timestamps::switch_on(&tcp);
        (Stream { tcp, raw: RawSocket::of(addr.ip()) }, addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    raw: RawSocket,
}

impl Connected<IncomingStream<'_, Listener>> for RawSocket {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().raw.clone()
    }
}

impl Stream {
    /// Writes the pending raw bytes.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pending = self.raw.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while !pending.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, &pending))?;
            pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.raw.is_reset() {
            // A closed socket cannot be reset and does not need it.
            let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (tcp, raw) = (&self.tcp, &self.raw);
        loop {
            raw.check_open()?;
            ready!(tcp.poll_read_ready(cx))?;
            let space = buf.initialize_unfilled();
            match tcp.try_io(Interest::READABLE, || timestamps::read(tcp, space)) {
                Ok((count, arrived)) => {
                    buf.advance(count);
                    raw.0.arrived.store(arrived.unwrap_or(0), Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.raw.check_open()?;
        ready!(self.poll_raw(cx))?;
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.raw.check_open()?;
        ready!(self.poll_raw(cx))?;
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_raw(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.raw.check_open()?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Reads with the kernel's timestamps. [Source](https://docs.kernel.org/networking/timestamping.html).
#[cfg(target_os = "linux")]
mod timestamps {
    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
    };
    use nix::sys::time::TimeSpec;
    use std::{
        io,
        os::fd::{AsFd, AsRawFd},
    };
    use tokio::net::TcpStream;

    pub(super) fn switch_on(tcp: &impl AsFd) {
        // Without timestamps, bytes count from when they are read.
        let _ = setsockopt(tcp, ReceiveTimestampns, &true);
    }

    /// Reads available bytes. Also returns the arrival time of the last one, in nanoseconds since the Unix epoch.
    pub(super) fn read(tcp: &TcpStream, space: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut spaces = [io::IoSliceMut::new(space)];
        let read =
            recvmsg::<SockaddrStorage>(tcp.as_raw_fd(), &mut spaces, Some(&mut control), MsgFlags::empty())?;
        let arrived = read.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(at) => {
                Some(at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64)
            }
            _ => None,
        });
        Ok((read.bytes, arrived))
    }
}

/// On other systems, bytes count from when they are read.
#[cfg(not(target_os = "linux"))]
mod timestamps {
    use std::{io, os::fd::AsFd};
    use tokio::net::TcpStream;

    pub(super) fn switch_on(_: &impl AsFd) {}

    pub(super) fn read(tcp: &TcpStream, space: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        tcp.try_read(space).map(|count| (count, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::serve::Listener as _;
    use std::{error::Error, thread};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn pair() -> Result<(Stream, TcpStream), Box<dyn Error>> {
        let mut listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let client = TcpStream::connect(listener.addr()?);
        let (accepted, client) = tokio::join!(listener.accept(), client);
        Ok((accepted.0, client?))
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn arrival_time_is_the_kernels_not_the_readers() -> Result<(), Box<dyn Error>> {
        let (mut stream, mut client) = pair().await?;
        // The kernel takes a moment to start recording timestamps.
        while stream.raw.0.arrived.load(Ordering::Relaxed) == 0 {
            client.write_all(b"x").await?;
            stream.read_u8().await?;
        }
        let sent = Instant::now();
        client.write_all(b"x").await?;
        // Simulates a reader that is busy.
        thread::sleep(Duration::from_millis(200));
        stream.read_u8().await?;
        assert!(sent.elapsed() >= Duration::from_millis(200));
        let late = stream.raw.arrived().saturating_duration_since(sent);
        assert!(late < Duration::from_millis(100), "{late:?}");
        Ok(())
    }

    #[tokio::test]
    async fn reset_closes_the_connection_with_rst() -> Result<(), Box<dyn Error>> {
        let (mut stream, mut client) = pair().await?;
        stream.raw.reset();
        assert_eq!(stream.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(stream);
        assert_eq!(client.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        Ok(())
    }
}
