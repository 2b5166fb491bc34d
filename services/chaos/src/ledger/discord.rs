//! Discord's side: its sessions.

use std::collections::BTreeSet;

use discord_sim::{LedgerReport, SessionReport};

/// One session of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// As in READY.
    pub id: String,
    /// Its shard's number.
    pub shard: u32,
    /// When it identified, in microseconds since the Unix epoch.
    pub opened_us: u64,
    /// When it ended for good.
    pub ended_us: Option<u64>,
    /// The last sequence that was given to an event.
    pub last: u64,
    /// Sequences of RESUMED, which is no event that can be lost.
    pub silent: BTreeSet<u64>,
}

/// The sessions of a simulator's ledger.
pub fn sessions(report: &LedgerReport) -> Vec<Session> {
    let unix_us = |ms: u64| (report.started_unix_ms + ms) * 1_000;
    let session = |session: &SessionReport| Session {
        id: session.session_id.clone(),
        shard: session.shard.number,
        opened_us: unix_us(session.opened_at_ms),
        ended_us: session.ended_at_ms.map(unix_us),
        last: session.sequence,
        silent: session.resumed_at.iter().copied().collect(),
    };
    report.sessions.iter().map(session).collect()
}
