//! The workers' identify streams.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use fleet_model::{Epoch, IdentifyAnswer, Incarnation, ShardSlot, WorkerId};
use fleet_store::BudgetRecord;
use process::telemetry::trace_context;
use tokio::sync::mpsc;
use tracing::Span;

use super::{Driver, DriverOutcome, budget_from, publishing::short_budget};
use crate::{
    discord::{DiscordError, GatewayInfo},
    handle::OpenedStream,
};
use fleet::{
    Now,
    identify::{Grant, IdentifyQueue, PERMIT_VALID, PermitRequest, TicketId},
};

/// Answers that may wait for a worker: one for each of its shards is plenty.
const ANSWERS: usize = 1024;

/// How long to wait before the next try of a grant that could not be written to the store.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the old budget holds after a failed request. The client keeps the waits that Discord asks for.
const ASK_BUDGET_AGAIN: Duration = Duration::from_secs(1);

/// How long no permit is granted while Discord is asked about a token. Discord answers sooner, and an outage is not a
/// refusal.
const DOUBT: Duration = Duration::from_secs(2);

/// How long the budget may be short before Discord is asked again for the first time: the answer may have been wrong.
const ASK_WHILE_SHORT: Duration = Duration::from_mins(1);

/// How often it is asked for after that while it stays short.
const ASK_WHILE_SHORT_AGAIN: Duration = Duration::from_mins(5);

/// The permits: their queue, the workers' streams, and the budget.
pub(super) struct Permits {
    pub(super) queue: IdentifyQueue,
    streams: HashMap<u64, IdentifyStream>,
    asking: BudgetRequests,
}

impl Permits {
    pub(super) fn new(queue: IdentifyQueue) -> Self {
        Self { queue, streams: HashMap::new(), asking: BudgetRequests::default() }
    }
}

/// The state of the requests for the budget.
#[derive(Default)]
pub(super) struct BudgetRequests {
    under_way: bool,
    /// When the budget is asked for next although it has not reset; `None` while it is not short.
    while_short: Option<Duration>,
    /// Workers whose token Discord refused; the next request covers them.
    doubts: BTreeSet<(WorkerId, Incarnation)>,
    /// Workers that the current request covers.
    asked_for: BTreeSet<(WorkerId, Incarnation)>,
}

impl BudgetRequests {
    /// Returns true when Discord must be asked again for a short budget before the budget resets: first after [`ASK_WHILE_SHORT`], then every
    /// [`ASK_WHILE_SHORT_AGAIN`].
    pub(super) fn take_due_while_short(&mut self, is_short: bool, now: Duration) -> bool {
        if !is_short {
            self.while_short = None;
            return false;
        }
        let due = *self.while_short.get_or_insert(now + ASK_WHILE_SHORT);
        if now >= due {
            self.while_short = Some(now + ASK_WHILE_SHORT_AGAIN);
        }
        now >= due
    }
}

/// One worker's stream.
struct IdentifyStream {
    worker: WorkerId,
    answers: mpsc::Sender<IdentifyAnswer>,
    /// The span of each ticket, open while the ticket waits.
    waits: HashMap<u64, Span>,
}

impl IdentifyStream {
    /// Opens the ticket's span in the trace of its shard's start.
    fn begin_wait(&mut self, ticket: u64, shard: ShardSlot, traceparent: &str) {
        // More tickets than answers that may wait is more than a worker can use.
        if traceparent.is_empty() || self.waits.len() >= ANSWERS {
            return;
        }
        let span = tracing::info_span!(
            parent: None,
            "identify_queue.wait",
            otel.kind = "server",
            shard_id = shard.0,
            worker.id = %self.worker,
        );
        trace_context::continue_from_traceparent(&span, traceparent);
        self.waits.insert(ticket, span);
    }
}

