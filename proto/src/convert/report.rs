//! Shard reports and their status.

use fleet_model::{Epoch, ProblemCode, ShardReport, ShardSlot, ShardStatus};

use super::{Malformed, bounds::for_people, outcome::outcome_from_wire};
use crate::v1;

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
}
