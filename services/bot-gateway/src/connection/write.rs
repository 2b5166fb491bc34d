//! The writing half: the client's packets, in order, and what goes ahead of them.

use std::sync::Arc;

use futures_util::{SinkExt as _, future::BoxFuture, stream::SplitSink};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tokio_websockets::{Message as Frame, WebSocketStream};

use super::{Control, Ended, RECONNECT_WITHIN, close_frame};
use crate::{
    Shared,
    commands::Requests,
    deliver::{Client, Delivery},
    encoding::Encoder,
    payload,
    session::SETTLED,
    tail::{Feed, Lost},
};

/// The writing half.
pub(super) struct Writer<S> {
    pub(super) shared: Arc<Shared>,
    sink: SplitSink<WebSocketStream<S>, Frame>,
    pub(super) encoder: Encoder,
    controls: mpsc::Receiver<Control>,
    /// The data of GUILD_MEMBERS_CHUNK events out of the cache.
    chunks: mpsc::Receiver<String>,
    pub(super) requests: Requests,
    /// The client counts among this worker's clients.
    pub(super) held: Option<crate::ClientPlace>,
    pub(super) client: Option<Client>,
}

/// What goes on after the first packets.
pub(super) struct Live {
    pub(super) feed: Feed,
    /// Of the fleet.
    pub(super) shard_total: u32,
    /// Ends when no guild includes an event that still comes, with the number of the relay's newest entry then.
    pub(super) cut: Option<BoxFuture<'static, u64>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer<S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        sink: SplitSink<WebSocketStream<S>, Frame>,
        encoder: Encoder,
        controls: mpsc::Receiver<Control>,
        chunks: mpsc::Receiver<String>,
        requests: Requests,
    ) -> Self {
        Self { shared, sink, encoder, controls, chunks, requests, held: None, client: None }
    }

    pub(super) async fn write(&mut self, drain: &CancellationToken) -> Result<(), Ended> {
        self.send(payload::hello()).await?;
        let mut live = loop {
            let control = tokio::select! {
                control = self.controls.recv() => control,
                () = drain.cancelled() => return self.send_away().await,
            };
            match control {
                // The reading half ends the connection.
                None => std::future::pending().await,
                Some(Control::HeartbeatAck) => self.send(payload::heartbeat_ack()).await?,
                Some(Control::Identify(identify, nonce)) => break self.identify(&identify, nonce).await?,
                Some(Control::Resume { session, sequence }) => match self.resume(session, sequence).await? {
                    Some(live) => break live,
                    None => return self.invalidate().await,
                },
                Some(Control::InvalidSession) => return self.invalidate().await,
            }
        };
        self.settle(live.feed.after().number).await?;
        loop {
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                () = drain.cancelled() => return self.send_away().await,
                control = self.controls.recv() => match control {
                    None => std::future::pending().await,
                    Some(Control::HeartbeatAck) => self.send(payload::heartbeat_ack()).await?,
                    // Checked by the reading half.
                    Some(_) => {}
                },
                number = async { live.cut.as_mut().expect("checked").await }, if live.cut.is_some() => {
                    live.cut = None;
                    if let Some(client) = &mut self.client {
                        client.end_cut(number);
                    }
                    self.settle(live.feed.after().number).await?;
                }
                Some(chunk) = self.chunks.recv() => self.between("GUILD_MEMBERS_CHUNK", &chunk).await?,
                events = live.feed.next() => match events {
                    Err(Lost::Behind) => return Err(Ended::transient("client too slow: relay trimmed its next event")),
                    Err(Lost::ByRelay) => if !self.send_again(&mut live, None).await? {
                        return self.invalidate().await;
                    },
                    Ok(events) => {
                        live.shard_total = match shared.bridge.fleet_shards() {
                            0 => live.shard_total,
                            total => total,
                        };
                        for event in &events {
                            let Some(client) = &mut self.client else { break };
                            match client.deliver(event, live.shard_total) {
                                Delivery::Invalid => return self.invalidate().await,
                                Delivery::Gap(shard) => if !self.send_again(&mut live, Some(shard)).await? {
                                    return self.invalidate().await;
                                },
                                Delivery::Packets(packets) => {
                                    for packet in packets {
                                        self.acknowledge().await?;
                                        let text = payload::dispatch(packet.name, packet.sequence, &packet.data);
                                        self.feed(text).await?;
                                        shared.metrics.sent();
                                    }
                                }
                            }
                        }
                        self.flush().await?;
                        self.settle(live.feed.after().number).await?;
                    }
                },
            }
        }
    }

    /// Ends the guilds, once no guild includes an event that still comes.
    pub(super) async fn settle(&mut self, number: u64) -> Result<(), Ended> {
        match self.client.as_mut().and_then(|client| client.settle(number)) {
            Some(sequence) => self.send(payload::dispatch(SETTLED, sequence, "{}")).await,
            None => Ok(()),
        }
    }

    /// Sends a packet between two entries.
    pub(super) async fn between(&mut self, name: &str, data: &str) -> Result<(), Ended> {
        let sequence = self.client.as_ref().map_or(0, Client::last_sequence);
        self.send(payload::dispatch(name, sequence, data)).await
    }

    /// Waits for something, and answers heartbeats meanwhile.
    pub(super) async fn answering<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                Some(Control::HeartbeatAck) = self.controls.recv() => self.send(payload::heartbeat_ack()).await?,
            }
        }
    }

    /// Answers heartbeats that came.
    pub(super) async fn acknowledge(&mut self) -> Result<(), Ended> {
        while let Ok(Control::HeartbeatAck) = self.controls.try_recv() {
            self.send(payload::heartbeat_ack()).await?;
        }
        Ok(())
    }

    /// The client identifies again: opcode 9, and the client closes.
    pub(super) async fn invalidate(&mut self) -> Result<(), Ended> {
        self.shared.metrics.invalidated();
        self.send(payload::invalid_session()).await?;
        sleep(RECONNECT_WITHIN).await;
        Err(Ended::transient("the session is invalid"))
    }

    /// The client connects again, to another worker: opcode 7, and the client closes.
    pub(super) async fn send_away(&mut self) -> Result<(), Ended> {
        self.send(payload::reconnect()).await?;
        sleep(RECONNECT_WITHIN).await;
        Err(Ended::transient("this worker stops"))
    }

    pub(super) async fn send(&mut self, payload: String) -> Result<(), Ended> {
        self.feed(payload).await?;
        self.flush().await
    }

    pub(super) async fn feed(&mut self, payload: String) -> Result<(), Ended> {
        let frame = self.encoder.encode(payload);
        self.sink.feed(frame).await.map_err(|error| Ended::transient(error.to_string()))
    }

    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        self.sink.flush().await.map_err(|error| Ended::transient(error.to_string()))
    }

    pub(super) async fn close(mut self, ended: Option<Ended>) {
        let closing = async {
            if let Some(ended) = &ended {
                self.sink.send(close_frame(ended)).await?;
            }
            self.sink.close().await
        };
        // A client that is gone takes no close frame.
        let _ = timeout(RECONNECT_WITHIN, closing).await;
    }
}
