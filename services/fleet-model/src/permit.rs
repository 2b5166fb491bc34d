//! Messages between a worker and the identify queue. A ticket is the worker's number for one request, unique on its stream.

use std::time::Duration;

use crate::{Epoch, ShardSlot, Term};

/// A message of a worker to the identify queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentifyMessage {
    /// A shard requests a permit.
    Request {
        /// The ticket.
        ticket: u64,
        /// The shard.
        shard: ShardSlot,
        /// The epoch that it runs under.
        epoch: Epoch,
        /// W3C traceparent of the shard's start; empty when it is not traced.
        traceparent: String,
    },
    /// The permit was used: the bucket's 5 seconds count from here.
    Used {
        /// The ticket.
        ticket: u64,
    },
    /// The permit or the request is given back unused.
    Cancel {
        /// The ticket.
        ticket: u64,
    },
}

/// An answer of the identify queue to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentifyAnswer {
    /// The right to send one IDENTIFY.
    Granted {
        /// The ticket.
        ticket: u64,
        /// How long it is valid, counted from the moment when its request was sent.
        valid_after_request: Duration,
        /// Term of the coordinator that granted it.
        term: Term,
    },
    /// The request is still queued.
    Waiting {
        /// The ticket.
        ticket: u64,
        /// Why the permit is delayed beyond its turn, in words for people.
        reason: String,
    },
    /// No permit will come for this ticket.
    Refused {
        /// The ticket.
        ticket: u64,
        /// Why, for people.
        reason: String,
    },
}
