//! How shards came to be connected.

use std::time::Duration;

use fleet_model::{Gap, StartKind, StartOutcome};

use super::{bounds::for_people, millis};
use crate::v1;

impl From<StartKind> for v1::StartKind {
    fn from(kind: StartKind) -> Self {
        match kind {
            StartKind::Identified => Self::Identified,
            StartKind::Resumed => Self::Resumed,
            StartKind::Reidentified => Self::Reidentified,
        }
    }
}

impl From<StartOutcome> for v1::StartOutcome {
    fn from(outcome: StartOutcome) -> Self {
        Self {
            kind: v1::StartKind::from(outcome.kind).into(),
            took_ms: millis(outcome.took),
            replayed: outcome.replayed,
            at_unix_ms: outcome.at_unix_ms,
            gap: outcome.gap.map(Into::into),
        }
    }
}

impl From<Gap> for v1::Gap {
    fn from(gap: Gap) -> Self {
        let Gap { since_unix_ms, until_unix_ms, last_sequence, reason } = gap;
        Self { since_unix_ms, until_unix_ms, last_sequence, reason: for_people(&reason) }
    }
}

impl From<v1::Gap> for Gap {
    fn from(gap: v1::Gap) -> Self {
        let v1::Gap { since_unix_ms, until_unix_ms, last_sequence, reason } = gap;
        Self { since_unix_ms, until_unix_ms, last_sequence, reason: for_people(&reason) }
    }
}

/// The outcome that a message tells of; `None` for a kind that this version does not know: it is for people to read, no
/// reason to refuse a report.
pub(super) fn outcome_from_wire(outcome: v1::StartOutcome) -> Option<StartOutcome> {
    let kind = match v1::StartKind::try_from(outcome.kind) {
        Ok(v1::StartKind::Identified) => StartKind::Identified,
        Ok(v1::StartKind::Resumed) => StartKind::Resumed,
        Ok(v1::StartKind::Reidentified) => StartKind::Reidentified,
        Ok(v1::StartKind::Unspecified) | Err(_) => return None,
    };
    Some(StartOutcome {
        kind,
        took: Duration::from_millis(outcome.took_ms),
        replayed: outcome.replayed,
        at_unix_ms: outcome.at_unix_ms,
        gap: outcome.gap.map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_the_wire() {
        let gap = Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "why".to_owned() };
        for (kind, gap) in StartKind::ALL.into_iter().zip([None, Some(gap), None]) {
            let outcome =
                StartOutcome { kind, took: Duration::from_millis(5), replayed: 7, at_unix_ms: 9, gap };
            assert_eq!(outcome_from_wire(outcome.clone().into()), Some(outcome));
        }
        assert_eq!(outcome_from_wire(v1::StartOutcome { kind: 99, ..Default::default() }), None);
    }
}
