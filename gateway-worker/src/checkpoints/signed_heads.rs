//! The signatures of this worker's checkpoint heads: its keys, what the coordinator said last, and what was refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use checkpoint::{FormatError, Head, HeadKeys, HeadPlace, HeadRefused, ReadHeadError};
use fleet_model::{HeadSigning, Problem, ProblemCode, ShardKey, ShardSlot};

/// How long a refused head is shown.
const SHOWN_MS: u64 = 60 * 60 * 1000;

/// Set with each assignment, used by every shard. Clones share the values.
#[derive(Clone, Debug)]
pub(crate) struct SignedHeads {
    keys: HeadKeys,
    /// The fleet's name: a part of what is signed.
    fleet: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    signing: HeadSigning,
    refused: Option<Refused>,
}

/// Refused heads, until none was refused for an hour.
#[derive(Debug)]
struct Refused {
    count: u64,
    last: (ShardSlot, HeadRefused),
    since_unix_ms: u64,
    at_unix_ms: u64,
}

impl SignedHeads {
    pub(crate) fn new(keys: HeadKeys, fleet: &str) -> Self {
        Self { keys, fleet: fleet.into(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how the fleet signs. Signatures that were required once stay required: the coordinator learned it from a store that another
    /// program may have written to.
    pub(crate) fn assign(&self, signing: HeadSigning) {
        let mut state = self.state();
        let required = state.signing.required || signing.required;
        state.signing = HeadSigning { required, ..signing };
    }

    fn place(&self, slot: ShardSlot, serial: u64) -> HeadPlace<'_> {
        HeadPlace { fleet: &self.fleet, slot, serial }
    }

    /// The bytes of a head for the store. `serial`: before the step.
    pub(super) fn encode(
        &self,
        head: &Head,
        format: u16,
        shard: ShardKey,
        serial: u64,
    ) -> Result<Bytes, FormatError> {
        let signing = self.state().signing;
        self.keys.encode_head(head, format, self.place(shard.slot(), serial), signing)
    }

    /// Reads a head from the store. `serial`: of the claim.
    pub(super) fn decode(
        &self,
        bytes: &[u8],
        shard: ShardKey,
        serial: u64,
        now_unix_ms: u64,
    ) -> Result<Head, ReadHeadError> {
        let signing = self.state().signing;
        let read = self.keys.decode_head(bytes, self.place(shard.slot(), serial), signing);
        if let Err(ReadHeadError::Refused(why)) = read {
            let mut state = self.state();
            let before = state.refused.take().filter(|refused| refused.is_shown(now_unix_ms));
            state.refused = Some(Refused {
                count: before.as_ref().map_or(0, |before| before.count) + 1,
                last: (shard.slot(), why),
                since_unix_ms: before.map_or(now_unix_ms, |before| before.since_unix_ms),
                at_unix_ms: now_unix_ms,
            });
        }
        read
    }

    /// How many heads were refused, until an hour has passed without another one.
    pub(crate) fn refused_lately(&self, now_unix_ms: u64) -> u64 {
        let state = self.state();
        state
            .refused
            .as_ref()
            .filter(|refused| refused.is_shown(now_unix_ms))
            .map_or(0, |refused| refused.count)
    }

    /// The problem with refused heads.
    pub(crate) fn problem(&self, now_unix_ms: u64) -> Option<Problem> {
        let state = self.state();
        let refused = state.refused.as_ref().filter(|refused| refused.is_shown(now_unix_ms))?;
        let (slot, why) = refused.last;
        let message = format!(
            "{} checkpoints refused because of their signature in the last hour, last for shard {slot}: {why}. Give all workers the same \
             credentials, and keep other programs out of this Redis (docs/security-redis.md)",
            refused.count
        );
        Some(Problem::new(ProblemCode::CheckpointsRefused, message).since(refused.since_unix_ms))
    }
}

impl Refused {
    fn is_shown(&self, now_unix_ms: u64) -> bool {
        now_unix_ms.saturating_sub(self.at_unix_ms) < SHOWN_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirement_of_signatures_is_never_taken_back() {
        let heads = SignedHeads::new(HeadKeys::none(), "bot");
        heads.assign(HeadSigning { by: None, required: true });
        heads.assign(HeadSigning::default());
        assert!(heads.state().signing.required);
    }
}
