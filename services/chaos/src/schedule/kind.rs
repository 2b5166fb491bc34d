//! The kinds of fault: how often each comes, how long it lasts, what is drawn for it.

use std::{fmt, str::FromStr, time::Duration};

use discord_sim::{Fault as DiscordFault, NewPreset, ResumeWhileOpen, Snowflake};

use super::{Draw, Fault, Link, Oddity, Planned, Shape, Switch};

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal, weight $weight:literal, $least:literal to $most:literal ms, $heavy:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// How often it comes, beside the others.
            const fn weight(self) -> usize {
                match self { $(Self::$kind => $weight,)* }
            }

            /// How long it lasts, in milliseconds.
            const fn lasts_ms(self) -> (u64, u64) {
                match self { $(Self::$kind => ($least, $most),)* }
            }

            /// One at a time, with time to recover.
            pub const fn is_heavy(self) -> bool {
                match self { $(Self::$kind => $heavy,)* }
            }
        }
    };
}

kinds! {
    /// SIGKILL of a worker, which is started again.
    WorkerKill = "worker-kill", weight 6, 100 to 8_000 ms, true;
    /// SIGSTOP and SIGCONT of a worker.
    WorkerStop = "worker-stop", weight 4, 200 to 20_000 ms, true;
    /// SIGKILL of the coordinator, which is started again.
    CoordinatorKill = "coordinator-kill", weight 3, 100 to 8_000 ms, true;
    /// A second coordinator.
    SecondCoordinator = "second-coordinator", weight 2, 1_000 to 8_000 ms, true;
    /// Redis is killed and comes back empty.
    RedisEmpty = "redis-empty", weight 2, 50 to 2_000 ms, true;
    /// Redis is stopped and goes on.
    RedisPause = "redis-pause", weight 2, 200 to 6_000 ms, true;
    /// Redis can't be reached.
    RedisAway = "redis-away", weight 2, 1_000 to 30_000 ms, true;
    /// A link of the network is reset.
    Cut = "cut", weight 4, 100 to 8_000 ms, true;
    /// A link of the network is silent.
    Hang = "hang", weight 4, 200 to 8_000 ms, true;
    /// A worker is told to go (SIGTERM), and is started again.
    WorkerDrain = "worker-drain", weight 4, 100 to 4_000 ms, true;
    /// A shard is moved to a worker by an operator.
    Move = "move", weight 2, 0 to 0 ms, true;
    /// A next generation of workers takes over.
    Deploy = "deploy", weight 2, 0 to 0 ms, true;
    /// The whole fleet is stopped and started.
    FleetRestart = "fleet-restart", weight 1, 200 to 4_000 ms, true;
    /// Redis is killed together with a worker: costs IDENTIFYs.
    RedisEmptyAndWorkerKill = "redis-empty-and-worker-kill", weight 1, 50 to 2_000 ms, true;
    /// Op 7.
    Reconnect = "reconnect", weight 3, 0 to 0 ms, false;
    /// Op 9 `true`.
    InvalidSessionResumable = "invalid-session-resumable", weight 2, 0 to 0 ms, false;
    /// A close code that allows a RESUME.
    Close = "close", weight 3, 0 to 0 ms, false;
    /// A TCP reset.
    Abort = "abort", weight 3, 0 to 0 ms, false;
    /// A connection is silent.
    Freeze = "freeze", weight 2, 200 to 10_000 ms, false;
    /// The next connection is reset before HELLO.
    AcceptThenClose = "accept-then-close", weight 2, 0 to 0 ms, false;
    /// A guild has an outage.
    GuildOutage = "guild-outage", weight 2, 300 to 6_000 ms, false;
    /// A switch of Discord's that costs nothing.
    Switch = "switch", weight 2, 500 to 10_000 ms, false;
    /// Three RESUMEs of a shard are answered with RESUMED, then a close code.
    ResumedThenClose = "resumed-then-close", weight 2, 1_000 to 8_000 ms, false;
    /// Two RESUMEs of a shard are answered with op 9 `true`.
    ResumeInvalidForNow = "resume-invalid-for-now", weight 1, 1_000 to 8_000 ms, false;
    /// A shard's RESUME is accepted, but its events come late; heartbeats are acknowledged.
    SlowReplay = "slow-replay", weight 1, 1_000 to 8_000 ms, false;
    /// The resume URL answers 503.
    ResumeUrlUnavailable = "resume-url-unavailable", weight 1, 500 to 6_000 ms, false;
    /// The resume URL takes one connection and never says HELLO.
    ResumeUrlSilent = "resume-url-silent", weight 1, 500 to 6_000 ms, false;
    /// A guild comes back from an outage with an undocumented field value.
    OddGuild = "odd-guild", weight 2, 300 to 6_000 ms, false;
    /// A shard must IDENTIFY and its READY comes late; heartbeats are acknowledged. Costs an IDENTIFY.
    SlowReady = "slow-ready", weight 1, 6_000 to 12_000 ms, false;
    /// Op 9 `false`: costs an IDENTIFY.
    InvalidSession = "invalid-session", weight 1, 0 to 0 ms, false;
    /// A switch of Discord's that may cost IDENTIFYs.
    CostlySwitch = "costly-switch", weight 1, 500 to 10_000 ms, false;
}

