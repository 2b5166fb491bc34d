//! Streams of a fleet whose own state ends with its process, as `altergolden dev`: each run begins with empty streams.
//!
//! Such a fleet knows nothing of what it relayed before, so bots must not get an earlier run's events. Streams of a fleet that keeps its state
//! are never emptied: a mark in the common record tells the two apart, and the keeper of a fleet that keeps its state removes it.

use super::{RedisRelay, number, scripts, text};
use crate::{RelayError, commands};

/// Whether a run may use the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunClaim {
    /// They are empty now.
    Empty {
        /// Entries of an earlier run that were removed.
        removed: u64,
    },
    /// They belong to a fleet that keeps its state, and were left as they are.
    Kept,
}

impl RedisRelay {
    /// Claims the streams for one run and empties them. Consumer groups stay, so a bot that is reading goes on with the new events.
    ///
    /// # Errors
    /// Redis does not answer as it should; the streams may be emptied in part, and a second call does the rest.
    pub async fn claim_for_one_run(&mut self) -> Result<RunClaim, RelayError> {
        let claimed = self.script(&scripts::CLAIM, &[&self.common()], &["1"]).await?;
        if text(claimed.first()) == "KEPT" {
            return Ok(RunClaim::Kept);
        }
        self.one_run = true;
        let mut removed = self.empty(commands::STREAM, "").await?;
        for name in self.names().await? {
            removed += self.empty(&name, &name).await?;
        }
        Ok(RunClaim::Empty { removed })
    }

    /// Ends the claim of an earlier run, unless these streams are claimed by this one.
    pub(crate) async fn end_claims(&self) -> Result<(), RelayError> {
        if self.one_run {
            return Ok(());
        }
        self.script(&scripts::CLAIM, &[&self.common()], &["0"]).await.map(drop)
    }

    async fn empty(&self, stream: &str, name: &str) -> Result<u64, RelayError> {
        let (streams, stream) = (self.streams(), self.stream(stream));
        number(self.script(&scripts::EMPTY, &[&streams, &stream], &[name]).await?.first())
    }
}
