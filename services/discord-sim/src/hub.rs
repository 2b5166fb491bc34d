//! The shared state: sessions and their routes, connections, the bot's guilds, limits, standing faults.
//!
//! One lock guards it and is held only for bookkeeping; bodies are written and sockets are touched outside. Lock order
//! is hub before session. A connection asks the hub when it identifies, resumes or goes; events flow through the
//! [session](crate::session) alone.

mod admission;
mod dispatch;
mod faults;
mod reports;
mod requests;
mod voice;

pub(crate) use admission::{Departure, Refusal};

use crate::{
    config::{ConfigError, SimConfig},
    event::{Event, Origin},
    faults::{FaultRecord, Standing},
    identify::IdentifyLimiter,
    intents::Intents,
    ledger::Newest,
    odd::{Action, Oddities},
    protocol::RESUME_PATH,
    report::{AskedRecord, GuildState, IdentifyRecord, Violation, ViolationKind},
    schedule::{Plan, Schedule},
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

/// Ended sessions kept for the ledger.
const ENDED_KEPT: usize = 4_096;

/// A session and the bell that tells its connections of new events.
#[derive(Debug)]
pub(crate) struct SessionCell {
    state: Mutex<Session>,
    bell: watch::Sender<()>,
}

impl SessionCell {
    fn new(session: Session) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(session), bell: watch::Sender::new(()) })
    }

    /// Gives this session alone an event.
    pub(crate) fn answer(&self, event: Event) {
        if self.lock().dispatch(event).is_some() {
            self.ring();
        }
    }

    /// Tells the connections that there may be something to send.
    pub(crate) fn ring(&self) {
        self.bell.send_replace(());
    }

    /// The bell, rung once at the start.
    pub(crate) fn bell(&self) -> watch::Receiver<()> {
        let mut bell = self.bell.subscribe();
        bell.mark_changed();
        bell
    }

    /// The session; a panic elsewhere leaves it usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Session> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Reconnect,
    InvalidSession {
        resumable: bool,
    },
    Close {
        code: u16,
        reason: String,
    },
    /// Another connection has taken its session over.
    Superseded,
    Abort,
    Freeze(bool),
    /// A script's choice.
    Act(Arc<[Action]>),
    RequestHeartbeat,
}

/// An open connection.
#[derive(Debug)]
struct Connection {
    opened_at: Duration,
    shard: Option<Shard>,
    orders: mpsc::Sender<Order>,
}

/// What is counted for each shard.
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
    /// The same sessions by total and number.
    routes: HashMap<u32, HashMap<u32, Vec<Arc<SessionCell>>>>,
    ended: VecDeque<Arc<SessionCell>>,
    ended_dropped: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    shards: BTreeMap<Shard, ShardCounts>,
    guilds: Vec<GuildState>,
    never_joined: BTreeSet<GuildIndex>,
    /// Who has moved between voice channels, by guild.
    voice: HashMap<GuildIndex, Arc<VoiceChanges>>,
    /// The session that took the bot into a guild's voice channel.
    bot_voice: HashMap<GuildIndex, String>,
    /// When all members of a guild were asked for.
    members_asked: HashMap<GuildIndex, Duration>,
    limiter: IdentifyLimiter,
    /// The recommended shard total.
    recommended: u32,
    standing: Standing,
    switches: Switches,
    violations: Newest<Violation>,
    identifies: Newest<IdentifyRecord>,
    asked: Newest<AskedRecord>,
    faults: Newest<FaultRecord>,
    connections_opened: u64,
    sessions_opened: u64,
    messages: u64,
    messages_dispatched: u64,
    draw: Draw,
}

/// The contents of `/gateway/bot` other than the URL.
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
    pub(crate) origin: Origin,
    pub(crate) odd: Oddities,
    /// Number of WebSocket requests from clients.
    pub(crate) dials: AtomicU64,
    /// Rung whenever a connection goes.
    gone: Notify,
    /// Messages a second.
    pub(crate) rate: watch::Sender<f64>,
    /// The schedule of faults that runs.
    pub(crate) schedule: watch::Sender<Option<Schedule>>,
    started: Instant,
    started_unix_ms: u64,
    state: Mutex<State>,
}

impl Hub {
    /// The state of a simulator whose gateway is at `gateway_url`.
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
            standing: Standing::default(),
            switches: config.switches.clone(),
            violations: Newest::default(),
            identifies: Newest::default(),
            asked: Newest::default(),
            faults: Newest::default(),
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
            origin: Origin {
                resume_url: format!("{gateway_url}{}", RESUME_PATH),
                gateway_url,
                application_flags,
            },
            odd: Oddities::default(),
            dials: AtomicU64::new(0),
            config,
            world,
            gone: Notify::new(),
            started: Instant::now(),
            started_unix_ms: unix.as_millis() as u64,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the simulator has run.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether this is the bot's token.
    pub(crate) fn token_is_good(&self, token: &str) -> bool {
        !self.lock().standing.reject_token
            && match &self.config.token {
                Some(own) => own == token,
                None => !token.is_empty(),
            }
    }

    /// Whether a fault refuses every token.
    pub(crate) fn tokens_are_rejected(&self) -> bool {
        self.lock().standing.reject_token
    }

    /// The switches as they are now.
    pub(crate) fn switches(&self) -> Switches {
        self.lock().switches.clone()
    }

    /// Sets the switches to what `change` makes of them; a session that exists keeps as many events as they say from now on.
    ///
    /// # Errors
    ///
    /// When `change` fails, or a switch can't work; then none is changed.
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

    /// Who has moved between a guild's voice channels.
    pub(crate) fn voice(&self, guild: GuildIndex) -> Arc<VoiceChanges> {
        self.lock().voice.get(&guild).cloned().unwrap_or_default()
    }

    /// How long after the start a moment is.
    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }

    /// Whether REST answers 503.
    pub(crate) fn rest_is_down(&self) -> bool {
        self.lock().standing.rest_down
    }

    /// The session start limit, and the recommended shard total.
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

    /// The plan of a schedule for this bot.
    pub(crate) fn plan(&self, schedule: Schedule) -> Plan {
        let guilds = (0..self.world.started_guilds()).map(|guild| self.world.head(guild).id).collect();
        Plan::new(schedule, self.config.recommended_shards(), guilds)
    }

    /// Notes a broken rule; `connection` is 0 when it was a REST call.
    pub(crate) fn violation(
        &self,
        kind: ViolationKind,
        connection: ConnectionId,
        shard: Option<Shard>,
        detail: String,
    ) {
        tracing::warn!(?kind, connection, detail, "a client broke a rule");
        let at_ms = self.now().as_millis() as u64;
        self.lock().violations.push(Violation { at_ms, kind, shard, connection, detail });
    }
}

impl State {
    /// The guilds of a shard that the bot is in, and whether they have an outage.
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

    /// Ends a session: no more events, no RESUME; the ledger keeps it.
    fn end_session(&mut self, world: &World, id: &str, now: Duration, why: &'static str) {
        let Some(cell) = self.sessions.remove(id) else { return };
        let shard = {
            let mut session = cell.lock();
            session.end(now, why);
            session.sight.shard
        };
        cell.ring();
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

/// The application flags that go with these privileged intents.
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

/// The ids of these guilds.
fn ids(world: &World, guilds: &BTreeMap<GuildIndex, bool>) -> Vec<Snowflake> {
    guilds.keys().map(|guild| world.head(*guild).id).collect()
}