/// Switches that may cost no session and no event.
const FREE: [Switch; 5] = [
    Switch::ResumeWhileOpen(ResumeWhileOpen::Both),
    Switch::NoCloseFrames,
    Switch::HelloDelay(Duration::from_millis(400)),
    Switch::ResumeUrlDead,
    Switch::ZombieCloseCode(4_000),
];

/// Undocumented field values of a guild that do not change the fleet's counts.
const ODD_FIELDS: [&str; 5] = [
    "guild_emoji_name_null",
    "guild_icon_not_hex",
    "guild_sticker_odd",
    "guild_roles_without_colors",
    "guild_name_half_surrogate",
];

/// Switches by which Discord may refuse a RESUME.
const COSTLY: [Switch; 3] = [
    Switch::ResumeWhileOpen(ResumeWhileOpen::Refuse),
    Switch::ResumeWhileOpen(ResumeWhileOpen::RefuseForNow),
    Switch::HeartbeatTrims,
];

impl Kind {
    /// Those that cost neither an IDENTIFY nor an event.
    pub const DEFAULT: &[Self] = &[
        Self::WorkerKill,
        Self::WorkerStop,
        Self::CoordinatorKill,
        Self::SecondCoordinator,
        Self::RedisEmpty,
        Self::RedisPause,
        Self::RedisAway,
        Self::Cut,
        Self::Hang,
        Self::WorkerDrain,
        Self::Move,
        Self::Deploy,
        Self::FleetRestart,
        Self::Reconnect,
        Self::InvalidSessionResumable,
        Self::Close,
        Self::Abort,
        Self::Freeze,
        Self::AcceptThenClose,
        Self::GuildOutage,
        Self::Switch,
        Self::ResumedThenClose,
        Self::ResumeInvalidForNow,
        Self::SlowReplay,
        Self::ResumeUrlUnavailable,
        Self::ResumeUrlSilent,
        Self::OddGuild,
    ];

