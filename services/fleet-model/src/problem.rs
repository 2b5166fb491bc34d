//! What an operator should know about a process: one line each, with a code that never changes.

use std::fmt;

/// How much a [`Problem`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Something is wrong: the process is degraded while it lasts.
    Problem,
    /// Something takes its time and is known to end: waiting in the identify queue, say. Not degraded.
    Progress,
    /// Something that the operator may want to change: another shard total is wanted, say. Not degraded.
    Advice,
}

impl Weight {
    /// Its name in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Progress => "progress",
            Self::Advice => "advice",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $code:literal $weight:ident,)*) => {
        /// What kind of problem it is. Alerts match on its [name](ProblemCode::as_str), which never changes; the message may.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)*
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in JSON, gRPC and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// How much problems of this code matter.
            pub const fn weight(self) -> Weight {
                match self {
                    $(Self::$name => Weight::$weight,)*
                }
            }
        }
    };
}

codes! {
    /// The fleet store does not answer.
    StoreAway "store_away" Problem,
    /// Another coordinator acts; this one waits for the term.
    Standby "standby" Progress,
    /// The store has not confirmed the coordinator's term: it acknowledges no lease.
    TermUnconfirmed "term_unconfirmed" Problem,
    /// Discord does not answer `GET /gateway/bot`, or blocks this address.
    DiscordUnreachable "discord_unreachable" Problem,
    /// Discord refused the token.
    TokenRefused "token_refused" Problem,
    /// Another shard total is wanted than the one that runs.
    TotalDiffers "total_differs" Advice,
    /// The shard total is not known before a worker registers.
    TotalUnsettled "total_unsettled" Problem,
    /// The fleet store refuses to write the owner of a shard.
    ShardRefused "shard_refused" Problem,
    /// A record of the fleet store has another type or is no record of this program's.
    StoreRecordInvalid "store_record_invalid" Problem,
    /// Workers hold leases that this coordinator does not know.
    UnknownWorkers "unknown_workers" Problem,
    /// No worker is registered for some shards.
    NoWorker "no_worker" Problem,
    /// No worker has room for some shards.
    NoRoom "no_room" Problem,
    /// Workers of another deployment than the active one get no shards.
    GenerationIdle "generation_idle" Advice,
    /// Every worker that could take some shards is held back.
    WorkersHeldBack "workers_held_back" Problem,
    /// A shard is held back because its owners died.
    ShardHeldBack "shard_held_back" Problem,
    /// A worker is held back because it died repeatedly.
    WorkerHeldBack "worker_held_back" Problem,
    /// Discord refuses the token of one worker, and takes the coordinator's.
    WorkerTokenRefused "worker_token_refused" Problem,
    /// The fleet store does not answer one worker, and answers the coordinator.
    WorkerStoreAway "worker_store_away" Problem,
    /// Discord refused a shard for good.
    ShardFailed "shard_failed" Problem,
    /// A shard is connected and receives nothing.
    ShardSilent "shard_silent" Problem,
    /// A shard has not been ready for 5 s.
    ShardNotReady "shard_not_ready" Problem,
    /// A shard waits in the identify queue and its turn is known.
    ShardQueued "shard_queued" Progress,
    /// A shard is ready without some of its guilds.
    GuildsMissing "guilds_missing" Problem,
    /// A worker's heartbeat stream is broken.
    WorkerCutOff "worker_cut_off" Problem,
    /// No shard may IDENTIFY.
    IdentifyHalted "identify_halted" Problem,
    /// The day's IDENTIFYs are down to the reserve.
    IdentifyBudgetShort "identify_budget_short" Problem,
    /// The worker has no connection to a coordinator.
    CoordinatorAway "coordinator_away" Problem,
    /// The store does not renew the worker's lease.
    LeaseNotRenewed "lease_not_renewed" Problem,
    /// The worker's lease is not known to hold.
    LeaseNotHeld "lease_not_held" Problem,
    /// Broadcasts do not arrive.
    BroadcastsAway "broadcasts_away" Problem,
    /// The relay's streams do not take events.
    RelayAway "relay_away" Problem,
    /// The checkpoints of a shard can't be written.
    CheckpointFailing "checkpoint_failing" Problem,
    /// The shared REST budget can't be used.
    RestBudgetAway "rest_budget_away" Problem,
    /// Nothing is sent to Discord's REST API for a while.
    RestBlocked "rest_blocked" Problem,
    /// Discord refuses a token that REST requests carry.
    RestTokenRefused "rest_token_refused" Problem,
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is.
    pub code: ProblemCode,
    /// What is wrong, with its cause, in one line for people.
    pub message: String,
    /// Since when, in milliseconds since the Unix epoch; `None` when that is not known.
    pub since_unix_ms: Option<u64>,
}

impl Problem {
    /// A problem that began at an unknown time.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), since_unix_ms: None }
    }

    /// The same problem, with the time since when it lasts.
    #[must_use]
    pub fn since(mut self, unix_ms: u64) -> Self {
        self.since_unix_ms = Some(unix_ms);
        self
    }

    /// Whether the process is degraded while it lasts.
    pub const fn degrades(&self) -> bool {
        matches!(self.code.weight(), Weight::Problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_in_snake_case() {
        let names: BTreeSet<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ProblemCode::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }
}
