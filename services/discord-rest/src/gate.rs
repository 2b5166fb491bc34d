//! The gate that every request passes: it waits for its turn here, and what became of it is told back.
//!
//! Owns the order of those who wait in this process. Requests of one route and major parameter stand in one lane, of which only the
//! first asks the budget; while a route's bucket is unknown all its requests stand in one lane. First answers to interactions
//! skip lanes and turns.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    BucketHeaders, Budget, BudgetAnswer, BudgetReport, BudgetRequest, BudgetState, Caller, RateLimit,
    RestMetrics, RestStatus, Scope, StopReason, WaitReason,
    limits::POLL_MS,
    route::{Kind, Route},
    status::breaker_message,
};

/// Known routes above which they are looked up again.
const MOST_KNOWN: usize = 8_192;
/// How many may stand in one lane, half of what a proxy takes: one bucket must not take all the room there is.
const MOST_IN_LANE: usize = 256;
/// What a request is told to wait that did not come to its turn at all.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// First answers to interactions need no turn. At most one in this time checks whether requests are stopped.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time limit of that check.
const LOOK_WITHIN: Duration = Duration::from_millis(100);

/// Leave to send a request.
#[derive(Debug)]
pub struct Permit {
    ask: BudgetRequest,
    kind: Kind,
    judges_token: bool,
}

/// Why a request is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateRefused {
    /// Its turn comes later than it can wait: so long from now.
    Late(Duration, WaitReason),
    /// The breaker is open.
    Breaker(Duration, StopReason),
    /// Discord refuses its token.
    Token(Duration),
    /// The budget can't be asked.
    Away,
}

/// What Discord answered, or that it did not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestOutcome {
    /// The status; `None` without an answer.
    pub status: Option<u16>,
    /// Its bucket.
    pub seen: Option<BucketHeaders>,
    /// What a 429 says.
    pub limited: Option<RateLimit>,
}

/// The gate.
pub struct Gate {
    budget: Arc<dyn Budget>,
    per_second: u32,
    lanes: Mutex<HashMap<LaneKey, Arc<RouteLane>>>,
    /// Routes that the budget knows the bucket of.
    known: Mutex<HashSet<(Caller, Arc<str>)>>,
    /// Until when a global 429 stops a caller, as far as this process has seen.
    blocked: Mutex<HashMap<Caller, Instant>>,
    /// When the budget last said whether requests are stopped.
    breaker_checked: Mutex<Option<Instant>>,
    metrics: RestMetrics,
    status: RestStatus,
}

/// A caller, a route's pattern, and the major parameter once the route is known.
type LaneKey = (Caller, Arc<str>, Option<Arc<str>>);

#[derive(Debug, Default)]
struct RouteLane {
    /// Fair: first come, first served.
    turn: tokio::sync::Mutex<()>,
    news: Notify,
}

/// Holds the lane while somebody stands in it.
struct LaneGuard<'a> {
    gate: &'a Gate,
    key: LaneKey,
    lane: Arc<RouteLane>,
}

impl Drop for LaneGuard<'_> {
    fn drop(&mut self) {
        let mut lanes = self.gate.lanes();
        // Only the map's own reference and this one are left: no other request waits here.
        if Arc::strong_count(&self.lane) <= 2 {
            lanes.remove(&self.key);
        }
    }
}

/// A turn that was given out and is still to come. Dropped, as with a caller who leaves, it goes back: else its bucket would
/// take it for a request under way, for long.
struct PendingTurn {
    budget: Arc<dyn Budget>,
    ask: Option<BudgetRequest>,
}

impl PendingTurn {
    fn used(mut self) {
        self.ask = None;
    }
}

