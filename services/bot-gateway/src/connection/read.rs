//! The reading half: what a client sends.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::SplitStream};
use process::credentials::Peer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_websockets::{CloseCode, WebSocketStream};

use super::{Closed, Control, Ended};
use crate::{
    Shared,
    commands::Commands,
    intents::Intents,
    message::{self, Message, close},
    payload,
    session::ClientShard,
};

/// How long a client may take from HELLO to IDENTIFY or RESUME. discord.js waits for its turn before it connects, other libraries after.
const IDENTIFY_WITHIN: Duration = Duration::from_mins(5);
/// A client that sends no heartbeat for so long is gone.
const HEARTBEAT_WITHIN: Duration = Duration::from_millis(2 * payload::HEARTBEAT_INTERVAL_MS);
/// What a client may send in [`RATE_WINDOW`]; Discord takes 120 in a minute.
const MOST_MESSAGES: u32 = 240;
const RATE_WINDOW: Duration = Duration::from_mins(1);

/// Reads what the client sends, to its end.
pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut stream: SplitStream<WebSocketStream<S>>,
    peer: Peer,
    control: mpsc::Sender<Control>,
    mut commands: Commands,
) -> Result<Closed, Ended> {
    let mut deadline = Instant::now() + HEARTBEAT_WITHIN;
    let identify_by = Instant::now() + IDENTIFY_WITHIN;
    let mut window = (Instant::now(), 0);
    let mut shard: Option<ClientShard> = None;
    loop {
        let limit = if shard.is_some() { deadline } else { deadline.min(identify_by) };
        let frame = tokio::select! {
            frame = stream.next() => frame,
            () = commands.work() => continue,
            () = sleep_until(limit) => return Err(Ended::transient("no heartbeat, IDENTIFY or RESUME in time")),
        };
        let frame = match frame {
            None => return Ok(Closed::Connection),
            Some(Err(error)) => return Err(Ended::transient(error.to_string())),
            Some(Ok(frame)) => frame,
        };
        if let Some((code, _)) = frame.as_close() {
            let ends_session = matches!(code, CloseCode::NORMAL_CLOSURE | CloseCode::GOING_AWAY);
            return Ok(if ends_session { Closed::Session } else { Closed::Connection });
        }
        if window.0.elapsed() > RATE_WINDOW {
            window = (Instant::now(), 0);
        }
        window.1 += 1;
        if window.1 > MOST_MESSAGES {
            return Err(Ended::transient("too many messages"));
        }
        // Pings count too: the library keeps their answers until the client reads them.
        if !(frame.is_text() || frame.is_binary()) {
            continue;
        }
        let gone = |_| Ended::transient("the connection is being closed");
        match message::read(frame.as_payload())? {
            Message::Heartbeat => {
                deadline = Instant::now() + HEARTBEAT_WITHIN;
                // When this many wait the client does not read them.
                let _ = control.try_send(Control::HeartbeatAck);
            }
            Message::Identify(identify) => {
                if shard.is_some() {
                    return Err(Ended::transient("already identified"));
                }
                shared.check_token(&identify.token)?;
                peer.bot_token_shown();
                check_intents(&shared, identify.intents)?;
                let own = identify.shard.unwrap_or(ClientShard { number: 0, total: 1 });
                shard = Some(own);
                let nonce = rand::random();
                commands.of_session(own, nonce);
                if let Some(presence) = &identify.presence {
                    commands.presence_of_identify(presence);
                }
                control.send(Control::Identify(identify, nonce)).await.map_err(gone)?;
            }
            Message::Resume { token, session_id, sequence } => {
                if shard.is_some() {
                    return Err(Ended::transient("already identified"));
                }
                shared.check_token(&token)?;
                peer.bot_token_shown();
                let resume = match shared.key.open(&session_id) {
                    // The fleet may have fewer intents than before.
                    Some(session) if check_intents(&shared, session.intents.into()).is_ok() => {
                        shard = Some(session.shard);
                        commands.of_session(session.shard, session.nonce);
                        Control::Resume { session, sequence }
                    }
                    _ => Control::InvalidSession,
                };
                control.send(resume).await.map_err(gone)?;
            }
            Message::Command { op, data } if shard.is_some() => commands.take(op, data),
            Message::Command { .. } => return Err(Ended::transient("not identified")),
            Message::Other(op) => {
                tracing::debug!(op, "client of the gateway sent an opcode that is not served");
            }
        }
    }
}

fn check_intents(shared: &Shared, intents: u64) -> Result<(), Ended> {
    let known = u32::try_from(intents).ok().map(Intents).filter(|intents| Intents::ALL.has(*intents));
    let Some(intents) = known else {
        return Err(Ended(close::INVALID_INTENTS, "invalid intents".to_owned()));
    };
    let beyond = intents.beyond(shared.intents);
    if beyond.0 == 0 {
        return Ok(());
    }
    let reason = format!("the fleet lacks intents (INTENTS): {}", beyond.names());
    Err(Ended(close::DISALLOWED_INTENTS, reason))
}
