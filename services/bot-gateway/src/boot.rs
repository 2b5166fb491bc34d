//! What a client gets after IDENTIFY: the guilds of its client shard, from the workers that run them, and the relay entry after which
//! its events start.
//!
//! The newest entry E0 is read first, then each shard's guilds, then the events behind E0. An owner's guilds count only if they
//! include all that the relay had of the shard when E0 was read, so no event is missing in between. Events that a guild includes
//! are dropped by its stamp ([`deliver`](crate::deliver)).

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use fleet_model::{Position, ShardSlot};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use guild_cache::ClientView;
use relay::{EntryId, RelayError};
use shard_bridge::{BridgeError, SnapshotPart, SnapshotParts, SnapshotQuery};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Shared, deliver::Reached, session::ClientShard};

/// discord.js gives up when READY does not come within 15 s of IDENTIFY.
const READY_WITHIN: Duration = Duration::from_secs(12);
/// Wait before a shard is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Shards that are asked at once.
const SHARDS_AT_ONCE: usize = 32;
/// How long a shard's guilds may stop coming, as while the shard moves.
const GUILDS_AGAIN_WITHIN: Duration = Duration::from_secs(30);

/// Why a client gets no READY.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("no shard of the fleet runs yet")]
    NoShards,
    #[error("cannot read the guilds of shard {0}: {1}")]
    Shard(ShardSlot, String),
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// The guilds that a client is to get.
pub(crate) struct Boot {
    /// E0.
    pub(crate) after: EntryId,
    pub(crate) generation: u64,
    /// Of the fleet.
    pub(crate) shard_total: u32,
    /// How far the relay had come with the shards.
    pub(crate) reached: Reached,
    pub(crate) shards: Vec<ShardGuilds>,
}

/// The guilds of one of the fleet's shards.
pub(crate) struct ShardGuilds {
    query: SnapshotQuery,
    /// How far the relay had come with the shard at E0.
    reached: Option<Position>,
    session: u64,
    parts: SnapshotParts,
    /// Guilds that have not been sent yet.
    pub(crate) present: VecDeque<u64>,
    pub(crate) absent: Vec<u64>,
}

impl Boot {
    /// Asks the owners of all shards that can have guilds of the client's, or of one of these shards.
    pub(crate) async fn begin(
        shared: &Shared,
        client: ClientShard,
        view: ClientView,
        only: Option<ShardSlot>,
    ) -> Result<Self, BootError> {
        let until = Instant::now() + READY_WITHIN;
        let total = loop {
            match shared.bridge.fleet_shards() {
                0 if Instant::now() >= until => return Err(BootError::NoShards),
                0 => sleep(ASK_AGAIN).await,
                total => break total,
            }
        };
        let is_asked = |shard: &ShardSlot| only.is_none_or(|only| only == *shard);
        let shards: Vec<ShardSlot> = client.shards_of(total).filter(is_asked).collect();
        let (generation, after, reached) = loop {
            match read_relay(shared, &shards).await {
                Ok(read) => break read,
                // A connection of before a restart of Redis fails once.
                Err(_) if Instant::now() + ASK_AGAIN < until => sleep(ASK_AGAIN).await,
                Err(error) => return Err(error.into()),
            }
        };
        let known =
            shards.iter().zip(&reached).filter_map(|(shard, reached)| Some((*shard, (*reached)?))).collect();
        let query = |shard| SnapshotQuery {
            shard,
            client_shard: (client.number, client.total),
            intents: view.intents,
            large_threshold: view.large_threshold,
            own_user: view.own_user,
            only: None,
        };
        let asking = shards
            .into_iter()
            .zip(reached)
            .map(|(shard, reached)| ShardGuilds::ask(shared, query(shard), reached, until));
        let shards = stream::iter(asking).buffered(SHARDS_AT_ONCE).try_collect().await?;
        Ok(Self { after, generation, shard_total: total, reached: known, shards })
    }

    /// All guilds of the client, in order.
    pub(crate) fn guilds(&self) -> Vec<u64> {
        let all = self.shards.iter().flat_map(|shard| shard.present.iter().chain(&shard.absent)).copied();
        let mut guilds: Vec<u64> = all.collect::<HashSet<u64>>().into_iter().collect();
        guilds.sort_unstable();
        guilds
    }
}

/// The relay's generation and newest entry, and then how far it has come with these shards.
async fn read_relay(
    shared: &Shared,
    shards: &[ShardSlot],
) -> Result<(u64, EntryId, Vec<Option<Position>>), RelayError> {
    let generation = shared.relay.generation().await?;
    let newest = shared.relay.newest().await?;
    Ok((generation, newest, shared.relay.reached(shards).await?))
}