impl Driver<'_> {
    /// Opens a worker's identify stream. It replaces an older one; the worker repeats the requests of a stream that ended.
    pub(super) fn open_identify(
        &mut self,
        worker: WorkerId,
        incarnation: &Incarnation,
    ) -> Option<OpenedStream<IdentifyAnswer>> {
        if !self.fleet.knows(&worker, incarnation) {
            return None;
        }
        let older = self.permits.streams.iter().find(|(_, open)| open.worker == worker);
        if let Some((&older, _)) = older {
            self.identify_ended(older, self.shell.now().mono);
        }
        let (answers, messages) = mpsc::channel(ANSWERS);
        let stream = self.shell.new_stream();
        self.permits.streams.insert(stream, IdentifyStream { worker, answers, waits: HashMap::new() });
        Some(OpenedStream { stream, term: self.term.number, messages })
    }

    pub(super) fn request_permit(
        &mut self,
        stream: u64,
        ticket: u64,
        shard: ShardSlot,
        epoch: Epoch,
        traceparent: &str,
        now: Duration,
    ) {
        let Some(open) = self.permits.streams.get_mut(&stream) else { return };
        open.begin_wait(ticket, shard, traceparent);
        let worker = open.worker.clone();
        let request =
            self.fleet.shard(shard).map(|shard| PermitRequest { worker: worker.clone(), shard, epoch });
        let Some(request) = request.filter(|request| self.may_identify(request)) else {
            let reason = format!("shard {shard} at epoch {epoch} is not assigned to {worker}");
            self.answer(stream, IdentifyAnswer::Refused { ticket, reason });
            return;
        };
        if let Some(replaced) = self.permits.queue.request(TicketId { stream, ticket }, request, now) {
            self.end_wait(replaced);
        }
        let budget = *self.permits.queue.budget();
        let late = match self.permits.queue.halted() {
            Some(why) => Some(why.to_owned()),
            None if budget.is_short() => Some(short_budget(&budget, now)),
            None => None,
        };
        if let Some(reason) = late {
            tracing::warn!(shard.id = %shard, %reason, "shard waits for a permit");
            self.shell.metrics.count_identify_held_back();
            self.answer(stream, IdentifyAnswer::Waiting { ticket, reason });
        }
        self.grant_permits(now);
    }

    pub(super) fn identify_used(&mut self, stream: u64, ticket: u64, now: Duration) {
        if self.permits.queue.mark_used(TicketId { stream, ticket }, now) {
            self.shell.metrics.count_identify_used();
        } else {
            tracing::warn!(stream, ticket, "worker used a permit that it does not hold");
        }
        self.publishing.dirty = true;
    }

    pub(super) fn identify_cancelled(&mut self, stream: u64, ticket: u64, now: Duration) {
        self.end_wait(TicketId { stream, ticket });
        self.permits.queue.end_request(TicketId { stream, ticket }, now);
        self.publishing.dirty = true;
    }

    pub(super) fn identify_ended(&mut self, stream: u64, now: Duration) {
        self.permits.queue.stream_ended(stream, now);
        self.permits.streams.remove(&stream);
        self.publishing.dirty = true;
    }

    /// Returns how long until the next permit is due, if that follows from time alone.
    pub(super) fn next_permit_in(&self) -> Option<Duration> {
        let due = self.permits.queue.next_due().filter(|_| self.term.may_act)?;
        Some(due.saturating_sub(self.shell.now().mono))
    }

    /// Writes the grants that are due to the store; they are sent when that is done.
    pub(super) fn grant_permits(&mut self, now: Duration) {
        if !self.term.may_act {
            return;
        }
        let mut grants = self.permits.queue.take_due(now);
        grants.retain(|grant| {
            let may = self.may_identify(&grant.request);
            if !may {
                let reason = format!("shard {} has another owner by now", grant.request.shard);
                let refused = IdentifyAnswer::Refused { ticket: grant.id.ticket, reason };
                self.permits.queue.end_request(grant.id, now);
                self.answer(grant.id.stream, refused);
            }
            may
        });
        if grants.is_empty() {
            return;
        }
        let record = self.budget_record();
        let (store, term) = (self.shell.store.clone(), self.term.number);
        self.start(async move {
            let written = store.save_budget(term, record).await;
            fail::fail_point!("coordinator_permit_written");
            DriverOutcome::Granted(grants, written)
        });
    }

    /// Sends grants that were written to the store, and takes the others back.
    pub(super) fn send_permits(&mut self, grants: Vec<Grant>, written: bool) {
        let now = self.shell.now().mono;
        for grant in grants {
            if !written || !self.term.may_act {
                self.permits.queue.withdraw(grant.id, now + AGAIN);
                continue;
            }
            if !self.may_identify(&grant.request) {
                self.permits.queue.end_request(grant.id, now);
                self.end_wait(grant.id);
                continue;
            }
            if self.permits.queue.mark_sent(grant.id, now) {
                self.shell.metrics.count_identify_granted();
                tracing::debug!(shard.id = %grant.request.shard, worker.id = %grant.request.worker, "identify permit granted");
                let waited = now.saturating_sub(grant.requested_at);
                let granted = IdentifyAnswer::Granted {
                    ticket: grant.id.ticket,
                    valid_after_request: waited + PERMIT_VALID,
                    term: self.term.number,
                };
                self.answer(grant.id.stream, granted);
            }
        }
        self.publishing.dirty = true;
    }

    /// Asks Discord for the budget when it has reset or was short for a while, or when a worker's token is in doubt.
    pub(super) fn refresh_budget(&mut self, now: Duration) {
        if self.permits.asking.under_way {
            return;
        }
        let budget = self.permits.queue.budget();
        let is_due =
            self.permits.asking.take_due_while_short(budget.is_short(), now) || now >= budget.resets_at;
        let due = is_due || !self.permits.asking.doubts.is_empty();
        if !due {
            return;
        }
        self.permits.asking.under_way = true;
        self.permits.queue.note_budget_request();
        self.permits.asking.asked_for = std::mem::take(&mut self.permits.asking.doubts);
        let (discord, outcomes) = (self.shell.discord.clone(), self.calls.outcomes.clone());
        self.calls.tasks.spawn(async move {
            // It may wait for hours; the end of the term cancels it.
            tokio::select! {
                () = outcomes.closed() => {}
                info = discord.gateway_info() => drop(outcomes.send(DriverOutcome::Budget(info)).await),
            }
        });
    }

    /// Applies Discord's answer: budget, concurrency and shard total take effect at once.
    pub(super) fn discord_answered(&mut self, info: Result<GatewayInfo, DiscordError>, now: Now) {
        self.permits.asking.under_way = false;
        self.publishing.dirty = true;
        let asked_for = std::mem::take(&mut self.permits.asking.asked_for);
        match info {
            Ok(info) => {
                if self.permits.queue.halted().is_some() {
                    tracing::info!("Discord accepts the token again; identifies resumed");
                    self.permits.queue.lift_halt();
                }
                self.permits.queue.set_budget(budget_from(&info, None, self.shell.reserve, now));
                let max_concurrency = info.advice.max_concurrency;
                if max_concurrency != self.permits.queue.max_concurrency() {
                    tracing::info!(
                        max_concurrency,
                        before = self.permits.queue.max_concurrency(),
                        "max_concurrency changed"
                    );
                    self.permits.queue.set_max_concurrency(max_concurrency);
                }
                self.fleet.follow_advice(self.shell.wanted_total(info.advice), max_concurrency as usize);
                for (worker, incarnation) in asked_for {
                    self.exclude(&worker, &incarnation, now);
                }
            }
            Err(DiscordError::TokenRefused) => {
                tracing::error!("Discord refused the token (401); identifies halted");
                let why = "Discord refused the token (401): check DISCORD_TOKEN";
                self.permits.queue.halt(why);
                let waiting: Vec<TicketId> =
                    self.permits.queue.waiting_requests().map(|(id, _)| id).collect();
                for TicketId { stream, ticket } in waiting {
                    self.answer(stream, IdentifyAnswer::Waiting { ticket, reason: why.to_owned() });
                }
                self.keep_budget(now.mono);
            }
            Err(DiscordError::Failed(_) | DiscordError::Setup(_)) => {
                self.permits.asking.doubts.extend(asked_for);
                self.keep_budget(now.mono);
            }
        }
    }

    /// Handles close code 4004 of a worker's shard. Only Discord can tell whether the bot's token is void or this
    /// worker has a stale one.
    pub(super) fn token_in_doubt(&mut self, worker: &WorkerId, incarnation: &Incarnation, shard: ShardSlot) {
        let doubt = (worker.clone(), incarnation.clone());
        let known = self.permits.asking.asked_for.contains(&doubt) || self.fleet.is_excluded(worker);
        if self.permits.queue.halted().is_none() && !known && self.permits.asking.doubts.insert(doubt) {
            tracing::warn!(
                shard.id = %shard, worker.id = %worker, "Discord refused a worker's token (4004); checking with GET /gateway/bot"
            );
            let now = self.shell.now().mono;
            self.permits.queue.hold_until(now + DOUBT);
            self.refresh_budget(now);
        }
    }

    /// Excludes a worker for a while: Discord accepts the coordinator's token, so the worker has another one.
    fn exclude(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Now) {
        if let Some(wait) = self.fleet.exclude(worker, incarnation, now) {
            tracing::error!(
                worker.id = %worker, retry_in_s = wait.as_secs(),
                "worker excluded: Discord refuses its token (4004) and accepts the coordinator's; restart it with that one"
            );
        }
    }

    /// Keeps the old budget a little longer, as Discord did not answer.
    fn keep_budget(&mut self, now: Duration) {
        let mut budget = *self.permits.queue.budget();
        budget.resets_at = budget.resets_at.max(now + ASK_BUDGET_AGAIN);
        self.permits.queue.set_budget(budget);
    }

    fn budget_record(&self) -> BudgetRecord {
        let now = self.shell.now();
        let budget = self.permits.queue.budget();
        let resets_in = budget.resets_at.saturating_sub(now.mono).as_millis() as u64;
        BudgetRecord {
            total: budget.total,
            remaining: budget.remaining,
            resets_at_unix_ms: now.unix_ms + resets_in,
        }
    }

    fn may_identify(&self, request: &PermitRequest) -> bool {
        self.fleet.owner(request.shard) == Some((&request.worker, request.epoch))
    }

    /// Ends the span of a ticket that waits no longer.
    fn end_wait(&mut self, id: TicketId) {
        if let Some(open) = self.permits.streams.get_mut(&id.stream) {
            open.waits.remove(&id.ticket);
        }
    }

    fn answer(&mut self, stream: u64, answer: IdentifyAnswer) {
        if let IdentifyAnswer::Granted { ticket, .. } | IdentifyAnswer::Refused { ticket, .. } = answer {
            self.end_wait(TicketId { stream, ticket });
        }
        let Some(open) = self.permits.streams.get(&stream) else { return };
        if open.answers.try_send(answer).is_err() {
            self.shell.metrics.count_stream_overflow();
            tracing::warn!(worker.id = %open.worker, "worker does not read its permits; closing stream");
            let now = self.shell.now().mono;
            self.identify_ended(stream, now);
        }
    }
}
