//! The shared state: sessions and their routes, connections, the bot's guilds, limits, standing faults.
//!
//! One lock guards it and is held only for bookkeeping; bodies are written and sockets used outside of it. The hub's lock is taken
//! before a session's. Connections call the hub to identify, resume and close; events flow through the
//! [session](crate::session) only.

mod admission;
mod dispatch;
mod faults;
mod reports;
mod requests;
mod voice;

pub(crate) use admission::{AdmissionError, Disconnect};

use crate::{
    config::{ConfigError, SimConfig},
    event::{Event, ServerInfo},
    faults::{ActiveFaults, FaultRecord},
    identify::IdentifyLimiter,
    intents::Intents,
    ledger::RecentRecords,
    odd::{Action, Oddities},
    protocol::RESUME_PATH,
    report::{AskedRecord, GuildState, IdentifyRecord, Violation, ViolationKind},
    schedule::{FaultPlan, Schedule},
    session::{ConnectionId, Session},
    shard::Shard,
    switches::Switches,
    world::{Draw, GuildIndex, Snowflake, VoiceChanges, World},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

/// Ended sessions kept for the ledger; older ones are dropped and counted.
const ENDED_KEPT: usize = 4_096;

/// A session, and the channel that wakes its connections for new events.
#[derive(Debug)]
pub(crate) struct SessionCell {
    state: Mutex<Session>,
    updates: watch::Sender<()>,
}

impl SessionCell {
    fn new(session: Session) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(session), updates: watch::Sender::new(()) })
    }

    /// Dispatches an event to this session only.
    pub(crate) fn answer(&self, event: Event) {
        if self.lock().dispatch(event).is_some() {
            self.notify();
        }
    }

    /// Wakes the connections to look for events.
    pub(crate) fn notify(&self) {
        self.updates.send_replace(());
    }

    /// Subscribes a connection; it is woken once at the start.
    pub(crate) fn subscribe_updates(&self) -> watch::Receiver<()> {
        let mut updates = self.updates.subscribe();
        updates.mark_changed();
        updates
    }

    /// Locks the session. A panic elsewhere leaves it usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Session> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command of the hub to a connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectionCommand {
    Reconnect,
    InvalidSession {
        resumable: bool,
    },
    Close {
        code: u16,
        reason: String,
    },
    /// Another connection resumed its session.
    Superseded,
    Abort,
    Freeze(bool),
    /// Script actions for now.
    Act(Arc<[Action]>),
    RequestHeartbeat,
}

/// An open connection.
#[derive(Debug)]
struct ConnectionEntry {
    opened_at: Duration,
    shard: Option<Shard>,
    commands: mpsc::Sender<ConnectionCommand>,
}

/// Counters of one shard.
#[derive(Debug, Default)]
struct ShardCounts {
    open: u32,
    open_max: u32,
    identifies: u32,
    resumes: u32,
    resumes_refused: u32,
    takeovers: u32,
}

#[derive(Debug)]
struct State {
    sessions: HashMap<String, Arc<SessionCell>>,
    /// The same sessions by shard total and number.
    routes: HashMap<u32, HashMap<u32, Vec<Arc<SessionCell>>>>,
    ended: VecDeque<Arc<SessionCell>>,
    ended_dropped: u64,
    connections: BTreeMap<ConnectionId, ConnectionEntry>,
    shards: BTreeMap<Shard, ShardCounts>,
    guilds: Vec<GuildState>,
    never_joined: BTreeSet<GuildIndex>,
    /// Moves between voice channels, by guild.
    voice: HashMap<GuildIndex, Arc<VoiceChanges>>,
    /// The session through which the bot joined a guild's voice channel.
    bot_voice: HashMap<GuildIndex, String>,
    /// Time of the last request for all members of a guild.
    members_asked: HashMap<GuildIndex, Duration>,
    limiter: IdentifyLimiter,
    /// Shard total that `/gateway/bot` recommends.
    recommended: u32,
    active_faults: ActiveFaults,
    switches: Switches,
    violations: RecentRecords<Violation>,
    identifies: RecentRecords<IdentifyRecord>,
    asked: RecentRecords<AskedRecord>,
    faults: RecentRecords<FaultRecord>,
    connections_opened: u64,
    sessions_opened: u64,
    messages: u64,
    messages_dispatched: u64,
    draw: Draw,
}

