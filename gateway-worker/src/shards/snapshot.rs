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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use checkpoint::Session;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::{
        shard_state::Progress,
        testing::{EPOCH, SHARD, TOTAL, guilds, running, shard_at},
    };

    #[test]
    fn shard_that_still_restores_its_checkpoint_answers_no_snapshot() {
        let state = shard_at(EPOCH, "guilds");
        let session = Arc::new(Session {
            id: "s".to_owned(),
            resume_url: "ws://127.0.0.1:1".to_owned(),
            ordinal: guilds::SESSION,
            shard: Some(SHARD.slot()),
            total: TOTAL,
            intents: 1,
            transport: "json".to_owned(),
            resources: Vec::new(),
            opened_at_unix_ms: 1,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let shards = RunningShards::new("w".parse().unwrap());
        shards.publish(BTreeMap::from([(SHARD, running(&state))]), BTreeMap::new());
        let query = SnapshotQuery {
            shard: SHARD.slot(),
            client_shard: (0, 1),
            intents: 1,
            large_threshold: 50,
            own_user: 1,
            only: None,
        };
        let refused = |words: &str| {
            let Err(error) = shards.begin_snapshot(&query) else { panic!("it answers") };
            assert!(error.to_string().contains(words), "{error}");
        };
        refused("has no session yet");
        // The head of the checkpoint has been read, and the guilds have not.
        state.set_progress(Some(Progress { session, began_at: 0, read: 9, read_at_unix_ms: 1 }));
        refused("is restoring its guilds");
        state.cache().begin_session(guilds::SESSION, &guilds::ready(&[3 << 22]));
        let mut parts = shards.begin_snapshot(&query).unwrap().unwrap();
        let head = parts.next().now_or_never().unwrap();
        let read = Position::new(guilds::SESSION, 9);
        assert_eq!(head, Some(SnapshotPart::Head { read, present: vec![], absent: vec![3 << 22] }));
    }
}
