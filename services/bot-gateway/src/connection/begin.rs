//! What a client gets first, and again after a loss: READY and its guilds.

use std::{collections::HashSet, sync::Arc, time::Duration};

use fleet_model::{Position, ShardSlot};
use futures_util::FutureExt as _;
use guild_cache::ClientView;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep},
};

use super::{
    Ended,
    write::{Live, Writer},
};
use crate::{
    Shared,
    boot::{Boot, BootError, NextGuild},
    deliver::{Client, GuildStamp},
    message::Identify,
    payload,
    session::{ClientSession, ClientShard},
    tail::Feed,
};

/// How often the shards are compared with the relay until no guild includes an event that still comes.
const CUT_CHECK: Duration = Duration::from_millis(50);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer<S> {
    /// Sends READY and the guilds.
    pub(super) async fn identify(&mut self, identify: &Identify, nonce: u64) -> Result<Live, Ended> {
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
        let identity = shared.identity.get().await.map_err(Ended::transient)?;
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
            nonce,
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
    pub(super) async fn send_again(
        &mut self,
        live: &mut Live,
        only: Option<ShardSlot>,
    ) -> Result<bool, Ended> {
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

    /// Sends a packet for each guild, and before each that comes again that it is unavailable. Returns up to where the relay must come.
    pub(super) async fn send_guilds(
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
                let next = self.answering(shard.next(&shared.bridge)).await?;
                match next.map_err(|error: BootError| Ended::transient(error.to_string()))? {
                    NextGuild::End { included, cut: end } => {
                        if let Some(client) = &mut self.client {
                            client.note_included(slot, included);
                        }
                        cut.push((slot, end));
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
