//! Who may IDENTIFY, and when: a pure state machine.
//!
//! Discord takes one IDENTIFY per 5 s from each bucket `shard % max_concurrency`, and so many a day
//! ([Max Concurrency](https://discord.com/developers/docs/events/gateway#sharding-max-concurrency)). Whoever goes over it
//! loses the session or, by the day, the token. So every IDENTIFY of the fleet needs a permit from here (invariant I2).
//!
//! A permit's way: [`IdentifyQueue::request`], then [`IdentifyQueue::take_due`] hands out a [`Grant`], which the owner of the queue
//! writes down as spent and only then sends ([`IdentifyQueue::mark_sent`]); the worker answers `used` when its gateway
//! connection has it. The bucket opens again 5 s after that answer. Without an answer the permit counts as used at the
//! last moment it could have been: when it died, or when its holder's connection ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fleet_model::{Epoch, ShardNumber, WorkerId};

mod budget;
#[cfg(test)]
mod tests;

pub use budget::IdentifyBudget;

/// Time on the coordinator's monotonic clock.
pub type Time = Duration;

/// How long a permit lives unused, counted from when it was sent. Its holder knows that moment from its own ask and the
/// time that the ask waited here, so a permit that came late is known to be dead.
pub const PERMIT_VALID: Duration = Duration::from_secs(2);

/// Added to Discord's interval: the way from a permit's hand-over to Discord takes once less and once more, by as much as a
/// busy machine lets a task wait.
pub const SLACK: Duration = Duration::from_millis(500);

/// How long a new coordinator waits for the permits of one before it: the last may be used at its very end.
pub fn unknown_permits_end(interval: Duration) -> Duration {
    PERMIT_VALID + interval + SLACK
}

/// One request, unique over all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    /// The stream it came on.
    pub stream: u64,
    /// The worker's own number for it.
    pub ticket: u64,
}

/// What is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRequest {
    /// The worker that asks.
    pub worker: WorkerId,
    /// The shard that wants to IDENTIFY.
    pub shard: ShardNumber,
    /// The epoch it runs under.
    pub epoch: Epoch,
}

/// Leave to IDENTIFY: to be written down as spent, then sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub id: TicketId,
    /// For what.
    pub request: PermitRequest,
    /// When it was asked for.
    pub requested_at: Time,
}

/// The queue.
#[derive(Clone, Debug)]
pub struct IdentifyQueue {
    interval: Duration,
    buckets: Vec<Bucket>,
    requests: BTreeMap<TicketId, QueuedRequest>,
    budget: IdentifyBudget,
    /// Permits that Discord's pending answer may not have counted; `None` when no request is pending.
    uncounted: Option<u32>,
    halted: Option<String>,
}

/// A request and when it came.
#[derive(Clone, Debug)]
struct QueuedRequest {
    request: PermitRequest,
    requested_at: Time,
}

/// The shards of one `shard % max_concurrency`.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// No grant before this moment.
    free_at: Time,
    /// The permits in use: at most one, except when buckets were merged. All must end before the next grant.
    held: Vec<HeldPermit>,
    /// In the order of their shards.
    waiting: BTreeSet<(ShardNumber, TicketId)>,
}

/// A permit on its way or in the hands of a worker.
#[derive(Clone, Copy, Debug)]
struct HeldPermit {
    id: TicketId,
    /// When it was sent; `None` while it is being written down.
    sent_at: Option<Time>,
}

impl IdentifyQueue {
    /// A queue whose buckets all open at `open_at`: a coordinator that may have had a predecessor waits for the permits
    /// that it does not know of. `interval` is Discord's 5 s.
    pub fn new(max_concurrency: u32, interval: Duration, budget: IdentifyBudget, open_at: Time) -> Self {
        let bucket = Bucket { free_at: open_at, ..Bucket::default() };
        Self {
            interval: interval + SLACK,
            buckets: vec![bucket; max_concurrency.max(1) as usize],
            requests: BTreeMap::new(),
            budget,
            uncounted: None,
            halted: None,
        }
    }

