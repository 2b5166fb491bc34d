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
use shard_bridge::{Bridge, BridgeError, GuildSnapshot, SnapshotPart, SnapshotParts, SnapshotQuery};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Shared, deliver::Reached, session::ClientShard};

/// discord.js gives up when READY does not come within 15 s of IDENTIFY.
const READY_WITHIN: Duration = Duration::from_secs(12);
/// Wait before a shard is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Shards that are asked at once.
const SHARDS_AT_ONCE: usize = 32;
/// Shards whose guilds come on from the question for READY. The guilds of the others are asked for when it is their turn: a worker
/// allows 256 streams on the connection that all clients of another worker share.
const SHARDS_AT_HAND: usize = 2;
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
    /// Where the shard was when its guilds were asked for: with the owner that was behind the others, if several were asked.
    read: Position,
    /// The last event that is in one of the guilds. A new owner may be behind the one before.
    farthest: Position,
    /// `None`: they are asked for when they are needed.
    parts: Option<SnapshotParts>,
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
            .map(|(shard, reached)| ShardGuilds::ask(&shared.bridge, query(shard), reached, until));
        let mut asking = stream::iter(asking).buffered(SHARDS_AT_ONCE);
        let mut shards: Vec<ShardGuilds> = Vec::new();
        while let Some(mut guilds) = asking.try_next().await? {
            if shards.len() >= SHARDS_AT_HAND {
                guilds.parts = None;
            }
            shards.push(guilds);
        }
        drop(asking);
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
    Guild(GuildSnapshot),
    /// All were there.
    End {
        /// Each includes every event up to here.
        included: Position,
        /// None includes an event from behind this.
        cut: Position,
    },
}

