//! Which fault happens when: a list that is the same for the same seed.
//!
//! Owns the kinds of fault, how often each comes, how long it lasts, and which may meet. Pure: what a fault does to real
//! processes is the [runner](crate::run)'s. Faults of processes and of the network are heavy: one at a time, with time to
//! recover between two, as the platform promises to survive each of them and not all at once. Discord's own are light and come
//! at any time.

mod draw;
mod kind;

pub use kind::Kind;

use std::{fmt, time::Duration};

use discord_sim::{Fault as DiscordFault, NewPreset, ResumeWhileOpen, Switches};
use draw::Draw;

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// SIGKILL; started again when the fault ends.
    KillWorker(usize),
    /// SIGSTOP, then SIGCONT.
    StopWorker(usize),
    /// SIGKILL; started again when the fault ends.
    KillCoordinator,
    /// Another coordinator runs beside the first.
    SecondCoordinator,
    /// SIGKILL; it comes back empty.
    EmptyRedis,
    /// SIGKILL of Redis and of a worker at once; Redis comes back empty, then the worker is started.
    EmptyRedisAndKillWorker(usize),
    /// SIGSTOP, then SIGCONT.
    PauseRedis,
    /// Redis is unreachable, and loses nothing.
    RedisAway,
    /// Connections are reset.
    Cut(Link),
    /// Connections stay open, and nothing goes through.
    Hang(Link),
    /// SIGTERM to a worker, which gives its shards away and exits; started again when the fault ends.
    DrainWorker(usize),
    /// An operator moves a shard to a worker.
    Move(u32, usize),
    /// An operator lets a next generation of workers take over.
    Deploy,
    /// SIGTERM to all of ours; all are started when the fault ends.
    RestartFleet,
    /// Something of Discord's that happens.
    Discord(Box<DiscordFault>),
    /// Something of Discord's that begins, and what ends it.
    DiscordFor(Box<[DiscordFault; 2]>),
    /// Discord breaks its own rules for a while.
    Oddity(Box<Oddity>),
    /// Discord is another way for a while.
    Switch(Switch),
}

/// How Discord breaks its own rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Oddity {
    /// The preset of discord-sim that applies during the fault.
    pub preset: NewPreset,
    /// What makes a client meet the preset.
    pub then: DiscordFault,
    /// What ends that while the preset still applies.
    pub undo: Option<DiscordFault>,
}

/// Who speaks with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A worker and the coordinator.
    WorkerCoordinator(usize),
    /// A worker and Redis.
    WorkerRedis(usize),
    /// The coordinator and Redis.
    CoordinatorRedis,
    /// All workers and Discord's gateway: they resume by one URL, so one worker alone can't be cut off.
    Discord,
}

/// A switch of discord-sim's in its other position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// What a RESUME meets when a connection of its session is open.
    ResumeWhileOpen(ResumeWhileOpen),
    /// A heartbeat drops what it names from the replay buffer.
    HeartbeatTrims,
    /// Connections end without a close frame.
    NoCloseFrames,
    /// HELLO is late.
    HelloDelay(Duration),
    /// The resume URL leads nowhere.
    ResumeUrlDead,
    /// How a silent client is closed.
    ZombieCloseCode(u16),
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// When it begins, counted from the plan's start.
    pub at: Duration,
    /// How long it lasts; zero where it has no end.
    pub lasts: Duration,
    /// What.
    pub fault: Fault,
}

/// What a plan is for.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many workers there are.
    pub workers: usize,
    /// How many shards.
    pub shards: u32,
    /// Guilds that may have an outage.
    pub guilds: Vec<u64>,
    /// No fault begins later.
    pub length: Duration,
    /// The mean time from one heavy fault's recovery to the next one.
    pub heavy_every: Duration,
    /// The mean time between two light faults.
    pub light_every: Duration,
    /// The least time from the end of a heavy fault to the next one: leases lapse, shards move, checkpoints are written.
    pub recovery: Duration,
    /// No fault lasts longer.
    pub longest: Duration,
    /// What is drawn from.
    pub kinds: Vec<Kind>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            workers: 3,
            shards: 12,
            guilds: Vec::new(),
            length: Duration::from_secs(30),
            heavy_every: Duration::from_secs(3),
            light_every: Duration::from_secs(2),
            recovery: Duration::from_secs(8),
            longest: Duration::from_secs(30),
            kinds: Kind::DEFAULT.to_vec(),
        }
    }
}