    /// Opens no bucket before this moment: a coordinator before this one may have sent permits.
    pub fn hold_until(&mut self, moment: Time) {
        for bucket in &mut self.buckets {
            bucket.free_at = bucket.free_at.max(moment);
        }
    }

    /// How many may IDENTIFY at once.
    pub fn max_concurrency(&self) -> u32 {
        self.buckets.len() as u32
    }

    /// The day's budget.
    pub fn budget(&self) -> &IdentifyBudget {
        &self.budget
    }

    /// Notes that Discord is asked for the budget. Its answer may miss the permits that are out now and those granted
    /// before it arrives.
    pub fn note_budget_request(&mut self) {
        self.uncounted = Some(self.buckets.iter().map(|bucket| bucket.held.len()).sum::<usize>() as u32);
    }

    /// Applies the budget from Discord, less the permits that it may not have counted.
    pub fn set_budget(&mut self, budget: IdentifyBudget) {
        let uncounted = self.uncounted.take().unwrap_or_default();
        self.budget = IdentifyBudget { remaining: budget.remaining.saturating_sub(uncounted), ..budget };
    }

    /// Counts a permit that was never sent as unspent.
    fn give_back(&mut self) {
        self.budget.give_back();
        self.uncounted = self.uncounted.map(|uncounted| uncounted.saturating_sub(1));
    }

    /// Applies a new concurrency: waiting requests and held permits are sorted into new buckets. None of these opens
    /// before the last of the old ones would have, as any shard in it may be new there.
    pub fn set_max_concurrency(&mut self, max_concurrency: u32) {
        let count = max_concurrency.max(1) as usize;
        if count == self.buckets.len() {
            return;
        }
        let free_at = self.buckets.iter().map(|bucket| bucket.free_at).max().unwrap_or_default();
        let bucket = Bucket { free_at, ..Bucket::default() };
        let before = std::mem::replace(&mut self.buckets, vec![bucket; count]);
        for Bucket { held, waiting, .. } in before {
            for (shard, id) in waiting {
                self.bucket(shard).waiting.insert((shard, id));
            }
            for held in held {
                let Some(shard) = self.requests.get(&held.id).map(|queued| queued.request.shard) else {
                    continue;
                };
                self.bucket(shard).held.push(held);
            }
        }
    }

