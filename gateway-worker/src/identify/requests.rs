//! Waiting requests, and permits that shards hold. Pure except for the channels that grants go to.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Epoch, ShardKey, Term};
use tokio::sync::mpsc;

use super::{PermitGrant, PermitRequest};
use crate::clock::BootTime;

/// How long a request waits for a grant before it is sent again.
const OVERDUE: Duration = Duration::from_secs(10);

/// The requests, by ticket.
#[derive(Debug, Default)]
pub(super) struct PermitRequests {
    next_ticket: u64,
    waiting: BTreeMap<u64, WaitingRequest>,
    /// Grants that shards hold, not reported as used or given back yet.
    handed: BTreeMap<u64, mpsc::Sender<PermitGrant>>,
    /// The highest term that a permit came from.
    term: Term,
}

#[derive(Debug)]
struct WaitingRequest {
    request: PermitRequest,
    /// When it was sent; `None` while there is no stream.
    asked_at: Option<BootTime>,
}

/// A request as it is sent to the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PermitAsk {
    pub(super) ticket: u64,
    pub(super) shard: ShardKey,
    pub(super) epoch: Epoch,
}

impl PermitRequests {
    /// Adds a request. [`PermitRequests::unasked`] returns it for sending.
    pub(super) fn add(&mut self, request: PermitRequest) {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, WaitingRequest { request, asked_at: None });
    }

    /// Returns the requests that were not sent yet. They count as sent now.
    pub(super) fn unasked(&mut self, now: BootTime) -> Vec<PermitAsk> {
        let unasked = self.waiting.iter_mut().filter(|(_, waiting)| waiting.asked_at.is_none());
        unasked
            .map(|(&ticket, waiting)| {
                waiting.asked_at = Some(now);
                PermitAsk { ticket, shard: waiting.request.shard.key(), epoch: waiting.request.shard.epoch() }
            })
            .collect()
    }

    /// Puts all requests back for sending after a stream has ended, under new tickets, as answers to the old ones may still come.
    pub(super) fn ask_again(&mut self) {
        self.handed.clear();
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting.into_values() {
            self.add(waiting.request);
        }
    }

    /// Puts a refused request back for sending.
    pub(super) fn ask_one_again(&mut self, ticket: u64) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            self.add(waiting.request);
        }
    }

    /// Sends overdue requests again: the coordinator may have lost them.
    pub(super) fn ask_overdue_again(&mut self, now: BootTime) {
        let is_overdue =
            |waiting: &WaitingRequest| waiting.asked_at.is_some_and(|at| at.after(OVERDUE) <= now);
        let overdue: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| is_overdue(waiting))
            .map(|(&ticket, _)| ticket)
            .collect();
        for ticket in overdue {
            self.ask_one_again(ticket);
        }
    }

    /// Returns the request of a ticket.
    pub(super) fn request(&self, ticket: u64) -> Option<&PermitRequest> {
        self.waiting.get(&ticket).map(|waiting| &waiting.request)
    }

    /// Passes a grant on to its shard. It is valid for `valid_after_ask` from when the request was sent.
    ///
    /// # Errors
    /// The reason why the permit must be given back.
    pub(super) fn permitted(
        &mut self,
        ticket: u64,
        valid_after_ask: Duration,
        term: Term,
    ) -> Result<(), &'static str> {
        if term < self.term {
            return Err("it comes from an older term");
        }
        self.term = term;
        let Some(WaitingRequest { request, asked_at }) = self.waiting.remove(&ticket) else {
            return Err("no connection waits for it any more");
        };
        let Some(asked_at) = asked_at else {
            self.add(request);
            return Err("it was not requested on this stream");
        };
        let permits = request.permits.clone();
        let granted = PermitGrant { ticket, valid_until: asked_at.after(valid_after_ask), request };
        // No room, or closed: the connection that requested it is gone.
        permits.try_send(granted).map_err(|_| "no connection waits for it any more")?;
        self.handed.insert(ticket, permits);
        Ok(())
    }

    /// Notes that a shard used a permit or gave it back. Returns false for a permit of an older stream, which needs no report.
    pub(super) fn answered(&mut self, ticket: u64, unused: Option<PermitRequest>) -> bool {
        if let Some(request) = unused {
            self.add(request);
        }
        self.handed.remove(&ticket).is_some()
    }

    /// Removes the requests of connections that are gone. Returns their tickets, to be cancelled.
    pub(super) fn abandoned(&mut self) -> Vec<u64> {
        let requests = self.waiting.iter().filter(|(_, waiting)| waiting.request.connection.is_closed());
        let permits = self.handed.iter().filter(|(_, permits)| permits.is_closed());
        let gone: Vec<u64> =
            requests.map(|(&ticket, _)| ticket).chain(permits.map(|(&ticket, _)| ticket)).collect();
        for ticket in &gone {
            self.waiting.remove(ticket);
            self.handed.remove(ticket);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Notify, oneshot};
    use twilight_model::gateway::Intents;

    use super::*;
    use crate::{
        cache::{CacheSettings, ShardCache},
        shard_state::ShardState,
    };

    const VALID: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> BootTime {
        BootTime::from_millis(ms)
    }

    /// The connection's side of a request.
    struct ConnectionSide {
        permits: mpsc::Receiver<PermitGrant>,
        gone: oneshot::Receiver<()>,
    }

    fn request() -> (PermitRequest, ConnectionSide) {
        let cache = ShardCache::new(CacheSettings {
            resources: "none".parse().unwrap(),
            messages_per_channel: 0,
            message_lifetime: None,
            intents: Intents::empty(),
        });
        let shard = ShardState::new(ShardKey::new(3, 4), Epoch(7), cache, Arc::new(Notify::new()));
        let (permits, receiver) = mpsc::channel(1);
        let (connection, gone) = oneshot::channel();
        (
            PermitRequest { shard: Arc::new(shard), permits, connection },
            ConnectionSide { permits: receiver, gone },
        )
    }

    #[test]
    fn permit_goes_to_its_shard_and_is_answered_once() {
        let mut requests = PermitRequests::default();
        let (request, mut connection) = request();
        requests.add(request);
        let asks = requests.unasked(at(1_000));
        assert_eq!(asks, [PermitAsk { ticket: 1, shard: ShardKey::new(3, 4), epoch: Epoch(7) }]);
        assert!(requests.unasked(at(1_001)).is_empty(), "asked once");
        assert_eq!(requests.permitted(1, VALID, Term(1)), Ok(()));
        let granted = connection.permits.try_recv().unwrap();
        assert!(granted.is_good(at(3_000)));
        assert_eq!(granted.use_permit(), 1);
        assert_eq!(connection.gone.try_recv(), Ok(()));
        assert!(requests.answered(1, None));
        assert!(!requests.answered(1, None));
        assert!(requests.permitted(1, VALID, Term(1)).is_err());
    }

    #[test]
    fn permit_that_waited_in_a_buffer_expires_and_its_request_does_not() {
        let mut requests = PermitRequests::default();
        let (request, mut connection) = request();
        requests.add(request);
        requests.unasked(at(1_000));
        requests.permitted(1, VALID, Term(1)).unwrap();
        let granted = connection.permits.try_recv().unwrap();
        assert!(!granted.is_good(at(3_001)), "2 s after it was asked for");
        assert!(requests.answered(granted.ticket, Some(granted.request)));
        assert!(connection.gone.try_recv().is_err());
        assert_eq!(requests.unasked(at(3_001)).len(), 1);
    }

    #[test]
    fn overdue_request_is_sent_again_under_another_ticket() {
        let mut requests = PermitRequests::default();
        let (request, _connection) = request();
        requests.add(request);
        assert_eq!(requests.unasked(at(1_000)).len(), 1);
        let mut asked = Vec::new();
        for now in (1_000..25_000).step_by(500) {
            requests.ask_overdue_again(at(now));
            asked.extend(requests.unasked(at(now)).into_iter().map(|ask| (now, ask.ticket)));
        }
        assert_eq!(asked, [(11_000, 2), (21_000, 3)]);
    }

    #[test]
    fn permit_of_an_older_term_is_refused() {
        let mut requests = PermitRequests::default();
        let (request, _connection) = request();
        requests.add(request);
        requests.unasked(at(0));
        assert!(requests.permitted(9, VALID, Term(5)).is_err());
        assert!(requests.permitted(1, VALID, Term(4)).is_err());
    }

    #[test]
    fn answer_for_an_older_stream_is_ignored() {
        let mut requests = PermitRequests::default();
        let (request, mut connection) = request();
        requests.add(request);
        requests.unasked(at(0));
        requests.permitted(1, VALID, Term(1)).unwrap();
        requests.ask_again();
        let granted = connection.permits.try_recv().unwrap();
        assert!(!requests.answered(granted.use_permit(), None));
    }

    #[test]
    fn abandoned_request_is_cancelled() {
        let mut requests = PermitRequests::default();
        let (first, connection) = request();
        requests.add(first);
        requests.unasked(at(0));
        drop(connection);
        assert_eq!(requests.abandoned(), [1]);
        assert_eq!(requests.abandoned(), [] as [u64; 0]);
        let (second, connection) = request();
        requests.add(second);
        requests.unasked(at(0));
        requests.permitted(2, VALID, Term(1)).unwrap();
        assert_eq!(requests.abandoned(), [] as [u64; 0]);
        drop(connection);
        assert_eq!(requests.abandoned(), [2], "its shard was closed with the permit in hand");
    }
}