impl Drop for PendingTurn {
    fn drop(&mut self) {
        if let (Some(ask), Ok(runtime)) = (self.ask.take(), Handle::try_current()) {
            let budget = self.budget.clone();
            let unused = BudgetReport { ask, status: None, seen: None, limited: None, judges_token: false };
            runtime.spawn(async move {
                if let Err(error) = budget.report(&unused).await {
                    tracing::debug!(%error, "a turn was not given back");
                }
            });
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("per_second", &self.per_second).finish_non_exhaustive()
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// A gate to this budget. `per_second` is the global limit of each caller.
    pub fn new(budget: Arc<dyn Budget>, per_second: u32, metrics: RestMetrics, status: RestStatus) -> Self {
        let (lanes, known, blocked, breaker_checked) =
            (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        Self { budget, per_second, lanes, known, blocked, breaker_checked, metrics, status }
    }

    /// Waits for the turn of a request, until then at most.
    ///
    /// # Errors
    /// It does not come by then, or not at all.
    pub async fn enter(&self, route: &Route, caller: &Caller, until: Instant) -> Result<Permit, GateRefused> {
        self.check_breaker()?;
        let (caller, per_second) = match route.kind {
            Kind::Bot => (caller.clone(), Some(self.per_second)),
            Kind::Callback | Kind::OwnToken => (Caller::open(), None),
        };
        let ask = BudgetRequest {
            permit: rand::random(),
            caller,
            per_second,
            pattern: route.pattern.clone(),
            major: route.major.clone(),
            patience: Duration::ZERO,
        };
        let mut permit = Permit { ask, kind: route.kind, judges_token: route.judges_token };
        if route.kind == Kind::Callback {
            self.check_other_workers().await;
            self.check_breaker()?;
            return Ok(permit);
        }
        let began = Instant::now();
        let waiting = self.metrics.waits();
        let entered = self.wait(&mut permit.ask, until).await;
        drop(waiting);
        self.metrics.waited(began.elapsed());
        match entered {
            Ok(()) => Ok(permit),
            Err(refused) => Err(self.refused(refused)),
        }
    }

    async fn wait(&self, ask: &mut BudgetRequest, until: Instant) -> Result<(), GateRefused> {
        loop {
            let is_known = held(&self.known).contains(&(ask.caller.clone(), ask.pattern.clone()));
            let standing =
                self.stand((ask.caller.clone(), ask.pattern.clone(), is_known.then(|| ask.major.clone())));
            // One reference is the map's, the others are of waiting requests. A route of unknown bucket may stand for many buckets.
            if is_known && Arc::strong_count(&standing.lane) > MOST_IN_LANE + 1 {
                return Err(GateRefused::Late(QUEUE_WAIT, WaitReason::Bucket));
            }
            let Ok(turn) = timeout_at(until, standing.lane.turn.lock()).await else {
                return Err(GateRefused::Late(QUEUE_WAIT, WaitReason::Bucket));
            };
            if !is_known && held(&self.known).contains(&(ask.caller.clone(), ask.pattern.clone())) {
                continue;
            }
            let Some(after) = self.first_in_lane(ask, until, is_known, &standing.lane).await? else {
                // What is known of the route has changed: it is another lane's.
                continue;
            };
            drop(turn);
            drop(standing);
            if after.is_zero() {
                return Ok(());
            }
            let given = PendingTurn { budget: self.budget.clone(), ask: Some(ask.clone()) };
            sleep(after).await;
            self.check_breaker()?;
            if self.blocked_until(&ask.caller).is_none_or(|blocked| blocked <= Instant::now()) {
                given.used();
                return Ok(());
            }
            // The turn was given out before a 429 stopped everything.
            drop(given);
            ask.permit = rand::random();
        }
    }

    /// Asks until there is a turn; how long it is until then. `None` when the lane is the wrong one.
    async fn first_in_lane(
        &self,
        ask: &mut BudgetRequest,
        until: Instant,
        is_known: bool,
        lane: &RouteLane,
    ) -> Result<Option<Duration>, GateRefused> {
        loop {
            let now = Instant::now();
            ask.patience = until.saturating_duration_since(now);
            let news = lane.news.notified();
            // A request that leaves before the answer is here may have been given a turn.
            let asking = PendingTurn { budget: self.budget.clone(), ask: Some(ask.clone()) };
            let answer = match self.budget.ask(ask).await {
                Ok(answer) => {
                    asking.used();
                    self.note_breaker_check();
                    answer
                }
                Err(error) => {
                    tracing::warn!(%error, "the REST budget cannot be asked");
                    return Err(GateRefused::Away);
                }
            };
            match answer {
                BudgetAnswer::Go(after) => return Ok(Some(after)),
                BudgetAnswer::Stop(left, StopReason::Token) => return Err(GateRefused::Token(left)),
                BudgetAnswer::Stop(left, why) => {
                    self.tell(BudgetState { invalid: None, breaker: Some((left, why)) });
                    return Err(GateRefused::Breaker(left, why));
                }
                BudgetAnswer::Wait(wait, why) if why == WaitReason::Global || now + wait > until => {
                    return Err(GateRefused::Late(wait, why));
                }
                BudgetAnswer::Wait(_, WaitReason::Learning) if is_known => {
                    held(&self.known).remove(&(ask.caller.clone(), ask.pattern.clone()));
                    return Ok(None);
                }
                BudgetAnswer::Wait(_, WaitReason::Bucket) if !is_known => {
                    self.know(ask);
                    return Ok(None);
                }
                BudgetAnswer::Wait(wait, why) => {
                    self.metrics.held_up(why);
                    // An answer that is under way ends a short wait early.
                    let is_short = wait <= Duration::from_millis(POLL_MS);
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = news, if is_short => {}
                    }
                }
            }
        }
    }

    /// Tells what became of a request.
    pub async fn leave(&self, permit: Permit, outcome: RestOutcome) {
        let Permit { ask, kind, judges_token } = permit;
        let RestOutcome { status, seen, mut limited } = outcome;
        if let Some(limited) = &mut limited {
            self.metrics.limited(limited.scope);
            if limited.scope == Scope::Global {
                let until = Instant::now() + limited.retry_after;
                let mut blocked = held(&self.blocked);
                blocked.retain(|_, until| *until > Instant::now());
                blocked.insert(ask.caller.clone(), until);
                if ask.per_second.is_none() {
                    // The global limit does not delay interaction answers, so their bucket is stopped instead.
                    limited.scope = Scope::User;
                }
            }
        }
        let mut report = BudgetReport { ask, status, seen, limited, judges_token };
        if kind == Kind::Callback {
            // Its bucket is its own and ends with it.
            report.seen = None;
            if !report.is_invalid() {
                return;
            }
        }
        let answered = status.is_some();
        match self.budget.report(&report).await {
            Ok(told) => self.tell(told),
            Err(error) => tracing::warn!(%error, "the REST budget was not told what became of a request"),
        }
        if answered
            && kind != Kind::Callback
            && (report.seen.is_some() || status.is_some_and(|status| status < 400))
        {
            self.know(&report.ask);
        }
        self.call((report.ask.caller.clone(), report.ask.pattern.clone(), Some(report.ask.major.clone())));
        self.call((report.ask.caller, report.ask.pattern, None));
    }

    fn check_breaker(&self) -> Result<(), GateRefused> {
        match self.status.breaker() {
            Some((left, why)) => Err(GateRefused::Breaker(left, why)),
            None => Ok(()),
        }
    }

    /// Asks whether another worker has stopped all requests, unless a recent answer said so.
    async fn check_other_workers(&self) {
        if held(&self.breaker_checked).is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.note_breaker_check();
        if let Ok(Ok(Some(open))) = timeout(LOOK_WITHIN, self.budget.breaker()).await {
            self.tell(BudgetState { invalid: None, breaker: Some(open) });
        }
    }

    fn note_breaker_check(&self) {
        *held(&self.breaker_checked) = Some(Instant::now());
    }

    fn stand(&self, key: LaneKey) -> LaneGuard<'_> {
        let lane = self.lanes().entry(key.clone()).or_default().clone();
        LaneGuard { gate: self, key, lane }
    }

    /// Tells the first of a lane that there is news.
    fn call(&self, key: LaneKey) {
        if let Some(lane) = self.lanes().get(&key) {
            lane.news.notify_waiters();
        }
    }

    fn know(&self, ask: &BudgetRequest) {
        let mut known = held(&self.known);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert((ask.caller.clone(), ask.pattern.clone()));
    }

    fn blocked_until(&self, caller: &Caller) -> Option<Instant> {
        held(&self.blocked).get(caller).copied()
    }

    fn refused(&self, refused: GateRefused) -> GateRefused {
        if let GateRefused::Token(left) = refused
            && self.status.token_refused(left)
        {
            tracing::warn!("Discord refuses a token that is used here (401); it is not sent for a while");
        }
        refused
    }

    fn tell(&self, told: BudgetState) {
        if let Some(invalid) = told.invalid {
            self.metrics.invalid(invalid);
        }
        if let Some((left, why)) = told.breaker
            && self.status.opened(left, why)
        {
            self.metrics.breaker_opened();
            tracing::error!("{}", breaker_message(left, why));
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<LaneKey, Arc<RouteLane>>> {
        held(&self.lanes)
    }
}