    /// How many wait for a permit.
    pub fn waiting(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.waiting.len()).sum()
    }

    /// Why nothing is granted, if nothing is.
    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// Grants nothing until the halt is lifted: Discord refused the token, and further attempts make it worse.
    pub fn halt(&mut self, why: impl Into<String>) {
        self.halted.get_or_insert(why.into());
    }

    /// Resumes grants: Discord accepts the token.
    pub fn lift_halt(&mut self) {
        self.halted = None;
    }

    /// Queues a request. Asking twice with one ticket, or twice for one shard of one worker, keeps the newer request. Returns the
    /// ticket of the older one.
    pub fn request(&mut self, id: TicketId, request: PermitRequest, now: Time) -> Option<TicketId> {
        let twin = self.requests.iter().find(|(_, queued)| {
            queued.request.worker == request.worker && queued.request.shard == request.shard
        });
        let twin = twin.map(|(&twin, _)| twin);
        if let Some(twin) = twin {
            self.end_request(twin, now);
        }
        self.end_request(id, now);
        self.bucket(request.shard).waiting.insert((request.shard, id));
        self.requests.insert(id, QueuedRequest { request, requested_at: now });
        twin.filter(|twin| *twin != id)
    }

    /// The grants that are due. Each is held until it is [`sent`](Self::mark_sent) or [`withdrawn`](Self::withdraw); the budget
    /// counts it as spent.
    pub fn take_due(&mut self, now: Time) -> Vec<Grant> {
        self.expire(now);
        if self.halted.is_some() {
            return Vec::new();
        }
        let mut grants = Vec::new();
        for bucket in &mut self.buckets {
            if !bucket.held.is_empty() || now < bucket.free_at || bucket.waiting.is_empty() {
                continue;
            }
            if !self.budget.spend() {
                break;
            }
            self.uncounted = self.uncounted.map(|uncounted| uncounted + 1);
            let Some((_, id)) = bucket.waiting.pop_first() else { continue };
            let Some(queued) = self.requests.get(&id) else { continue };
            bucket.held.push(HeldPermit { id, sent_at: None });
            grants.push(Grant { id, request: queued.request.clone(), requested_at: queued.requested_at });
        }
        grants
    }

    /// The grant was written down and goes out now. False when its request has ended meanwhile: then it must not go out.
    pub fn mark_sent(&mut self, id: TicketId, now: Time) -> bool {
        match self.held_permit(id) {
            Some(held) => {
                held.sent_at = Some(now);
                true
            }
            None => false,
        }
    }

    /// The grant could not be written down: its request goes back to its place, for another try at `again_at`.
    pub fn withdraw(&mut self, id: TicketId, again_at: Time) {
        let Some(shard) = self.requests.get(&id).map(|queued| queued.request.shard) else { return };
        let bucket = self.bucket(shard);
        if bucket.held.extract_if(.., |held| held.id == id && held.sent_at.is_none()).next().is_some() {
            bucket.free_at = bucket.free_at.max(again_at);
            bucket.waiting.insert((shard, id));
            self.give_back();
        }
    }

    /// The permit was handed to the gateway connection. False for a ticket that holds none.
    pub fn mark_used(&mut self, id: TicketId, now: Time) -> bool {
        if self.held_permit(id).is_none_or(|held| held.sent_at.is_none()) {
            return false;
        }
        self.end_request(id, now);
        true
    }

    /// The request is over. A permit that was sent counts as used now, as it may have been.
    pub fn end_request(&mut self, id: TicketId, now: Time) {
        self.end_request_at(id, now, |_| now);
    }

    /// Ends a request; `last_use` says, from when its permit was sent, when it may have been used at the latest.
    fn end_request_at(&mut self, id: TicketId, now: Time, last_use: impl FnOnce(Time) -> Time) {
        let Some(QueuedRequest { request, .. }) = self.requests.remove(&id) else { return };
        let interval = self.interval;
        let bucket = self.bucket(request.shard);
        bucket.waiting.remove(&(request.shard, id));
        let Some(held) = bucket.held.extract_if(.., |held| held.id == id).next() else { return };
        if let Some(sent_at) = held.sent_at {
            bucket.free_at = bucket.free_at.max(last_use(sent_at).max(now) + interval);
        } else {
            self.give_back();
        }
    }

    /// A worker's stream ended, and all its requests with it. The worker may live on and use a permit until it dies.
    pub fn stream_ended(&mut self, stream: u64, now: Time) {
        let first = TicketId { stream, ticket: 0 };
        let last = TicketId { stream, ticket: u64::MAX };
        let ended: Vec<TicketId> = self.requests.range(first..=last).map(|(&id, _)| id).collect();
        for id in ended {
            self.end_request_at(id, now, |sent_at| sent_at + PERMIT_VALID);
        }
    }

    /// Returns the requests that wait for a permit.
    pub fn waiting_requests(&self) -> impl Iterator<Item = (TicketId, &PermitRequest)> {
        self.buckets
            .iter()
            .flat_map(|bucket| &bucket.waiting)
            .filter_map(|(_, id)| Some((*id, &self.requests.get(id)?.request)))
    }

    /// Permits that nobody used in time count as used at the last moment they could have been.
    fn expire(&mut self, now: Time) {
        let expired: Vec<(TicketId, Time)> = self
            .buckets
            .iter()
            .flat_map(|bucket| &bucket.held)
            .filter_map(|held| Some((held.id, held.sent_at? + PERMIT_VALID)))
            .filter(|(_, dead_at)| *dead_at <= now)
            .collect();
        for (id, dead_at) in expired {
            self.end_request(id, dead_at.max(now));
        }
    }

    fn bucket(&mut self, shard: ShardNumber) -> &mut Bucket {
        let key = shard.0 as usize % self.buckets.len();
        &mut self.buckets[key]
    }

    fn held_permit(&mut self, id: TicketId) -> Option<&mut HeldPermit> {
        let shard = self.requests.get(&id)?.request.shard;
        self.bucket(shard).held.iter_mut().find(|held| held.id == id)
    }
}
