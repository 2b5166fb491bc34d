//! The signatures of this worker's checkpoint heads: its head keys, what the coordinator said last, and what was refused.
//!
//! The keys follow the credentials. The coordinator learns of new ones by a registration, and then names the key that signs. Each owner
//! writes its head every second, so no head is left that the old key has signed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use checkpoint::{FormatError, Head, HeadKeys, HeadPlace, HeadRefused, ReadHeadError};
use fleet_model::{HeadKeyId, HeadSigning, Problem, ProblemCode, ShardKey, ShardSlot};
use process::credentials::Credentials;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a refused head is shown.
const SHOWN_MS: u64 = 60 * 60 * 1000;

/// Set with each assignment, used by every shard. Clones share the values.
#[derive(Clone, Debug)]
pub(crate) struct SignedHeads {
    keys: watch::Sender<HeadKeys>,
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
        Self { keys: watch::Sender::new(keys), fleet: fleet.into(), state: Arc::default() }
    }

    /// The ids of the keys, newest first.
    pub(crate) fn key_ids(&self) -> Vec<HeadKeyId> {
        self.keys.borrow().ids()
    }

    /// Changes when the keys do.
    pub(crate) fn new_keys(&self) -> watch::Receiver<HeadKeys> {
        self.keys.subscribe()
    }

    /// Takes the keys of new credentials until `stop`. The credentials may have been replaced before this begins.
    pub(crate) async fn follow(self, credentials: Credentials, stop: CancellationToken) {
        let Some(mut replaced) = credentials.replaced() else { return };
        replaced.mark_changed();
        while let Some(Ok(())) = stop.run_until_cancelled(replaced.changed()).await {
            match HeadKeys::new(credentials.head_keys()) {
                Ok(keys) => self.replace_keys(keys),
                Err(error) => tracing::warn!(%error, "new head keys rejected; the old ones stay in use"),
            }
        }
    }

    /// Without keys this worker would check no signature any more, so credentials without keys leave the old ones in use.
    fn replace_keys(&self, keys: HeadKeys) {
        let (old, new) = (self.key_ids(), keys.ids());
        if new == old {
            return;
        }
        if new.is_empty() {
            tracing::warn!("new credentials have no head keys; the old ones stay in use until a restart");
            return;
        }
        let list = |ids: &[HeadKeyId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::info!(old = list(&old), new = list(&new), "head keys replaced");
        self.keys.send_replace(keys);
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

    /// Whether unsigned heads are refused. Without keys none is looked at.
    pub(crate) fn refuses_unsigned(&self) -> bool {
        self.state().signing.required && !self.key_ids().is_empty()
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
        self.keys.borrow().encode_head(head, format, self.place(shard.slot(), serial), signing)
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
        let read = self.keys.borrow().decode_head(bytes, self.place(shard.slot(), serial), signing);
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

    #[test]
    fn credentials_without_head_keys_leave_the_old_ones_in_use() {
        let keys = |texts: &[&str]| HeadKeys::new(texts).unwrap();
        let (one, two) = ("the first of two keys", "the second of two keys");
        let heads = SignedHeads::new(keys(&[one]), "bot");
        let changes = heads.new_keys();
        heads.replace_keys(HeadKeys::none());
        heads.replace_keys(keys(&[one]));
        assert!(!changes.has_changed().unwrap());
        heads.replace_keys(keys(&[two, one]));
        assert!(changes.has_changed().unwrap());
        assert_eq!(heads.key_ids(), keys(&[two, one]).ids());
    }
}
