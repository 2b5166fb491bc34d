//! Reports of the hub.

use super::Hub;
use crate::{
    faults::FaultRecord,
    report::{
        AskedRecord, ConnectionReport, GuildReport, GuildState, IdentifyRecord, LedgerReport, Listed,
        SequenceReport, SessionReport, SessionsReport, ShardReport, StatsReport, Totals, UserReport,
        Violation,
    },
    session::Session,
    shard::Shard,
    world::GuildIndex,
};
use std::{collections::BTreeSet, sync::atomic::Ordering};

/// Users searched for each user that is in several guilds.
const SHARED_TRIES: usize = 50;

impl Hub {
    pub(crate) fn ledger(&self) -> LedgerReport {
        let now_ms = self.now().as_millis() as u64;
        let state = self.lock();
        let cells = state.ended.iter().chain(state.sessions.values());
        let mut sessions: Vec<SessionReport> = cells.map(|cell| cell.lock().report()).collect();
        sessions.sort_by(|one, two| {
            (one.opened_at_ms, &one.session_id).cmp(&(two.opened_at_ms, &two.session_id))
        });
        LedgerReport {
            started_unix_ms: self.started_unix_ms,
            now_ms,
            messages: state.messages,
            messages_dispatched: state.messages_dispatched,
            sessions,
            sessions_dropped: state.ended_dropped,
        }
    }

    /// Reports each sequence of the selected sessions, at most `most` in total.
    pub(crate) fn sequences(
        &self,
        wanted: impl Fn(&Session) -> bool,
        from: u64,
        to: u64,
        most: usize,
    ) -> Vec<SequenceReport> {
        let state = self.lock();
        let mut all = Vec::new();
        for cell in state.ended.iter().chain(state.sessions.values()) {
            let session = cell.lock();
            if wanted(&session) {
                all.extend(session.sequences(from, to, most - all.len()));
            }
        }
        all
    }

    /// Lists the applied faults.
    pub(crate) fn faults(&self) -> Listed<FaultRecord> {
        self.lock().faults.listed()
    }

    pub(crate) fn violations(&self) -> Listed<Violation> {
        self.lock().violations.listed()
    }

    pub(crate) fn forget_violations(&self) {
        self.lock().violations.clear();
    }

    pub(crate) fn identifies(&self) -> Listed<IdentifyRecord> {
        self.lock().identifies.listed()
    }

    pub(crate) fn asked(&self) -> Listed<AskedRecord> {
        self.lock().asked.listed()
    }

    pub(crate) fn sessions(&self) -> SessionsReport {
        let state = self.lock();
        let connections = state.connections.iter().map(|(id, connection)| ConnectionReport {
            connection: *id,
            opened_at_ms: connection.opened_at.as_millis() as u64,
            shard: connection.shard,
        });
        let shards = state.shards.iter().map(|(shard, counts)| ShardReport {
            shard: *shard,
            open: counts.open,
            open_max: counts.open_max,
            identifies: counts.identifies,
            resumes: counts.resumes,
            resumes_refused: counts.resumes_refused,
            takeovers: counts.takeovers,
        });
        let mut sessions: Vec<SessionReport> =
            state.sessions.values().map(|cell| cell.lock().report()).collect();
        sessions.sort_by_key(|session| (session.shard, session.opened_at_ms));
        SessionsReport {
            dials: self.dials.load(Ordering::Relaxed),
            connections: connections.collect(),
            sessions,
            shards: shards.collect(),
        }
    }

    /// Lists the bot's guilds.
    pub(crate) fn guilds(&self, limit: usize, shard_total: u32) -> Vec<GuildReport> {
        let total = shard_total.max(1);
        let state = self.lock();
        (0..self.world.all_guilds())
            .filter(|guild| state.guilds[*guild as usize] != GuildState::Absent)
            .take(limit)
            .map(|guild| {
                let head = self.world.head(guild);
                GuildReport {
                    id: head.id,
                    name: self.world.guild_name(guild),
                    member_count: head.members,
                    shard: Shard { number: head.id.shard(total), total },
                    state: state.guilds[guild as usize],
                }
            })
            .collect()
    }

    /// Returns the state of a guild.
    pub(crate) fn guild_state(&self, guild: GuildIndex) -> GuildState {
        self.lock().guilds[guild as usize]
    }

    /// Lists the bot's guilds without an outage.
    pub(crate) fn available(&self) -> Vec<GuildIndex> {
        let state = self.lock();
        (0..self.world.all_guilds())
            .filter(|guild| state.guilds[*guild as usize] == GuildState::Available)
            .collect()
    }

    /// Lists up to `limit` users with all their guilds: some in voice, some in several guilds, then members of the first guilds.
    pub(crate) fn users(&self, limit: usize) -> Vec<UserReport> {
        let available = self.available();
        let world = &self.world;
        let guilds_of = |user: u64| {
            available
                .iter()
                .filter_map(move |guild| world.position_of(*guild, user).map(|position| (*guild, position)))
        };
        let share = limit.div_ceil(3);
        let in_voice = available
            .iter()
            .flat_map(|guild| {
                let people = world
                    .in_voice_now(*guild, &self.voice(*guild))
                    .into_iter()
                    .filter(|position| *position > 0);
                people.map(|position| world.user_index(*guild, position))
            })
            .take(share);
        // The first member of a guild's window may be in windows of other guilds.
        let shared = available
            .iter()
            .map(|guild| world.user_index(*guild, 1))
            .take(share.saturating_mul(SHARED_TRIES))
            .filter(|user| guilds_of(*user).nth(1).is_some())
            .take(share);
        let members = available.iter().flat_map(|guild| {
            (1..world.head(*guild).members).map(|position| world.user_index(*guild, position))
        });
        let mut seen = BTreeSet::new();
        let picked = in_voice.chain(shared).chain(members).filter(|user| seen.insert(*user)).take(limit);
        picked
            .map(|index| {
                let (guilds, in_voice): (Vec<_>, Vec<_>) = guilds_of(index)
                    .map(|(guild, position)| {
                        let id = world.head(guild).id;
                        let in_voice = world.in_voice_now(guild, &self.voice(guild)).contains(&position);
                        (id, in_voice.then_some(id))
                    })
                    .unzip();
                let user = world.user(index);
                let in_voice = in_voice.into_iter().flatten().collect();
                UserReport { id: user.id, username: user.username, guilds, in_voice }
            })
            .collect()
    }

    /// Returns the totals that a bot should report.
    pub(crate) fn stats(&self, shard_total: u32) -> StatsReport {
        let total = shard_total.clamp(1, crate::config::MAX_SHARDS);
        let states = self.lock().guilds.clone();
        let mut report =
            StatsReport { total: Totals::default(), shards: vec![Totals::default(); total as usize] };
        for (state, guild) in states.into_iter().zip(0..) {
            let head = self.world.head(guild);
            let shard = &mut report.shards[head.id.shard(total) as usize];
            let channels = self.world.channel_counts(guild).total();
            let voice = self.world.in_voice_now(guild, &self.voice(guild)).len() as u64;
            for totals in [&mut report.total, shard] {
                match state {
                    GuildState::Absent => {}
                    GuildState::Outage => totals.unavailable_guilds += 1,
                    GuildState::Available => {
                        totals.guilds += 1;
                        totals.users += head.members;
                        totals.channels += channels;
                        totals.voice_connections += voice;
                    }
                }
            }
        }
        report
    }
}