/// The faults of a seed, by the time of their beginning.
pub fn plan(seed: u64, shape: &Shape) -> Vec<Planned> {
    let mut draw = Draw::new(seed);
    let mut planned = Vec::new();
    let of =
        |heavy| shape.kinds.iter().copied().filter(move |kind| kind.is_heavy() == heavy).collect::<Vec<_>>();
    let heavy = kind::by_weight(&of(true));
    let mut at = draw.exponential(shape.heavy_every);
    while !heavy.is_empty() && at < shape.length {
        let kind = *draw.pick(&heavy);
        let one = kind.draw(at, shape, &mut draw);
        at = one.at + one.lasts + shape.recovery + draw.exponential(shape.heavy_every);
        planned.push(one);
    }
    let light = kind::by_weight(&of(false));
    let mut at = draw.exponential(shape.light_every);
    while !light.is_empty() && at < shape.length {
        let kind = *draw.pick(&light);
        planned.push(kind.draw(at, shape, &mut draw));
        at += draw.exponential(shape.light_every).max(Duration::from_millis(20));
    }
    planned.sort_by_key(|one| one.at);
    planned
}

/// Maximum number of IDENTIFYs that a plan may cost beyond the IDENTIFYs of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// At most this many.
    AtMost(u32),
    /// Any number: Discord may refuse every RESUME.
    Any,
}

/// What Discord itself makes a fleet pay for this plan. What it pays beyond that is a fault of the platform's.
pub fn cost(plan: &[Planned], shape: &Shape) -> Cost {
    let mut identifies = 0;
    for planned in plan {
        identifies += match &planned.fault {
            Fault::Discord(fault) => match fault.as_ref() {
                DiscordFault::InvalidSession { shards, resumable: false } => {
                    shards.as_ref().map_or(shape.shards, |shards| shards.len() as u32)
                }
                _ => 0,
            },
            Fault::Oddity(odd)
                if matches!(odd.then, DiscordFault::InvalidSession { resumable: false, .. }) =>
            {
                1
            }
            // The worker's checkpoints are gone with Redis. It may have had all shards.
            Fault::EmptyRedisAndKillWorker(_) => shape.shards,
            Fault::Switch(
                Switch::HeartbeatTrims
                | Switch::ResumeWhileOpen(ResumeWhileOpen::Refuse | ResumeWhileOpen::RefuseForNow),
            ) => return Cost::Any,
            _ => 0,
        };
    }
    Cost::AtMost(identifies)
}

impl Cost {
    /// Whether the number of IDENTIFYs stays within the cost.
    pub fn allows(self, identifies: u32) -> bool {
        match self {
            Self::AtMost(most) => identifies <= most,
            Self::Any => true,
        }
    }
}

impl Fault {
    /// While it lasts, and a little after, a client can't keep Discord's rules on heartbeats, and may be connected twice: its
    /// process is stopped, or nothing of what it sends arrives.
    pub fn silences_a_client(&self) -> bool {
        matches!(self, Self::StopWorker(_) | Self::Hang(Link::Discord))
    }
}

impl Switch {
    /// Sets it.
    pub fn set(self, switches: &mut Switches) {
        match self {
            Self::ResumeWhileOpen(how) => switches.resume_while_open = how,
            Self::HeartbeatTrims => switches.heartbeat_trims = true,
            Self::NoCloseFrames => switches.close_frames = false,
            Self::HelloDelay(delay) => switches.hello_delay = delay,
            Self::ResumeUrlDead => switches.resume_url_dead = true,
            Self::ZombieCloseCode(code) => switches.zombie_close_code = code,
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_millis() as f64 / 1_000.0;
        write!(f, "{:8.3} s ", seconds(self.at))?;
        if self.lasts.is_zero() {
            write!(f, "            ")?;
        } else {
            write!(f, "for {:6.3} s", seconds(self.lasts))?;
        }
        match &self.fault {
            Fault::Discord(fault) => write!(f, "  {fault:?}"),
            Fault::DiscordFor(both) => write!(f, "  {:?}", both[0]),
            Fault::Oddity(odd) => write!(f, "  {} with {:?}", odd.preset.name, odd.then),
            fault => write!(f, "  {fault:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
