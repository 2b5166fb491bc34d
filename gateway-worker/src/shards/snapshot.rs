//! The guilds of this worker's shards for clients of the gateway.

use std::collections::HashSet;

use fleet_model::Position;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use guild_cache::{ClientView, MemberRequest};
use shard_bridge::{BridgeError, GuildSnapshot, MembersQuery, SnapshotPart, SnapshotQuery};

use super::{RunningShards, answers::of_guild};

impl RunningShards {
    /// Members of a guild, chunk by chunk; none when the cache may lack one of them. `None`: the guild's shard does not run here.
    pub(super) fn members_for_clients(&self, query: &MembersQuery) -> Option<BoxStream<'static, String>> {
        let shards = self.all();
        let shard = of_guild(&shards, query.guild)?;
        let request = MemberRequest {
            query: query.query.clone(),
            limit: query.limit,
            users: query.users.clone(),
            presences: query.presences,
        };
        Some(match shard.cache().members_for_clients(query.guild, request) {
            Some(chunks) => stream::iter(chunks).boxed(),
            None => stream::empty().boxed(),
        })
    }

    /// Begins with the guilds that there are now; each is read when its part is asked for.
    pub(super) fn begin_snapshot(
        &self,
        query: &SnapshotQuery,
    ) -> Result<Option<BoxStream<'static, SnapshotPart>>, BridgeError> {
        let Some(shard) = self.get(query.shard) else { return Ok(None) };
        // Read before the guilds are.
        let no_session = || BridgeError::unavailable(format!("shard {} has no session yet", query.shard));
        let read = shard.progress().ok_or_else(no_session)?.position();
        let (number, total) = query.client_shard;
        let only: Option<HashSet<u64>> = query.only.as_ref().map(|only| only.iter().copied().collect());
        let is_asked = |guild: u64| {
            (guild >> 22) % u64::from(total.max(1)) == u64::from(number)
                && only.as_ref().is_none_or(|only| only.contains(&guild))
        };
        let (session, present, absent) = shard.cache().guilds_for_clients(is_asked);
        if session != read.session {
            let why = format!("shard {} is restoring its guilds", query.shard);
            return Err(BridgeError::unavailable(why));
        }
        let view = ClientView {
            intents: query.intents,
            large_threshold: query.large_threshold,
            own_user: query.own_user,
        };
        let head = SnapshotPart::Head { read, present: present.clone(), absent };
        let end = shard.clone();
        let guilds = stream::iter(present).map(move |guild| {
            let (session, stamp, members, data) = shard.cache().guild_for_client(guild, &view);
            SnapshotPart::Guild(GuildSnapshot {
                id: guild,
                stamp: Position { session, sequence: stamp },
                members_stamp: Position { session, sequence: members },
                data,
            })
        });
        let last = stream::once(async move {
            // The guilds of a session that began meanwhile come with its events.
            let now = end.progress().map(|progress| progress.position());
            SnapshotPart::End { read: now.filter(|now| now.session == read.session).unwrap_or(read) }
        });
        Ok(Some(stream::iter([head]).chain(guilds).chain(last).boxed()))
    }
}
