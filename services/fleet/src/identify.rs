//! Which shard may IDENTIFY, and when: a pure state machine.
//!
//! Discord accepts one IDENTIFY per 5 s from each bucket `shard % max_concurrency`, and a limited number a day
//! ([Max Concurrency](https://discord.com/developers/docs/events/gateway#sharding-max-concurrency)). A bot that exceeds the
//! first limit loses the session; one that exceeds the daily limit has its token reset. So every IDENTIFY of the fleet needs
//! a permit from this queue (invariant I2).
//!
//! The way of a permit: a worker requests it ([`IdentifyQueue::request`]), [`IdentifyQueue::take_due`] returns a [`Grant`], the
//! owner of the queue writes the grant to the store as spent and only then sends it ([`IdentifyQueue::mark_sent`]), and the
//! worker reports `used` when its connection has sent IDENTIFY. The bucket opens again 5 s and the [`slack`] after that report. Without a
//! report the permit counts as used at the last possible moment: when it expired, or when its holder's stream ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fleet_model::{Epoch, ShardKey, WorkerId};

mod budget;
mod slack;
#[cfg(test)]
mod tests;

pub use budget::IdentifyBudget;
use slack::Slack;

/// Time on the coordinator's monotonic clock.
pub type Time = Duration;

/// How long an unused permit is valid after it was sent. Its holder knows that moment from its own request and the time that
/// the request waited here, so it recognizes a permit that arrived after its end.
pub const PERMIT_VALID: Duration = Duration::from_secs(2);

/// What a new coordinator adds to Discord's interval for permits of which it knows nothing. For its own see [`slack`].
const UNKNOWN_SLACK: Duration = Duration::from_millis(500);

/// A shard that asks again so soon after it used a permit may have been refused by Discord.
const ASKS_AGAIN: Duration = Duration::from_secs(10);

/// Returns how long a new coordinator waits for unknown permits of an earlier one: the last may be used just before it expires.
pub fn unknown_permits_end(interval: Duration) -> Duration {
    PERMIT_VALID + interval + UNKNOWN_SLACK
}

/// The number of a request, unique over all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    /// The stream that it came on.
    pub stream: u64,
    /// The worker's own number for it.
    pub ticket: u64,
}

impl TicketId {
    const FIRST: Self = Self { stream: 0, ticket: 0 };
    const LAST: Self = Self { stream: u64::MAX, ticket: u64::MAX };
}

/// A request for a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRequest {
    /// The worker.
    pub worker: WorkerId,
    /// The shard that wants to IDENTIFY.
    pub shard: ShardKey,
    /// The epoch it runs under.
    pub epoch: Epoch,
}

/// A granted permit: to be written to the store as spent, then sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The number of its request.
    pub id: TicketId,
    /// The request.
    pub request: PermitRequest,
    /// When it was requested.
    pub requested_at: Time,
}

/// The queue of permit requests.
#[derive(Clone, Debug)]
pub struct IdentifyQueue {
    interval: Duration,
    slack: Slack,
    buckets: Vec<Bucket>,
    /// The last IDENTIFY of each shard, with its epoch, for [`ASKS_AGAIN`].
    used: BTreeMap<ShardKey, (Epoch, Time)>,
    requests: BTreeMap<TicketId, QueuedRequest>,
    /// The same requests by shard.
    by_shard: BTreeSet<(ShardKey, TicketId)>,
    budget: IdentifyBudget,
    /// Permits that Discord's pending answer may not have counted; `None` when no request is pending.
    uncounted: Option<u32>,
    halted: Option<String>,
}

/// A request and its arrival.
#[derive(Clone, Debug)]
struct QueuedRequest {
    request: PermitRequest,
    requested_at: Time,
}

/// The shards that share one `shard % max_concurrency`.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// No grant before this moment.
    free_at: Time,
    /// The permits in use: at most one, except when buckets were merged. All must end before the next grant.
    held: Vec<HeldPermit>,
    /// Waiting requests, in the order of their shards.
    waiting: BTreeSet<(ShardKey, TicketId)>,
}

/// A permit that is being written or sent, or that a worker holds.
#[derive(Clone, Copy, Debug)]
struct HeldPermit {
    id: TicketId,
    /// When it was sent; `None` while it is being written to the store.
    sent_at: Option<Time>,
}

impl IdentifyQueue {
    /// A queue whose buckets all open at `open_at`: a coordinator that may have had a predecessor waits for its unknown
    /// permits. `interval` is Discord's 5 s.
    pub fn new(max_concurrency: u32, interval: Duration, budget: IdentifyBudget, open_at: Time) -> Self {
        let bucket = Bucket { free_at: open_at, ..Bucket::default() };
        Self {
            interval,
            slack: Slack::default(),
            used: BTreeMap::new(),
            buckets: vec![bucket; max_concurrency.max(1) as usize],
            requests: BTreeMap::new(),
            by_shard: BTreeSet::new(),
            budget,
            uncounted: None,
            halted: None,
        }
    }

    /// Opens no bucket before this moment: an earlier coordinator may have sent permits.
    pub fn hold_until(&mut self, moment: Time) {
        for bucket in &mut self.buckets {
            bucket.free_at = bucket.free_at.max(moment);
        }
    }

    /// Notes the longest round trip of a worker to Discord.
    pub fn note_latency(&mut self, latency: Duration) {
        self.slack.note_latency(latency);
    }

