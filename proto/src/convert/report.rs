//! Reports of workers and their shards.

use std::collections::BTreeMap;

use fleet_model::{
    Epoch, ProblemCode, RefusedDirective, RoutingUpdates, SentReport, ShardReport, ShardSlot, ShardStatus,
    WorkerFigures, WorkerReport,
};

use super::{
    Malformed,
    assignment::{epochs_of_shards, shard_epochs},
    bounds::{Bounded as _, for_people},
    outcome::outcome_from_wire,
};
use crate::v1;

/// The largest count of a worker's figures: sums over all workers of a fleet stay exact in JavaScript.
const MOST_COUNTED: u64 = 1 << 40;

impl From<ShardStatus> for v1::ShardStatus {
    fn from(status: ShardStatus) -> Self {
        match status {
            ShardStatus::Unassigned => Self::Unassigned,
            ShardStatus::Queued => Self::Queued,
            ShardStatus::Identifying => Self::Identifying,
            ShardStatus::Resuming => Self::Resuming,
            ShardStatus::Ready => Self::Ready,
            ShardStatus::Moving => Self::Moving,
            ShardStatus::Silent => Self::Silent,
            ShardStatus::Reconnecting => Self::Reconnecting,
            ShardStatus::Stopped => Self::Stopped,
            ShardStatus::Failed => Self::Failed,
        }
    }
}

/// The status that a number on the wire stands for.
///
/// # Errors
/// [`Malformed::Status`] for a number that this version does not know.
pub fn status_from_wire(number: i32) -> Result<ShardStatus, Malformed> {
    match v1::ShardStatus::try_from(number) {
        Ok(v1::ShardStatus::Unassigned) => Ok(ShardStatus::Unassigned),
        Ok(v1::ShardStatus::Queued) => Ok(ShardStatus::Queued),
        Ok(v1::ShardStatus::Identifying) => Ok(ShardStatus::Identifying),
        Ok(v1::ShardStatus::Resuming) => Ok(ShardStatus::Resuming),
        Ok(v1::ShardStatus::Ready) => Ok(ShardStatus::Ready),
        Ok(v1::ShardStatus::Moving) => Ok(ShardStatus::Moving),
        Ok(v1::ShardStatus::Silent) => Ok(ShardStatus::Silent),
        Ok(v1::ShardStatus::Reconnecting) => Ok(ShardStatus::Reconnecting),
        Ok(v1::ShardStatus::Stopped) => Ok(ShardStatus::Stopped),
        Ok(v1::ShardStatus::Failed) => Ok(ShardStatus::Failed),
        Ok(v1::ShardStatus::Unspecified) | Err(_) => Err(Malformed::Status(number)),
    }
}

impl From<ShardReport> for v1::ShardReport {
    fn from(report: ShardReport) -> Self {
        Self {
            shard_id: report.shard.0,
            epoch: report.epoch.0,
            status: v1::ShardStatus::from(report.status).into(),
            sequence: report.sequence,
            latency_ms: report.latency_ms,
            guilds: report.guilds,
            users: report.users,
            channels: report.channels,
            voice_connections: report.voice_connections,
            uptime_seconds: report.uptime_seconds,
            detail: for_people(&report.detail),
            close_code: report.close_code.map(u32::from),
            cause: report.cause.map(|code| code.as_str().to_owned()).unwrap_or_default(),
            outcome: report.outcome.map(Into::into),
            pending_guilds: report.pending_guilds,
            uncertain_guilds: report.uncertain_guilds,
        }
    }
}

impl TryFrom<v1::ShardReport> for ShardReport {
    type Error = Malformed;

    fn try_from(report: v1::ShardReport) -> Result<Self, Malformed> {
        Ok(Self {
            shard: ShardSlot(report.shard_id),
            epoch: Epoch(report.epoch),
            status: status_from_wire(report.status)?,
            sequence: report.sequence,
            latency_ms: report.latency_ms.filter(|ms| ms.is_finite() && *ms >= 0.0),
            guilds: report.guilds,
            users: report.users,
            channels: report.channels,
            voice_connections: report.voice_connections,
            uptime_seconds: report.uptime_seconds,
            detail: for_people(&report.detail),
            close_code: report.close_code.and_then(|code| code.try_into().ok()),
            // A newer worker's is shown by the status.
            cause: ProblemCode::named(&report.cause),
            outcome: report.outcome.and_then(outcome_from_wire),
            pending_guilds: report.pending_guilds,
            uncertain_guilds: report.uncertain_guilds,
        })
    }
}

