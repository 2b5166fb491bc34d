//! One connection of a client, from HELLO to its end.
//!
//! Reading and writing run beside each other: a client that does not read delays nothing but its own events, and answers to
//! heartbeats go ahead of events that wait.

mod begin;
mod read;
mod resume;
mod write;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use process::{
    credentials::{Peer, PortSecurity, Protocol},
    server::Accepted,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tokio_websockets::{CloseCode, Message as Frame, ServerBuilder, WebSocketStream};

use self::write::Writer;
use crate::{
    Shared,
    commands::{Commands, Requests, leave_voice},
    encoding::{Encoder, transport},
    head_limit::HeadLimit,
    message::{Identify, InvalidMessage, LARGEST, close},
    session::ClientSession,
};

/// How long the WebSocket handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to close its connection after it was asked to connect again.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Why a connection ends: the close code and the reason.
#[derive(Debug)]
struct Ended(u16, String);

impl Ended {
    fn transient(reason: impl Into<String>) -> Self {
        Self(close::TRANSIENT, reason.into())
    }
}

impl From<InvalidMessage> for Ended {
    fn from(InvalidMessage(code, reason): InvalidMessage) -> Self {
        Self(code, reason.to_owned())
    }
}

/// How a client has ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// With its session: code 1000 or 1001.
    Session,
    /// It may resume.
    Connection,
}

/// What the reading half tells the writing half.
enum Control {
    HeartbeatAck,
    /// With the nonce of the new session.
    Identify(Box<Identify>, u64),
    Resume {
        session: ClientSession,
        sequence: u64,
    },
    InvalidSession,
}

/// Makes the TLS handshake, if the client begins one, and serves the connection to its end.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    accepted: Accepted,
    security: PortSecurity,
    drain: CancellationToken,
) {
    let address = accepted.address();
    let needs_tls = matches!(&security, PortSecurity::Clients(certificate) if certificate.is_set());
    match accepted.secured(&security, Protocol::Http1).await {
        Ok(stream) if needs_tls && !stream.peer().is_tls && !stream.peer().is_on_this_host => {
            tracing::info!(peer = %address, "client of the gateway refused: TLS required");
        }
        Ok(stream) => {
            let peer = stream.peer().clone();
            serve(shared, stream, address, peer, drain).await;
        }
        Err(error) => {
            tracing::info!(peer = %address, %error, "TLS handshake of a client of the gateway failed");
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: Arc<Shared>,
    stream: S,
    peer: SocketAddr,
    proof: Peer,
    drain: CancellationToken,
) {
    let limits = tokio_websockets::Limits::default().max_payload_len(Some(LARGEST * 2));
    let builder = ServerBuilder::new().limits(limits);
    let head = HeadLimit::default();
    let accepted = timeout(HANDSHAKE, builder.accept(head.over(stream))).await;
    head.lift();
    let (request, mut socket) = match accepted {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "client of the gateway did not finish the WebSocket handshake");
            return;
        }
        Err(_) => return,
    };
    let encoder = match transport(request.uri().query().unwrap_or_default()) {
        Ok(transport) => Encoder::new(transport),
        Err((code, why)) => {
            tracing::info!(%peer, why, "client of the gateway refused");
            close_socket(&mut socket, &Ended(code, why.to_owned())).await;
            return;
        }
    };
    let (sink, stream) = socket.split();
    let (control, controls) = mpsc::channel(16);
    let requests = Requests::default();
    let (members, chunks) = mpsc::channel(2);
    let commands = Commands::new(shared.clone(), requests.clone(), members);
    let reading = read::read(shared.clone(), stream, proof, control, commands);
    let mut writer = Writer::new(shared.clone(), sink, encoder, controls, chunks, requests);
    // Neither a client that does not read nor a shard that is not connected holds the worker.
    let sent_away = async || {
        drain.cancelled().await;
        sleep(2 * RECONNECT_WITHIN).await;
    };
    let ended = {
        let mut reading = pin!(reading);
        let writing = writer.write(&drain);
        tokio::select! {
            biased;
            closed = &mut reading => closed,
            ended = writing => match reading.now_or_never() {
                // It came before writing failed.
                Some(Ok(Closed::Session)) => Ok(Closed::Session),
                _ => ended.map(|()| Closed::Connection),
            },
            () = sent_away() => Err(Ended::transient("this worker stops")),
        }
    };
    let session = writer.client.as_ref().map(|client| client.session);
    let shard = session.map(|session| session.shard);
    match &ended {
        Ok(closed) => tracing::debug!(%peer, ?shard, ?closed, "client of the gateway disconnected"),
        // Somebody has to change a setting.
        Err(Ended(code @ close::DISALLOWED_INTENTS, reason)) => {
            tracing::warn!(%peer, ?shard, code, reason, "client of the gateway refused");
        }
        Err(Ended(code, reason)) => {
            tracing::info!(%peer, ?shard, code, reason, "client of the gateway disconnected");
        }
    }
    let over = session.filter(|_| matches!(ended, Ok(Closed::Session)));
    let leaving = async {
        if let Some(session) = over {
            tokio::select! {
                () = leave_voice(&shared, &session) => {}
                () = sent_away() => {}
            }
        }
    };
    tokio::join!(writer.close(ended.err()), leaving);
}

/// Closes with a code; the reason is cut to what a frame takes.
fn close_frame(Ended(code, reason): &Ended) -> Frame {
    // The library knows 4000 to 4999.
    let code = CloseCode::try_from(*code).unwrap_or(CloseCode::INTERNAL_SERVER_ERROR);
    Frame::close(Some(code), short(reason))
}

/// A frame takes 123 bytes of reason.
fn short(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(120)]
}

async fn close_socket<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, ended: &Ended) {
    let _ = timeout(RECONNECT_WITHIN, async {
        socket.send(close_frame(ended)).await?;
        while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
        Ok::<_, tokio_websockets::Error>(())
    })
    .await;
}
