//! What a coordinator sends to a worker, and what a worker sends back with its reports.

use std::{sync::Arc, time::Duration};

use crate::{Assignment, Incarnation, Routes, RoutesUpdate, Term, WorkerId, WorkerReport};

/// One directive of a coordinator to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// The answer to a report: the lease counts from the moment that report was sent.
    LeaseRenewed {
        /// Sequence of the report.
        report_sequence: u64,
        /// How long the lease lasts.
        ttl: Duration,
    },
    /// The whole set of shards to run.
    Assignment(Box<Assignment>),
    /// The routing table, for workers that take no updates of it.
    RoutingTable(Arc<Routes>),
    /// How the routing table has changed, or all of it.
    RoutingUpdate(Arc<RoutesUpdate>),
    /// The lease is over: the worker closes everything and registers under a new incarnation.
    LeaseRefused {
        /// Why, for people.
        reason: String,
    },
    /// The worker hands off all shards and exits.
    Drain {
        /// Why, for people.
        reason: String,
    },
    /// A directive that this version does not know.
    Unknown {
        /// Its name.
        kind: String,
    },
}

/// A directive that a worker did not carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedDirective {
    /// The directive's name.
    pub kind: String,
    /// Why, for people.
    pub reason: String,
}

/// A report as a worker sends it.
#[derive(Clone, Debug)]
pub struct SentReport {
    /// The worker.
    pub worker: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The highest term that it knows.
    pub term: Term,
    /// Grows by one with each report.
    pub sequence: u64,
    /// Directives that it refused since the last report.
    pub refused: Vec<RefusedDirective>,
    /// What it reports.
    pub report: WorkerReport,
}