impl From<SentReport> for v1::WorkerReport {
    fn from(sent: SentReport) -> Self {
        let SentReport { worker, incarnation, term, sequence, refused, report } = sent;
        let refused = refused
            .into_iter()
            .map(|RefusedDirective { kind, reason }| v1::DirectiveRefused { kind, reason });
        Self {
            worker_id: worker.to_string(),
            incarnation: incarnation.to_string(),
            sequence,
            assignment_revision: report.assignment_revision,
            term: term.0,
            shards: report.shards.into_iter().map(Into::into).collect(),
            rss_bytes: report.rss_bytes,
            draining: report.draining,
            released: shard_epochs(report.released),
            leaving: report.leaving,
            refused: refused.collect(),
            arrived: shard_epochs(report.arrived),
            store_away: report.store_away,
            figures: report.figures.map(Into::into),
            routing: v1::RoutingUpdates::from(report.routing).into(),
        }
    }
}

impl From<RoutingUpdates> for v1::RoutingUpdates {
    fn from(routing: RoutingUpdates) -> Self {
        match routing {
            RoutingUpdates::Whole => Self::Unspecified,
            RoutingUpdates::Changes => Self::Changes,
            RoutingUpdates::Missed => Self::Missed,
        }
    }
}

impl From<v1::RoutingUpdates> for RoutingUpdates {
    fn from(routing: v1::RoutingUpdates) -> Self {
        match routing {
            v1::RoutingUpdates::Unspecified => Self::Whole,
            v1::RoutingUpdates::Changes => Self::Changes,
            v1::RoutingUpdates::Missed => Self::Missed,
        }
    }
}

impl From<WorkerFigures> for v1::WorkerFigures {
    fn from(figures: WorkerFigures) -> Self {
        Self {
            gaps: figures.gaps,
            dropped: figures.dropped,
            replayed: figures.replayed,
            delay_p99_us: figures.delay_p99_us,
            rest_waiting: figures.rest_waiting,
            rest_invalid: figures.rest_invalid,
            rest_blocked: figures.rest_blocked,
            relays: figures.relays,
            relay_waiting: figures.relay_waiting,
            relay_failures: figures.relay_failures,
            refused_heads: figures.refused_heads,
        }
    }
}

impl From<v1::WorkerFigures> for WorkerFigures {
    fn from(figures: v1::WorkerFigures) -> Self {
        let bounded = |count: u64| count.min(MOST_COUNTED);
        Self {
            gaps: bounded(figures.gaps),
            dropped: bounded(figures.dropped),
            replayed: bounded(figures.replayed),
            delay_p99_us: figures.delay_p99_us.map(bounded),
            rest_waiting: bounded(figures.rest_waiting),
            rest_invalid: bounded(figures.rest_invalid),
            rest_blocked: figures.rest_blocked,
            relays: figures.relays,
            relay_waiting: bounded(figures.relay_waiting),
            relay_failures: bounded(figures.relay_failures),
            refused_heads: bounded(figures.refused_heads),
        }
    }
}

/// Returns what a worker reports, and the directives that it refused. The stream's first report names the worker.
///
/// # Errors
/// A report beyond its bounds, or an unknown status.
pub fn worker_report(message: v1::WorkerReport) -> Result<(WorkerReport, Vec<RefusedDirective>), Malformed> {
    message.check_bounds()?;
    let routing = message.routing().into();
    let refused = message.refused.into_iter().map(|refused| RefusedDirective {
        kind: for_people(&refused.kind),
        reason: for_people(&refused.reason),
    });
    let report = WorkerReport {
        assignment_revision: message.assignment_revision,
        shards: message.shards.into_iter().map(ShardReport::try_from).collect::<Result<_, _>>()?,
        released: epochs_of_shards(message.released),
        arrived: epochs_of_shards::<BTreeMap<_, _>>(message.arrived).into_iter().collect(),
        rss_bytes: message.rss_bytes,
        draining: message.draining,
        leaving: message.leaving,
        store_away: message.store_away,
        figures: message.figures.map(Into::into),
        routing,
    };
    Ok((report, refused.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_the_wire() {
        for status in ShardStatus::ALL {
            let number = v1::ShardStatus::from(status).into();
            assert_eq!(status_from_wire(number), Ok(status));
        }
        assert_eq!(status_from_wire(0), Err(Malformed::Status(0)));
        assert_eq!(status_from_wire(99), Err(Malformed::Status(99)));
    }

    #[test]
    fn figures_survive_the_wire_within_bounds() {
        let figures = WorkerFigures {
            gaps: 1,
            dropped: 2,
            replayed: 3,
            delay_p99_us: Some(4),
            rest_waiting: 5,
            rest_invalid: 6,
            rest_blocked: true,
            relays: true,
            relay_waiting: 7,
            relay_failures: 8,
            refused_heads: 9,
        };
        assert_eq!(WorkerFigures::from(v1::WorkerFigures::from(figures)), figures);
        let huge = v1::WorkerFigures { gaps: u64::MAX, delay_p99_us: Some(u64::MAX), ..Default::default() };
        let read = WorkerFigures::from(huge);
        assert_eq!((read.gaps, read.delay_p99_us), (MOST_COUNTED, Some(MOST_COUNTED)));
    }
}