impl ShardGuilds {
    /// Asks the shard's owner, until it has come as far as the relay.
    pub(crate) async fn ask(
        bridge: &Bridge,
        query: SnapshotQuery,
        reached: Option<Position>,
        until: Instant,
    ) -> Result<Self, BootError> {
        loop {
            let why = match Self::ask_once(bridge, &query, reached, until).await {
                Ok(guilds) => return Ok(guilds),
                Err(error) => error.to_string(),
            };
            if Instant::now() + ASK_AGAIN >= until {
                return Err(BootError::Shard(query.shard, why));
            }
            sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_once(
        bridge: &Bridge,
        query: &SnapshotQuery,
        reached: Option<Position>,
        until: Instant,
    ) -> Result<Self, BridgeError> {
        let mut parts = bridge.snapshot(query, until).await?;
        match timeout_at(until, parts.next()).await {
            Ok(Some(Ok(SnapshotPart::Head { read, .. }))) if Some(read) < reached => {
                Err(BridgeError::unavailable("its owner is behind the relay"))
            }
            Ok(Some(Ok(SnapshotPart::Head { read, present, absent }))) => {
                let (query, present) = (query.clone(), present.into());
                Ok(Self { query, reached, read, farthest: read, parts: Some(parts), present, absent })
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
    pub(crate) async fn next(&mut self, bridge: &Bridge) -> Result<NextGuild, BootError> {
        let until = Instant::now() + GUILDS_AGAIN_WITHIN;
        let mut why = String::new();
        loop {
            let Some(parts) = &mut self.parts else {
                if self.present.is_empty() {
                    return Ok(self.end(self.read));
                }
                match self.ask_again(bridge, until).await {
                    Ok(()) => continue,
                    Err(error) => why = error.to_string(),
                }
                if Instant::now() + ASK_AGAIN >= until {
                    return Err(BootError::Shard(self.query.shard, why));
                }
                sleep(ASK_AGAIN).await;
                continue;
            };
            match timeout_at(until, parts.next()).await {
                Ok(Some(Ok(SnapshotPart::Guild(guild)))) => {
                    // They come in this order.
                    if self.present.front() == Some(&guild.id) {
                        self.present.pop_front();
                    } else {
                        self.present.retain(|present| *present != guild.id);
                    }
                    self.farthest = self.farthest.max(guild.stamp).max(guild.members_stamp);
                    return Ok(NextGuild::Guild(guild));
                }
                Ok(Some(Ok(SnapshotPart::End { read }))) => return Ok(self.end(read)),
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
            self.parts = None;
        }
    }

    fn end(&self, read: Position) -> NextGuild {
        NextGuild::End { included: self.read, cut: read.max(self.farthest) }
    }

    /// Asks for the guilds that have not come.
    async fn ask_again(&mut self, bridge: &Bridge, until: Instant) -> Result<(), BridgeError> {
        let only = Some(self.present.iter().copied().collect());
        let query = SnapshotQuery { only, ..self.query.clone() };
        let again = Self::ask_once(bridge, &query, self.reached, until).await?;
        let is_new_session = again.read.session != self.read.session;
        // In a new session of the shard all its guilds come again with the events. Those that the owner does not have are shown as in an
        // outage.
        let is_gone = |guild: &u64| is_new_session || !again.present.contains(guild);
        let gone: Vec<u64> = self.present.iter().copied().filter(is_gone).collect();
        let begun = Position { session: again.read.session, sequence: 0 };
        self.read = self.read.min(again.read);
        let lost = gone.into_iter().map(move |id| {
            Ok(SnapshotPart::Guild(GuildSnapshot { id, stamp: begun, members_stamp: begun, data: None }))
        });
        let rest = if is_new_session {
            stream::iter([Ok(SnapshotPart::End { read: begun })]).boxed()
        } else {
            again.parts.unwrap_or_else(|| stream::empty().boxed())
        };
        self.parts = Some(stream::iter(lost).chain(rest).boxed());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scripted, bridge, shared};

    const VIEW: ClientView = ClientView { intents: 1, large_threshold: 50, own_user: 7 };

    fn at(sequence: u64) -> Position {
        Position::new(5, sequence)
    }

    fn head(read: u64, present: &[u64]) -> SnapshotPart {
        SnapshotPart::Head { read: at(read), present: present.to_vec(), absent: Vec::new() }
    }

    fn guild(id: u64, stamp: u64) -> SnapshotPart {
        let data = Some("{}".to_owned());
        SnapshotPart::Guild(GuildSnapshot { id, stamp: at(stamp), members_stamp: at(stamp), data })
    }

    /// Ids of the guilds that come, with their stamps if they have data; and the end.
    async fn all(guilds: &mut ShardGuilds, bridge: &Bridge) -> (Vec<(u64, Option<u64>)>, Position, Position) {
        let mut came = Vec::new();
        loop {
            match guilds.next(bridge).await.unwrap() {
                NextGuild::Guild(guild) => came.push((guild.id, guild.data.map(|_| guild.stamp.sequence))),
                NextGuild::End { included, cut } => return (came, included, cut),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn new_owner_is_asked_until_it_has_come_as_far_as_the_relay() {
        let worker = Scripted::new(|_, number| match number {
            0 => vec![head(12, &[1, 2, 3]), guild(1, 14)],
            // The owner is gone. The next one has restored a checkpoint, and has not read on yet.
            1 => vec![head(8, &[2]), guild(2, 8), SnapshotPart::End { read: at(8) }],
            _ => vec![head(10, &[2]), guild(2, 9), SnapshotPart::End { read: at(11) }],
        });
        let bridge = bridge(1, &worker);
        let query = SnapshotQuery {
            shard: ShardSlot(0),
            client_shard: (0, 1),
            intents: 1,
            large_threshold: 50,
            own_user: 7,
            only: None,
        };
        let until = Instant::now() + READY_WITHIN;
        let mut guilds = ShardGuilds::ask(&bridge, query, Some(at(10)), until).await.unwrap();
        let (came, included, cut) = all(&mut guilds, &bridge).await;
        assert_eq!(came, [(1, Some(14)), (3, None), (2, Some(9))]);
        assert_eq!(
            (included, cut),
            (at(10), at(14)),
            "one guild is from before the move, and one from after it"
        );
        let asked = worker.asked.lock().unwrap();
        let only: Vec<_> = asked.iter().map(|query| query.only.clone()).collect();
        assert_eq!(only, [None, Some(vec![2, 3]), Some(vec![2, 3])]);
    }

    #[tokio::test(start_paused = true)]
    async fn guilds_of_most_shards_are_asked_for_at_their_turn() {
        const SHARDS: u32 = 40;
        // The guild of shard 4 is left meanwhile, and shard 3 has none.
        let worker = Scripted::new(|query, number| {
            let id = u64::from(query.shard.0) << 22;
            match (query.shard.0, number) {
                (3, _) | (4, 1) => vec![head(2, &[]), SnapshotPart::End { read: at(2) }],
                (_, number) => {
                    let read = 2 + number as u64;
                    vec![head(read, &[id]), guild(id, read), SnapshotPart::End { read: at(read) }]
                }
            }
        });
        let shared = shared(SHARDS, &worker);
        let client = ClientShard::new(0, 1).unwrap();
        let mut boot = Boot::begin(&shared, client, VIEW, None).await.unwrap();
        assert_eq!(boot.guilds().len() as u32, SHARDS - 1);
        let open = boot.shards.iter().filter(|shard| shard.parts.is_some()).count();
        assert_eq!((open, worker.asked.lock().unwrap().len() as u32), (SHARDS_AT_HAND, SHARDS));
        let began = Instant::now();
        for shard in &mut boot.shards {
            let number = shard.slot().0;
            let id = u64::from(number) << 22;
            let (came, _, cut) = all(shard, &shared.bridge).await;
            let wanted = match number {
                0 | 1 => (vec![(id, Some(2))], at(2)),
                3 => (vec![], at(2)),
                4 => (vec![(id, None)], at(2)),
                _ => (vec![(id, Some(3))], at(3)),
            };
            assert_eq!((came, cut), wanted, "shard {number}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "without a wait");
        // Shard 3 has no guilds to ask for.
        assert_eq!(worker.asked.lock().unwrap().len() as u32, 2 * SHARDS - SHARDS_AT_HAND as u32 - 1);
    }
}
