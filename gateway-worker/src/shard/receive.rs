//! What comes out of a connection, its silent ends included.
//!
//! twilight says nothing when a connection drops without a close frame: it connects again inside the same call, at once. Its
//! state tells, though, between two polls; so here it is polled by hand and looked at after each poll.

use std::{future::poll_fn, pin::Pin, task::Poll};

use tokio_stream::Stream as _;
use twilight_gateway::{
    Message, Shard as Connection, ShardState,
    error::{ReceiveMessageError, ReceiveMessageErrorType},
};

use crate::identify::PermitQueue;

/// Making a connection takes fewer polls than this, TLS included. More means that connections are made and lost within
/// one poll, where the state does not show it.
const POLLS_TO_CONNECT: u32 = 64;

/// What came.
pub(super) enum Received {
    Message(Message),
    /// The connection is gone without a word; a new one is not made before the next call.
    SilentEnd,
    /// The connection could not be made.
    ConnectFailed(String),
    /// Something that makes no sense; the connection goes on.
    Garbled(String),
    /// Nothing will come any more.
    End,
}

/// The next thing that comes. Nothing is lost when the future is dropped.
pub(super) async fn receive(connection: &mut Connection<PermitQueue>) -> Received {
    if connection.state() == ShardState::FatallyClosed {
        return Received::End;
    }
    let mut connected = is_connected(connection);
    let mut polls = 0;
    poll_fn(|context| match Pin::new(&mut *connection).poll_next(context) {
        Poll::Ready(Some(Ok(message))) => Poll::Ready(Received::Message(message)),
        Poll::Ready(Some(Err(error))) => Poll::Ready(failure(&error)),
        Poll::Ready(None) => Poll::Ready(Received::End),
        Poll::Pending => {
            let still = is_connected(connection);
            let lost = connected && !still;
            connected = still;
            polls = if still { 0 } else { polls + 1 };
            if lost || polls >= POLLS_TO_CONNECT { Poll::Ready(Received::SilentEnd) } else { Poll::Pending }
        }
    })
    .await
}

/// Lets the connection do what is due, and gives what came, if something did.
pub(super) async fn poll_once(connection: &mut Connection<PermitQueue>) -> Option<Received> {
    poll_fn(|context| {
        let next = std::pin::pin!(receive(connection));
        Poll::Ready(match next.poll(context) {
            Poll::Ready(received) => Some(received),
            Poll::Pending => None,
        })
    })
    .await
}

/// There is a connection, whatever it has come to.
pub(super) fn is_connected(connection: &Connection<PermitQueue>) -> bool {
    !matches!(connection.state(), ShardState::Disconnected { .. } | ShardState::FatallyClosed)
}

fn failure(error: &ReceiveMessageError) -> Received {
    let why = innermost(error);
    match error.kind() {
        ReceiveMessageErrorType::Reconnect => Received::ConnectFailed(why),
        // twilight's words quote the message.
        ReceiveMessageErrorType::Compression => {
            Received::Garbled("a message that cannot be decompressed".to_owned())
        }
        _ => Received::Garbled("a message that twilight cannot read".to_owned()),
    }
}

/// The last cause: what happened, without the words around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
