//! Problems for operators.

use fleet_model::{Problem, SlotRanges, Weight};

use super::history::spans;
use crate::v1;

impl From<Weight> for v1::ProblemWeight {
    fn from(weight: Weight) -> Self {
        match weight {
            Weight::Problem => Self::Problem,
            Weight::Progress => Self::Progress,
            Weight::Advice => Self::Advice,
        }
    }
}

impl From<&Problem> for v1::Problem {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.as_str().to_owned(),
            message: problem.to_string(),
            weight: v1::ProblemWeight::from(problem.code.weight()).into(),
            since_unix_ms: problem.since_unix_ms,
            shards: spans(&problem.shards.iter().copied().collect::<SlotRanges>()),
        }
    }
}