/// The answer of `/gateway/bot` without its URL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimit {
    pub(crate) shards: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_after: Duration,
    pub(crate) max_concurrency: u16,
}

/// The simulator's shared state.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) config: SimConfig,
    pub(crate) world: World,
    pub(crate) server: ServerInfo,
    pub(crate) odd: Oddities,
    /// Number of WebSocket requests from clients.
    pub(crate) dials: AtomicU64,
    /// Notified when a connection leaves its session.
    connection_left: Notify,
    /// Message rate, per second.
    pub(crate) rate: watch::Sender<f64>,
    /// The running fault schedule.
    pub(crate) schedule: watch::Sender<Option<Schedule>>,
    started: Instant,
    started_unix_ms: u64,
    state: Mutex<State>,
}

impl Hub {
    /// Creates the state of a simulator whose gateway is at `gateway_url`.
    pub(crate) fn new(config: SimConfig, gateway_url: String) -> Self {
        let world = World::new(config.seed, config.guilds).with_largest_guild(config.largest_guild);
        let started = world.started_guilds();
        let guilds = (0..world.all_guilds())
            .map(|guild| match guild {
                _ if guild >= started => GuildState::Absent,
                _ if guild >= started - config.outages => GuildState::Outage,
                _ => GuildState::Available,
            })
            .collect();
        let limiter =
            IdentifyLimiter::new(config.max_concurrency, config.identify_interval, config.daily_identifies);
        let state = State {
            sessions: HashMap::new(),
            routes: HashMap::new(),
            ended: VecDeque::new(),
            ended_dropped: 0,
            connections: BTreeMap::new(),
            shards: BTreeMap::new(),
            guilds,
            never_joined: (started..world.all_guilds()).collect(),
            voice: HashMap::new(),
            bot_voice: HashMap::new(),
            members_asked: HashMap::new(),
            limiter,
            recommended: config.recommended_shards(),
            active_faults: ActiveFaults::default(),
            switches: config.switches.clone(),
            violations: RecentRecords::default(),
            identifies: RecentRecords::default(),
            asked: RecentRecords::default(),
            faults: RecentRecords::default(),
            connections_opened: 0,
            sessions_opened: 0,
            messages: 0,
            messages_dispatched: 0,
            draw: Draw::new(config.seed, &[99]),
        };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let application_flags = application_flags(config.privileged_intents);
        Self {
            rate: watch::Sender::new(config.events_per_second),
            schedule: watch::Sender::new(config.schedule.clone()),
            server: ServerInfo {
                resume_url: format!("{gateway_url}{RESUME_PATH}"),
                gateway_url,
                application_flags,
            },
            odd: Oddities::default(),
            dials: AtomicU64::new(0),
            config,
            world,
            connection_left: Notify::new(),
            started: Instant::now(),
            started_unix_ms: unix.as_millis() as u64,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the simulator started.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns whether the bot may use this token.
    pub(crate) fn accepts_token(&self, token: &str) -> bool {
        !self.lock().active_faults.reject_token
            && match &self.config.token {
                Some(own) => own == token,
                None => !token.is_empty(),
            }
    }

    /// Returns whether a fault rejects every token.
    pub(crate) fn rejects_all_tokens(&self) -> bool {
        self.lock().active_faults.reject_token
    }

    /// Returns the current switches.
    pub(crate) fn switches(&self) -> Switches {
        self.lock().switches.clone()
    }

    /// Replaces the switches with the result of `change`. A new replay buffer size applies to existing sessions.
    ///
    /// # Errors
    ///
    /// `change` failed or a switch is invalid; no switch changed.
    pub(crate) fn switch<E: From<ConfigError>>(
        &self,
        change: impl FnOnce(&Switches) -> Result<Switches, E>,
    ) -> Result<Switches, E> {
        let mut state = self.lock();
        let switches = change(&state.switches)?;
        switches.validate().map_err(|(setting, needs)| ConfigError { setting, needs })?;
        if switches.replay_buffer != state.switches.replay_buffer {
            for cell in state.sessions.values() {
                cell.lock().set_capacity(switches.replay_buffer);
            }
        }
        tracing::info!(?switches, "switches changed");
        state.switches = switches.clone();
        Ok(switches)
    }

    /// Returns the moves between a guild's voice channels.
    pub(crate) fn voice(&self, guild: GuildIndex) -> Arc<VoiceChanges> {
        self.lock().voice.get(&guild).cloned().unwrap_or_default()
    }

    /// Returns the time between the start and `at`.
    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }

    /// Returns whether REST answers 503.
    pub(crate) fn rest_is_down(&self) -> bool {
        self.lock().active_faults.rest_down
    }

    /// Returns the session start limit and the recommended shard total.
    pub(crate) fn session_limit(&self) -> SessionLimit {
        let now = self.now();
        let mut state = self.lock();
        SessionLimit {
            shards: state.recommended,
            remaining: state.limiter.remaining(now),
            reset_after: IdentifyLimiter::reset_after(now),
            max_concurrency: state.limiter.max_concurrency(),
        }
    }

    /// Builds a schedule's plan for this bot.
    pub(crate) fn plan(&self, schedule: Schedule) -> FaultPlan {
        let guilds = (0..self.world.started_guilds()).map(|guild| self.world.head(guild).id).collect();
        FaultPlan::new(schedule, self.config.recommended_shards(), guilds)
    }

    /// Records a broken rule. `connection` is 0 for a REST call.
    pub(crate) fn violation(
        &self,
        kind: ViolationKind,
        connection: ConnectionId,
        shard: Option<Shard>,
        detail: String,
    ) {
        tracing::warn!(?kind, connection, detail, "client broke a rule");
        let at_ms = self.now().as_millis() as u64;
        self.lock().violations.push(Violation { at_ms, kind, shard, connection, detail });
    }
}

impl State {
    /// Returns the bot's guilds on a shard, with whether each has an outage.
    fn guilds_of(&self, world: &World, shard: Shard) -> BTreeMap<GuildIndex, bool> {
        self.guilds
            .iter()
            .zip(0..)
            .filter(|(state, guild)| {
                **state != GuildState::Absent && world.head(*guild).id.shard(shard.total) == shard.number
            })
            .map(|(state, guild)| (guild, *state == GuildState::Outage))
            .collect()
    }

