//! What a budget is: one question before a request, one report after it.
//!
//! The rules are the same in every implementation ([`limits`](crate::limits)); the contract suite holds memory and Redis together.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{BucketHeaders, Caller, RateLimit};

/// May this request go?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetRequest {
    /// Tells this request from all others: in its report, and while it is under way.
    pub permit: u64,
    /// Whose limits it counts for.
    pub caller: Caller,
    /// How many requests a second the caller may make in all; `None` where the global limit does not apply.
    pub per_second: Option<u32>,
    /// The route's [pattern](crate::route::Route::pattern).
    pub pattern: Arc<str>,
    /// Its [major parameter](crate::route::Route::major).
    pub major: Arc<str>,
    /// How long it can wait for its turn at the global limit. With a later turn none is taken.
    pub patience: Duration,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetAnswer {
    /// It has its turn, so long from now.
    Go(Duration),
    /// Not now: ask again after so long. Nothing was taken.
    Wait(Duration, WaitReason),
    /// Not at all, for so long.
    Stop(Duration, StopReason),
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Its bucket is empty, or a 429 stopped it.
    Bucket,
    /// The first request of its route is under way and will tell what limits it.
    Learning,
    /// All requests of this second are given away, or a global 429 stopped them: its turn would come later than it can wait.
    Global,
}

impl WaitReason {
    /// Every reason.
    pub(crate) const ALL: [Self; 3] = [Self::Bucket, Self::Learning, Self::Global];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Learning => "learning",
            Self::Global => "global",
        }
    }
}

/// Why a request does not go at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// Too many requests were invalid: some more, and Discord bans the address.
    Breaker,
    /// Cloudflare blocks the address.
    Blocked,
    /// Discord refuses the token.
    Token,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetReport {
    /// The question that it began with.
    pub ask: BudgetRequest,
    /// Discord's status; `None` when no answer came.
    pub status: Option<u16>,
    /// What its headers say of the bucket.
    pub seen: Option<BucketHeaders>,
    /// What a 429 says.
    pub limited: Option<RateLimit>,
    /// A 401 is about the token.
    pub judges_token: bool,
}

impl BudgetReport {
    /// Whether Discord counts it as invalid: 401, 403, and 429 unless it is shared
    /// ([Discord](https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans)).
    pub fn is_invalid(&self) -> bool {
        match self.status {
            Some(401 | 403) => true,
            Some(429) => self.limited.is_none_or(RateLimit::counts_as_invalid),
            _ => false,
        }
    }

    /// What it says of the token: `Some(true)` it is good, `Some(false)` it is refused.
    pub(crate) fn token_is_good(&self) -> Option<bool> {
        if !self.ask.caller.has_token() || !self.judges_token {
            return None;
        }
        match self.status? {
            401 => Some(false),
            // Said before Discord looks at a token.
            429 | 500.. => None,
            _ => Some(true),
        }
    }
}

/// What every answer to a report tells of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetState {
    /// Invalid requests of the last ten minutes; `None` when it was not counted just now.
    pub invalid: Option<u32>,
    /// How long all requests are stopped, and why: [`StopReason::Breaker`] or [`StopReason::Blocked`].
    pub breaker: Option<(Duration, StopReason)>,
}

/// The budget can't be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BudgetError(pub String);

/// Who may send when. Everything that is taken from it comes back by itself: a request whose report never comes holds its place
/// for a bounded time.
#[async_trait]
pub trait Budget: Send + Sync + 'static {
    /// Asks for a turn.
    ///
    /// # Errors
    /// The budget is away; whether a turn was taken is not known.
    async fn ask(&self, ask: &BudgetRequest) -> Result<BudgetAnswer, BudgetError>;

    /// Tells what became of a request.
    ///
    /// # Errors
    /// The budget is away.
    async fn report(&self, report: &BudgetReport) -> Result<BudgetState, BudgetError>;

    /// Returns whether all requests are stopped. For requests that need no turn.
    ///
    /// # Errors
    /// The budget cannot be reached.
    async fn breaker(&self) -> Result<Option<(Duration, StopReason)>, BudgetError>;
}
