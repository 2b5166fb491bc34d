//! One connection of a client, from HELLO to its end.
//!
//! Reading and writing run beside each other: a client that does not read delays nothing but its own events, and answers to
//! heartbeats go ahead of events that wait.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use fleet_model::{Position, ShardSlot};
use futures_util::{
    FutureExt as _, SinkExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{SplitSink, SplitStream},
};
use guild_cache::ClientView;
use process::{
    credentials::{Peer, PortSecurity, Protocol},
    server::Accepted,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tokio_websockets::{CloseCode, Message as Frame, ServerBuilder, WebSocketStream};

use crate::{
    Shared,
    boot::{Boot, BootError, NextGuild},
    commands::{Commands, Requests},
    deliver::{Client, Delivery, GuildStamp},
    encoding::{Encoder, transport},
    head_limit::HeadLimit,
    intents::Intents,
    message::{self, Identify, InvalidMessage, LARGEST, Message, close},
    payload,
    session::{ClientSession, ClientShard, Resumed, SETTLED},
    tail::{Feed, Lost},
};

/// How long the WebSocket handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take from HELLO to IDENTIFY or RESUME. discord.js waits for its turn before it connects, other libraries after.
const IDENTIFY_WITHIN: Duration = Duration::from_mins(5);
/// A client that sends no heartbeat for so long is gone.
const HEARTBEAT_WITHIN: Duration = Duration::from_millis(2 * payload::HEARTBEAT_INTERVAL_MS);
/// What a client may send in [`RATE_WINDOW`]; Discord takes 120 in a minute.
const MOST_MESSAGES: u32 = 240;
const RATE_WINDOW: Duration = Duration::from_mins(1);
/// How long a client may take to close its connection after it was asked to connect again.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How often the shards are compared with the relay until no guild includes an event that still comes.
const CUT_CHECK: Duration = Duration::from_millis(50);

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

/// What the reading half tells the writing half.
enum Control {
    HeartbeatAck,
    Identify(Box<Identify>),
    Resume { session: ClientSession, sequence: u64 },
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
    let reading = read(shared.clone(), stream, proof, control, commands);
    let mut writer = Writer { shared, sink, encoder, controls, chunks, requests, held: None, client: None };
    let ended = {
        let writing = writer.write(&drain);
        // A client that does not read keeps the writing half from seeing this.
        let sent_away = async {
            drain.cancelled().await;
            sleep(2 * RECONNECT_WITHIN).await;
        };
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
            () = sent_away => Err(Ended::transient("this worker stops")),
        }
    };
    let session = writer.client.as_ref().map(|client| client.session.shard);
    match &ended {
        Ok(()) => tracing::debug!(%peer, shard = ?session, "client of the gateway disconnected"),
        // Somebody has to change a setting.
        Err(Ended(code @ close::DISALLOWED_INTENTS, reason)) => {
            tracing::warn!(%peer, shard = ?session, code, reason, "client of the gateway refused");
        }
        Err(Ended(code, reason)) => {
            tracing::info!(%peer, shard = ?session, code, reason, "client of the gateway disconnected");
        }
    }
    writer.close(ended.err()).await;
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

/// Reads what the client sends, to its end.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut stream: SplitStream<WebSocketStream<S>>,
    peer: Peer,
    control: mpsc::Sender<Control>,
    mut commands: Commands,
) -> Result<(), Ended> {
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
            None => return Ok(()),
            Some(Err(error)) => return Err(Ended::transient(error.to_string())),
            Some(Ok(frame)) => frame,
        };
        if frame.is_close() {
            return Ok(());
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
                commands.of_shard(own);
                if let Some(presence) = &identify.presence {
                    commands.presence_of_identify(presence);
                }
                control.send(Control::Identify(identify)).await.map_err(gone)?;
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
                        commands.of_shard(session.shard);
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

/// The writing half.
struct Writer<S> {
    shared: Arc<Shared>,
    sink: SplitSink<WebSocketStream<S>, Frame>,
    encoder: Encoder,
    controls: mpsc::Receiver<Control>,
    /// The data of GUILD_MEMBERS_CHUNK events out of the cache.
    chunks: mpsc::Receiver<String>,
    requests: Requests,
    /// The client counts among this worker's clients.
    held: Option<crate::ClientPlace>,
    client: Option<Client>,
}

/// What goes on after the first packets.
struct Live {
    feed: Feed,
    /// Of the fleet.
    shard_total: u32,
    /// Ends when no guild includes an event that still comes, with the number of the relay's newest entry then.
    cut: Option<BoxFuture<'static, u64>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer<S> {
    async fn write(&mut self, drain: &CancellationToken) -> Result<(), Ended> {
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
                Some(Control::Identify(identify)) => break self.identify(&identify).await?,
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
    async fn settle(&mut self, number: u64) -> Result<(), Ended> {
        match self.client.as_mut().and_then(|client| client.settle(number)) {
            Some(sequence) => self.send(payload::dispatch(SETTLED, sequence, "{}")).await,
            None => Ok(()),
        }
    }

    /// Sends READY and the guilds.
    async fn identify(&mut self, identify: &Identify) -> Result<Live, Ended> {
        let shared = self.shared.clone();
        if identify.compress {
            self.encoder.compress_each();
        }
        let shard = identify.shard.unwrap_or(ClientShard { number: 0, total: 1 });
        self.held = Some(
            shared
                .place()
                .ok_or_else(|| Ended::transient("worker has reached its client limit (GATEWAY_CLIENTS)"))?,
        );
        let identity = shared.identity().await.map_err(Ended::transient)?;
        let beginning = Instant::now();
        let view = ClientView {
            intents: identify.intents as u32,
            large_threshold: identify.large_threshold,
            own_user: identity.user_id,
        };
        let booting = Boot::begin(&shared, shard, view, None);
        let mut boot = self.answering(booting).await?.map_err(|error| {
            tracing::warn!(%error, shard = ?shard, "cannot send READY to a client of the gateway");
            Ended::transient(error.to_string())
        })?;
        let guilds = boot.guilds();
        let has_guilds = identify.intents & 1 != 0;
        let session = ClientSession {
            shard,
            intents: identify.intents as u32,
            large_threshold: identify.large_threshold,
            first: boot.after.number,
            guild_packets: if has_guilds { guilds.len() as u32 } else { 0 },
            generation: boot.generation,
            nonce: rand::random(),
        };
        let ready = payload::ready(&payload::Ready {
            user: &identity.user,
            application: &identity.application,
            guilds: &guilds,
            session_id: &shared.key.seal(&session),
            resume_url: &shared.url,
            shard: (shard.number, shard.total),
        });
        self.send(payload::dispatch("READY", 1, &ready)).await?;
        let known: HashSet<u64> = guilds.into_iter().collect();
        let reached = std::mem::take(&mut boot.reached);
        self.client =
            Some(Client::identified(session, identity.user_id, known, reached, self.requests.clone()));
        let cut = if has_guilds {
            let cut = self.send_guilds(&mut boot, false).await?;
            Some(reached_cut(shared.clone(), cut).boxed())
        } else {
            self.client.iter_mut().for_each(|client| client.end_cut(boot.after.number));
            None
        };
        let took_ms = beginning.elapsed().as_millis() as u64;
        tracing::info!(
            shard = shard.number,
            total = shard.total,
            guilds = session.guild_packets,
            took_ms,
            "client of the gateway is ready"
        );
        let feed = Feed::new(shared.relay.clone(), shared.recent.clone(), boot.after, boot.generation);
        Ok(Live { feed, shard_total: boot.shard_total, cut })
    }

    /// Events are missing, of one of the fleet's shards or of all: sends the guilds again. Returns false if the client must identify again.
    async fn send_again(&mut self, live: &mut Live, only: Option<ShardSlot>) -> Result<bool, Ended> {
        let shared = self.shared.clone();
        let Some(client) = self.client.as_ref().filter(|client| client.knows_guilds()) else {
            return Ok(false);
        };
        let (session, view, has_guilds) = (client.session.shard, client.view(), client.has_guilds());
        tracing::info!(
            shard = session.number,
            total = session.total,
            ?only,
            "sending guilds to a client of the gateway again: events were lost"
        );
        let booting = Boot::begin(&shared, session, view, only);
        let mut boot =
            self.answering(booting).await?.map_err(|error: BootError| Ended::transient(error.to_string()))?;
        if only.is_none() {
            live.feed = Feed::new(shared.relay.clone(), shared.recent.clone(), boot.after, boot.generation);
        }
        live.shard_total = boot.shard_total;
        if !has_guilds {
            return Ok(true);
        }
        let mut gone = Vec::new();
        if let Some(client) = &mut self.client {
            client.begin_cut();
            for shard in &boot.shards {
                let now = shard.present.iter().chain(&shard.absent).copied().collect();
                gone.extend(client.replace_guilds(shard.slot(), boot.shard_total, &now));
            }
        }
        for guild in gone {
            self.between("GUILD_DELETE", &payload::left(guild)).await?;
        }
        let cut = self.send_guilds(&mut boot, true).await?;
        let earlier = live.cut.take();
        let reached = reached_cut(shared, cut);
        live.cut = Some(
            async move {
                if let Some(earlier) = earlier {
                    earlier.await;
                }
                reached.await
            }
            .boxed(),
        );
        self.shared.metrics.sent_again();
        Ok(true)
    }

    /// Sends a packet between two entries.
    async fn between(&mut self, name: &str, data: &str) -> Result<(), Ended> {
        let sequence = self.client.as_ref().map_or(0, Client::last_sequence);
        self.send(payload::dispatch(name, sequence, data)).await
    }

    /// Sends a packet for each guild, and before each that comes again that it is unavailable. Returns up to where the relay must come.
    async fn send_guilds(
        &mut self,
        boot: &mut Boot,
        again: bool,
    ) -> Result<Vec<(ShardSlot, Position)>, Ended> {
        let shared = self.shared.clone();
        let first = if again { self.client.as_ref().map_or(0, Client::last_sequence) } else { 1 };
        let step = u64::from(!again);
        let (mut sequence, mut cut, mut sent) = (first, Vec::new(), HashSet::new());
        for shard in &mut boot.shards {
            let slot = shard.slot();
            for absent in std::mem::take(&mut shard.absent) {
                if sent.insert(absent) {
                    sequence += step;
                    let text = payload::dispatch("GUILD_DELETE", sequence, &payload::outage(absent));
                    self.send(text).await?;
                }
            }
            loop {
                let next = self.answering(shard.next(&shared)).await?;
                match next.map_err(|error: BootError| Ended::transient(error.to_string()))? {
                    NextGuild::End(read) => {
                        if let Some(client) = &mut self.client {
                            client.note_included(slot, read);
                        }
                        cut.push((slot, read));
                        break;
                    }
                    NextGuild::Guild(guild) if !sent.insert(guild.id) => {}
                    NextGuild::Guild(guild) => {
                        sequence += step;
                        if again && guild.data.is_some() {
                            // discord.js takes the new state of a guild only if it was unavailable.
                            self.feed(payload::dispatch(
                                "GUILD_DELETE",
                                sequence,
                                &payload::outage(guild.id),
                            ))
                            .await?;
                        }
                        let text = match &guild.data {
                            Some(data) => payload::dispatch("GUILD_CREATE", sequence, data),
                            None => payload::dispatch("GUILD_DELETE", sequence, &payload::outage(guild.id)),
                        };
                        if let (Some(client), true) = (&mut self.client, guild.data.is_some()) {
                            let stamp = GuildStamp { guild: guild.stamp, members: guild.members_stamp };
                            client.note_stamp(guild.id, stamp);
                        }
                        self.send(text).await?;
                    }
                }
            }
        }
        Ok(cut)
    }

    /// Goes on behind the last entry that the client got; `None` if it must identify again.
    async fn resume(&mut self, session: ClientSession, sequence: u64) -> Result<Option<Live>, Ended> {
        let shared = self.shared.clone();
        self.held = Some(
            shared
                .place()
                .ok_or_else(|| Ended::transient("worker has reached its client limit (GATEWAY_CLIENTS)"))?,
        );
        let identity = shared.identity().await.map_err(Ended::transient)?;
        let away = |error: relay::RelayError| Ended::transient(error.to_string());
        let (generation, newest) =
            (shared.relay.generation().await.map_err(away)?, shared.relay.newest().await.map_err(away)?);
        let Resumed::After(number) = session.resumed(sequence, newest.number) else {
            tracing::info!(shard = ?session.shard, sequence, "client of the gateway cannot resume: no relay entry for its sequence number");
            return Ok(None);
        };
        if generation != session.generation {
            tracing::info!(shard = ?session.shard, "client of the gateway cannot resume: the relay has lost entries");
            return Ok(None);
        }
        let shard_total = shared.bridge.fleet_shards();
        let shards: Vec<ShardSlot> = session.shard.shards_of(shard_total).collect();
        let reached = shared.relay.reached(&shards).await.map_err(away)?;
        let reached =
            shards.into_iter().zip(reached).filter_map(|(shard, reached)| Some((shard, reached?))).collect();
        let mut after = shared.relay.locate(number).await.map_err(away)?;
        let mut client =
            Client::resumed(session, number, after.number, identity.user_id, reached, self.requests.clone());
        let mut replayed = 0;
        // What was there when it resumed is sent before RESUMED.
        let mut feed = Feed::new(shared.relay.clone(), shared.recent.clone(), after, generation);
        while after.number < newest.number {
            let events = match timeout(HANDSHAKE, feed.next()).await {
                Ok(Ok(events)) => events,
                Ok(Err(lost)) => {
                    tracing::info!(shard = ?session.shard, ?lost, "client of the gateway cannot resume: relay entries trimmed or lost");
                    return Ok(None);
                }
                Err(_) => return Err(Ended::transient("the relay does not answer")),
            };
            after = feed.after();
            for event in &events {
                match client.deliver(event, shard_total) {
                    Delivery::Invalid | Delivery::Gap(_) => {
                        tracing::info!(shard = ?session.shard, "client of the gateway cannot resume: its guilds changed");
                        return Ok(None);
                    }
                    _ if client.is_detached() => {
                        tracing::info!(shard = ?session.shard, "client of the gateway cannot resume: the relay lost entries meanwhile");
                        return Ok(None);
                    }
                    Delivery::Packets(packets) => {
                        for packet in packets {
                            self.acknowledge().await?;
                            self.send(payload::dispatch(packet.name, packet.sequence, &packet.data)).await?;
                            replayed += 1;
                        }
                    }
                }
            }
        }
        let last = session.sequence_of(after.number.max(number));
        self.send(payload::dispatch("RESUMED", last, payload::RESUMED)).await?;
        tracing::info!(
            shard = session.shard.number,
            total = session.shard.total,
            replayed,
            "client of the gateway resumed"
        );
        self.client = Some(client);
        Ok(Some(Live { feed, shard_total, cut: None }))
    }

    /// Waits for something, and answers heartbeats meanwhile.
    async fn answering<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                Some(Control::HeartbeatAck) = self.controls.recv() => self.send(payload::heartbeat_ack()).await?,
            }
        }
    }

    /// Answers heartbeats that came.
    async fn acknowledge(&mut self) -> Result<(), Ended> {
        while let Ok(Control::HeartbeatAck) = self.controls.try_recv() {
            self.send(payload::heartbeat_ack()).await?;
        }
        Ok(())
    }

    /// The client identifies again: opcode 9, and the client closes.
    async fn invalidate(&mut self) -> Result<(), Ended> {
        self.shared.metrics.invalidated();
        self.send(payload::invalid_session()).await?;
        sleep(RECONNECT_WITHIN).await;
        Err(Ended::transient("the session is invalid"))
    }

    /// The client connects again, to another worker: opcode 7, and the client closes.
    async fn send_away(&mut self) -> Result<(), Ended> {
        self.send(payload::reconnect()).await?;
        sleep(RECONNECT_WITHIN).await;
        Err(Ended::transient("this worker stops"))
    }

    async fn send(&mut self, payload: String) -> Result<(), Ended> {
        self.feed(payload).await?;
        self.flush().await
    }

    async fn feed(&mut self, payload: String) -> Result<(), Ended> {
        let frame = self.encoder.encode(payload);
        self.sink.feed(frame).await.map_err(|error| Ended::transient(error.to_string()))
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        self.sink.flush().await.map_err(|error| Ended::transient(error.to_string()))
    }

    async fn close(mut self, ended: Option<Ended>) {
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

/// Waits until the relay has come to these positions; returns the number of its newest entry then.
async fn reached_cut(shared: Arc<Shared>, cut: Vec<(ShardSlot, Position)>) -> u64 {
    let shards: Vec<_> = cut.iter().map(|(shard, _)| *shard).collect();
    loop {
        if let Ok(reached) = shared.relay.reached(&shards).await
            && reached.iter().zip(&cut).all(|(reached, (_, wanted))| *reached >= Some(*wanted))
            && let Ok(newest) = shared.relay.newest().await
        {
            return newest.number;
        }
        sleep(CUT_CHECK).await;
    }
}