    /// Draws one of this kind.
    pub(super) fn draw(self, at: Duration, shape: &Shape, draw: &mut Draw) -> Planned {
        let (least, most) = self.lasts_ms();
        let cap = |ms| Duration::from_millis(ms).min(shape.longest);
        let lasts = draw.time(cap(least), cap(most));
        let worker = draw.range(0, shape.workers as u64 - 1) as usize;
        let shards = Some(vec![draw.range(0, u64::from(shape.shards) - 1) as u32]);
        let link = *draw.pick(&[
            Link::WorkerCoordinator(worker),
            Link::WorkerRedis(worker),
            Link::CoordinatorRedis,
            Link::Discord,
        ]);
        let once = |fault| Fault::Discord(Box::new(fault));
        let fault = match self {
            Self::WorkerKill => Fault::KillWorker(worker),
            Self::WorkerStop => Fault::StopWorker(worker),
            Self::CoordinatorKill => Fault::KillCoordinator,
            Self::SecondCoordinator => Fault::SecondCoordinator,
            Self::RedisEmpty => Fault::EmptyRedis,
            Self::RedisEmptyAndWorkerKill => Fault::EmptyRedisAndKillWorker(worker),
            Self::RedisPause => Fault::PauseRedis,
            Self::RedisAway => Fault::RedisAway,
            Self::Cut => Fault::Cut(link),
            Self::Hang => Fault::Hang(link),
            Self::WorkerDrain => Fault::DrainWorker(worker),
            Self::Move => Fault::Move(draw.range(0, u64::from(shape.shards) - 1) as u32, worker),
            Self::Deploy => Fault::Deploy,
            Self::FleetRestart => Fault::RestartFleet,
            Self::Reconnect => once(DiscordFault::Reconnect { shards }),
            Self::InvalidSessionResumable => once(DiscordFault::InvalidSession { shards, resumable: true }),
            Self::InvalidSession => once(DiscordFault::InvalidSession { shards, resumable: false }),
            Self::Close => {
                let code = *draw.pick(&[1_001, 4_000, 4_000, 4_009]);
                once(DiscordFault::Close { shards, code, reason: String::new() })
            }
            Self::Abort => once(DiscordFault::Abort { shards }),
            Self::Freeze => Fault::DiscordFor(Box::new([
                DiscordFault::Freeze { shards: shards.clone(), on: true },
                DiscordFault::Freeze { shards, on: false },
            ])),
            Self::GuildOutage if !shape.guilds.is_empty() => {
                let guild_id = Snowflake(*draw.pick(&shape.guilds));
                Fault::DiscordFor(Box::new([
                    DiscordFault::GuildOutage { guild_id, on: true },
                    DiscordFault::GuildOutage { guild_id, on: false },
                ]))
            }
            Self::OddGuild if !shape.guilds.is_empty() => {
                let guild_id = Snowflake(*draw.pick(&shape.guilds));
                let name = draw.pick(&ODD_FIELDS);
                Fault::Oddity(Box::new(Oddity {
                    preset: NewPreset { guild_id: Some(guild_id), ..preset(name, None, None) },
                    then: DiscordFault::GuildOutage { guild_id, on: true },
                    undo: Some(DiscordFault::GuildOutage { guild_id, on: false }),
                }))
            }
            Self::AcceptThenClose | Self::GuildOutage | Self::OddGuild => {
                once(DiscordFault::AcceptThenClose { connections: 1 })
            }
            Self::ResumedThenClose => odd("resumed_then_close", Some(3), shards),
            Self::ResumeInvalidForNow => odd("resume_invalid_for_now", Some(2), shards),
            Self::SlowReplay => odd("slow_replay", Some(1), shards),
            Self::ResumeUrlUnavailable => odd_at_resume_url("resume_url_unavailable", None, shards),
            Self::ResumeUrlSilent => odd_at_resume_url("resume_url_silent", Some(1), shards),
            Self::SlowReady => Fault::Oddity(Box::new(Oddity {
                preset: preset("slow_ready", Some(1), shards.clone()),
                then: DiscordFault::InvalidSession { shards, resumable: false },
                undo: None,
            })),
            Self::Switch => Fault::Switch(*draw.pick(&FREE)),
            Self::CostlySwitch => Fault::Switch(*draw.pick(&COSTLY)),
        };
        let lasts = if matches!(fault, Fault::Discord(_)) { Duration::ZERO } else { lasts };
        Planned { at, lasts, fault }
    }
}

fn preset(name: &str, times: Option<u32>, shards: Option<Vec<u32>>) -> NewPreset {
    NewPreset { name: name.to_owned(), shards, guild_id: None, times }
}

/// A preset for the next RESUME of a shard.
fn odd(name: &str, times: Option<u32>, shards: Option<Vec<u32>>) -> Fault {
    let preset = preset(name, times, shards.clone());
    Fault::Oddity(Box::new(Oddity { preset, then: resume(shards), undo: None }))
}

/// As [`odd`], but for any shard at the resume URL, where the shard is not known yet.
fn odd_at_resume_url(name: &str, times: Option<u32>, shards: Option<Vec<u32>>) -> Fault {
    Fault::Oddity(Box::new(Oddity { preset: preset(name, times, None), then: resume(shards), undo: None }))
}

/// Makes shards resume.
fn resume(shards: Option<Vec<u32>>) -> DiscordFault {
    DiscordFault::Close { shards, code: 4_000, reason: String::new() }
}

/// Each kind as often as it weighs.
pub(super) fn by_weight(kinds: &[Kind]) -> Vec<Kind> {
    kinds.iter().flat_map(|kind| std::iter::repeat_n(*kind, kind.weight())).collect()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("there is no such kind of fault; there are {}", names.join(", "))
        })
    }
}