    /// Returns how many shards may IDENTIFY at once.
    pub fn max_concurrency(&self) -> u32 {
        self.buckets.len() as u32
    }

    /// Returns the day's budget.
    pub fn budget(&self) -> &IdentifyBudget {
        &self.budget
    }

    /// Notes that Discord is asked for the budget. Its answer may not count the permits that are held now or granted before it
    /// arrives.
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

    /// Returns how many requests wait for a permit.
    pub fn waiting(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.waiting.len()).sum()
    }

    /// Returns why nothing is granted, if the queue is halted.
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

    /// Queues a request. A second request with the same ticket, or for the same shard of the same worker, replaces the first.
    /// Returns the ticket of the replaced one.
    pub fn request(&mut self, id: TicketId, request: PermitRequest, now: Time) -> Option<TicketId> {
        let is_same_worker = |id: &TicketId| {
            self.requests.get(id).is_some_and(|queued| queued.request.worker == request.worker)
        };
        let of_shard =
            self.by_shard.range((request.shard, TicketId::FIRST)..=(request.shard, TicketId::LAST));
        let twin = of_shard.map(|(_, id)| *id).find(is_same_worker);
        if let Some(twin) = twin {
            self.end_request(twin, now);
        }
        let used = self.used.remove(&request.shard);
        if used.is_some_and(|(epoch, at)| epoch == request.epoch && now.saturating_sub(at) < ASKS_AGAIN) {
            self.slack.note_refused();
        }
        self.end_request(id, now);
        self.bucket(request.shard).waiting.insert((request.shard, id));
        self.by_shard.insert((request.shard, id));
        self.requests.insert(id, QueuedRequest { request, requested_at: now });
        twin.filter(|twin| *twin != id)
    }

    /// Returns when the next grant is due; `None` while nothing waits for time alone.
    pub fn next_due(&self) -> Option<Time> {
        let is_open = self.halted.is_none() && !self.budget.is_short();
        let waiting =
            self.buckets.iter().filter(|bucket| bucket.held.is_empty() && !bucket.waiting.is_empty());
        waiting.map(|bucket| bucket.free_at).min().filter(|_| is_open)
    }

    /// Returns the grants that are due. Each is held until it is [sent](Self::mark_sent) or [withdrawn](Self::withdraw); the budget
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

    /// Notes that a grant was written to the store and is sent now. False when its request has ended meanwhile: then it must not
    /// be sent.
    pub fn mark_sent(&mut self, id: TicketId, now: Time) -> bool {
        match self.held_permit(id) {
            Some(held) => {
                held.sent_at = Some(now);
                true
            }
            None => false,
        }
    }

    /// Takes back a grant that could not be written to the store: its request waits again, until `again_at` at least.
    pub fn withdraw(&mut self, id: TicketId, again_at: Time) {
        let Some(shard) = self.requests.get(&id).map(|queued| queued.request.shard) else { return };
        let bucket = self.bucket(shard);
        if bucket.held.extract_if(.., |held| held.id == id && held.sent_at.is_none()).next().is_some() {
            bucket.free_at = bucket.free_at.max(again_at);
            bucket.waiting.insert((shard, id));
            self.give_back();
        }
    }

    /// Notes that a connection used its permit. False for a ticket that holds none.
    pub fn mark_used(&mut self, id: TicketId, now: Time) -> bool {
        if self.held_permit(id).is_none_or(|held| held.sent_at.is_none()) {
            return false;
        }
        if let Some(queued) = self.requests.get(&id) {
            let (shard, epoch) = (queued.request.shard, queued.request.epoch);
            self.used.retain(|_, (_, at)| now.saturating_sub(*at) < ASKS_AGAIN);
            self.used.insert(shard, (epoch, now));
            self.slack.note_used();
        }
        self.end_request(id, now);
        true
    }

    /// Ends a request. A permit that was sent counts as used now, as it may have been.
    pub fn end_request(&mut self, id: TicketId, now: Time) {
        self.end_request_at(id, now, |_| now);
    }

    /// Ends a request. `last_use` returns the latest moment of a permit's use from the moment at which it was sent.
    fn end_request_at(&mut self, id: TicketId, now: Time, last_use: impl FnOnce(Time) -> Time) {
        let Some(QueuedRequest { request, .. }) = self.requests.remove(&id) else { return };
        self.by_shard.remove(&(request.shard, id));
        let interval = self.interval + self.slack.now();
        let bucket = self.bucket(request.shard);
        bucket.waiting.remove(&(request.shard, id));
        let Some(held) = bucket.held.extract_if(.., |held| held.id == id).next() else { return };
        if let Some(sent_at) = held.sent_at {
            bucket.free_at = bucket.free_at.max(last_use(sent_at).max(now) + interval);
        } else {
            self.give_back();
        }
    }

    /// Ends all requests of a stream that ended. The worker may still run and use a permit until that expires.
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

    /// Ends permits that were not used in time. They count as used at the last possible moment.
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

    fn bucket(&mut self, shard: ShardKey) -> &mut Bucket {
        let bucket = shard.number() as usize % self.buckets.len();
        &mut self.buckets[bucket]
    }

    fn held_permit(&mut self, id: TicketId) -> Option<&mut HeldPermit> {
        let shard = self.requests.get(&id)?.request.shard;
        self.bucket(shard).held.iter_mut().find(|held| held.id == id)
    }
}