    /// Ends a session: it gets no more events and can't be resumed. The ledger keeps it.
    fn end_session(&mut self, world: &World, id: &str, now: Duration, why: &'static str) {
        let Some(cell) = self.sessions.remove(id) else { return };
        let shard = {
            let mut session = cell.lock();
            session.end(now, why);
            session.params.shard
        };
        cell.notify();
        if let Some(numbers) = self.routes.get_mut(&shard.total) {
            if let Some(sessions) = numbers.get_mut(&shard.number) {
                sessions.retain(|other| !Arc::ptr_eq(other, &cell));
                if sessions.is_empty() {
                    numbers.remove(&shard.number);
                }
            }
            if numbers.is_empty() {
                self.routes.remove(&shard.total);
            }
        }
        if self.ended.len() == ENDED_KEPT {
            self.ended.pop_front();
            self.ended_dropped += 1;
        }
        self.ended.push_back(cell);
        self.leave_voice(world, id);
    }
}

/// Returns the application flags of these privileged intents.
/// [Source](https://docs.discord.com/developers/resources/application#application-object-application-flags).
fn application_flags(enabled: Intents) -> u64 {
    [
        (Intents::GUILD_PRESENCES, 1 << 12),
        (Intents::GUILD_MEMBERS, 1 << 14),
        (Intents::MESSAGE_CONTENT, 1 << 18),
    ]
    .into_iter()
    .filter(|(intent, _)| enabled.contains(*intent))
    .fold(1 << 23, |flags, (_, flag)| flags | flag)
}

/// Returns the ids of guilds.
fn ids(world: &World, guilds: &BTreeMap<GuildIndex, bool>) -> Vec<Snowflake> {
    guilds.keys().map(|guild| world.head(*guild).id).collect()
}