/// The next of a shard's guilds.
pub(crate) enum NextGuild {
    /// A guild; `None` as data if it is in an outage, or will come again with the events.
    Guild(shard_bridge::GuildSnapshot),
    /// All were there; none includes an event from behind this.
    End(Position),
}

impl ShardGuilds {
    /// Asks the shard's owner, until it has come as far as the relay.
    async fn ask(
        shared: &Shared,
        query: SnapshotQuery,
        reached: Option<Position>,
        until: Instant,
    ) -> Result<Self, BootError> {
        loop {
            let why = match Self::ask_once(shared, &query, reached, until).await {
                Ok((_, guilds)) => return Ok(guilds),
                Err(error) => error.to_string(),
            };
            if Instant::now() + ASK_AGAIN >= until {
                return Err(BootError::Shard(query.shard, why));
            }
            sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_once(
        shared: &Shared,
        query: &SnapshotQuery,
        reached: Option<Position>,
        until: Instant,
    ) -> Result<(Position, Self), BridgeError> {
        let mut parts = shared.bridge.snapshot(query, until).await?;
        match timeout_at(until, parts.next()).await {
            Ok(Some(Ok(SnapshotPart::Head { read, .. }))) if Some(read) < reached => {
                Err(BridgeError::unavailable("its owner is behind the relay"))
            }
            Ok(Some(Ok(SnapshotPart::Head { read, present, absent }))) => {
                let (present, session) = (present.into(), read.session);
                let guilds = Self { query: query.clone(), reached, session, parts, present, absent };
                Ok((read, guilds))
            }
            Ok(Some(Err(error))) => Err(error),
            Ok(_) => Err(BridgeError::unavailable("the owner did not begin with the head")),
            Err(_) => Err(BridgeError::unavailable("the owner did not answer by the deadline")),
        }
    }

    /// The fleet's shard.
    pub(crate) fn slot(&self) -> ShardSlot {
        self.query.shard
    }

    /// Returns the next guild. If the shard moves meanwhile, the new owner is asked for the rest.
    pub(crate) async fn next(&mut self, shared: &Shared) -> Result<NextGuild, BootError> {
        let until = Instant::now() + GUILDS_AGAIN_WITHIN;
        let mut why = String::new();
        loop {
            match timeout_at(until, self.parts.next()).await {
                Ok(Some(Ok(SnapshotPart::Guild(guild)))) => {
                    // They come in this order.
                    if self.present.front() == Some(&guild.id) {
                        self.present.pop_front();
                    } else {
                        self.present.retain(|present| *present != guild.id);
                    }
                    return Ok(NextGuild::Guild(guild));
                }
                Ok(Some(Ok(SnapshotPart::End { read }))) => return Ok(NextGuild::End(read)),
                Ok(Some(Ok(SnapshotPart::Head { .. })) | None) => {
                    "the guilds broke off".clone_into(&mut why);
                }
                Ok(Some(Err(error))) => why = error.to_string(),
                Err(_) => {}
            }
            if Instant::now() >= until {
                return Err(BootError::Shard(self.query.shard, why));
            }
            sleep(ASK_AGAIN).await;
            let query =
                SnapshotQuery { only: Some(self.present.iter().copied().collect()), ..self.query.clone() };
            match Self::ask_once(shared, &query, self.reached, until).await {
                Ok((read, again)) => {
                    // In a new session of the shard all its guilds come again with the events. Those that the new owner does not have
                    // are shown as in an outage.
                    let gone: Vec<u64> = if read.session == self.session {
                        self.present.iter().copied().filter(|guild| !again.present.contains(guild)).collect()
                    } else {
                        self.present.iter().copied().collect()
                    };
                    let is_new_session = read.session != self.session;
                    let lost = gone.into_iter().map(move |id| {
                        let none = Position { session: read.session, sequence: 0 };
                        Ok(SnapshotPart::Guild(shard_bridge::GuildSnapshot {
                            id,
                            stamp: none,
                            members_stamp: none,
                            data: None,
                        }))
                    });
                    let lost = stream::iter(lost);
                    self.parts = if is_new_session {
                        let read = Position { session: read.session, sequence: 0 };
                        lost.chain(stream::iter([Ok(SnapshotPart::End { read })])).boxed()
                    } else {
                        lost.chain(again.parts).boxed()
                    };
                }
                Err(error) => why = error.to_string(),
            }
        }
    }
}
