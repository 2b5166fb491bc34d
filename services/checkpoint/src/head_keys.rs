//! Signatures of heads: a shard's next owner rejects a head that another program wrote to the store.
//!
//! A head names the session to resume, where, and from which event on. A worker with keys appends an HMAC-SHA256 over the fleet, the slot,
//! the serial, the format and all bytes of the head: the session with its shard and total, the epoch and the watermark. Versions without signatures ignore it. Not protected: the records
//! beside the head, and a head that is replaced by an older one of the same shard.
//!
//! Keys never leave this process: no script and no message contains one. Pure.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use fleet_model::{HeadKeyId, HeadSigning, ShardSlot};
use ring::{digest, hmac};

use crate::{
    FormatError, Head,
    format::{self, SignedHead},
};

/// What a signature is for. No other use of a key begins like this.
const PURPOSE: &[u8] = b"altergolden checkpoint head 1";

/// The most keys at once: while a key is replaced, the new one and the old one.
const MOST: usize = 2;

/// The fewest bytes of a key.
const SHORTEST: usize = 16;

/// The keys that a worker accepts on heads, newest first. [`Debug`](fmt::Debug) shows ids only.
#[derive(Clone, Default)]
pub struct HeadKeys(Vec<HeadKey>);

#[derive(Clone)]
struct HeadKey {
    id: HeadKeyId,
    key: hmac::Key,
}

/// Keys that cannot be used. Shows nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeadKeys {
    /// More than a key and its successor.
    #[error("there are more than {MOST} head keys")]
    TooMany,
    /// A key that could be guessed.
    #[error("a head key has less than {SHORTEST} bytes")]
    TooShort,
    /// One key twice.
    #[error("two head keys are the same")]
    Same,
}

/// Where a head is kept: a part of what is signed.
#[derive(Clone, Copy, Debug)]
pub struct HeadPlace<'a> {
    /// The fleet's name: the prefix of its keys in Redis.
    pub fleet: &'a str,
    /// The slot of the shard.
    pub slot: ShardSlot,
    /// The store's serial: before the step when signing, at the claim when reading.
    pub serial: u64,
}

/// A head that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadHeadError {
    /// No head can be read from its bytes.
    #[error("{0}")]
    Format(#[from] FormatError),
    /// Its signature is missing or wrong.
    #[error("{0}")]
    Refused(#[from] HeadRefused),
}

/// A head that another program may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadRefused {
    /// It has no signature, and needs one.
    #[error("it is not signed")]
    Unsigned,
    /// This worker does not hold its key.
    #[error("it is signed with key {0}, which this worker does not hold")]
    UnknownKey(HeadKeyId),
    /// The signature is not of this head in this place.
    #[error("its signature is wrong")]
    WrongSignature,
}

impl HeadKeys {
    /// No keys: heads are neither signed nor checked.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes keys, newest first.
    ///
    /// # Errors
    /// [`InvalidHeadKeys`] for more than two, short or repeated ones.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Self, InvalidHeadKeys> {
        let keys: Vec<HeadKey> =
            keys.into_iter().map(|key| HeadKey::new(key.as_ref())).collect::<Result<_, _>>()?;
        if keys.len() > MOST {
            return Err(InvalidHeadKeys::TooMany);
        }
        let ids: BTreeSet<HeadKeyId> = keys.iter().map(|key| key.id).collect();
        if ids.len() < keys.len() {
            return Err(InvalidHeadKeys::Same);
        }
        Ok(Self(keys))
    }

    /// Returns the ids of the keys, newest first.
    pub fn ids(&self) -> Vec<HeadKeyId> {
        self.0.iter().map(|key| key.id).collect()
    }

    /// Returns the key that signs: the fleet's, or where unsigned heads are refused the newest of this worker.
    fn signing(&self, signing: HeadSigning) -> Option<&HeadKey> {
        let of_fleet = signing.by.and_then(|by| self.0.iter().find(|key| key.id == by));
        of_fleet.or_else(|| self.0.first().filter(|_| signing.required))
    }

    /// The bytes of a head in a format, signed if the fleet signs heads and this worker holds a key.
    ///
    /// # Errors
    /// As for [`encode_head`](crate::encode_head).
    pub fn encode_head(
        &self,
        head: &Head,
        format: u16,
        place: HeadPlace<'_>,
        signing: HeadSigning,
    ) -> Result<Bytes, FormatError> {
        let mut signed = SignedHead::unsigned(head);
        if let Some(key) = self.signing(signing) {
            let tag = hmac::sign(&key.key, &place.signed_bytes(format, &signed));
            signed.sign(key.id, place.serial, tag.as_ref());
        }
        signed.seal(format)
    }

    /// Reads a head. Without keys every head is accepted.
    ///
    /// # Errors
    /// [`ReadHeadError`] for anything but a whole head in a format that this version reads, with a signature that is right or
    /// not needed.
    pub fn decode_head(
        &self,
        bytes: &[u8],
        place: HeadPlace<'_>,
        signing: HeadSigning,
    ) -> Result<Head, ReadHeadError> {
        let signed = SignedHead::open(bytes)?;
        if !self.0.is_empty() {
            self.check(bytes, &signed, place, signing)?;
        }
        Ok(signed.read_head()?)
    }

    fn check(
        &self,
        bytes: &[u8],
        signed: &SignedHead,
        place: HeadPlace<'_>,
        signing: HeadSigning,
    ) -> Result<(), HeadRefused> {
        let Some((id, serial, tag)) = signed.signature() else {
            return if signing.required { Err(HeadRefused::Unsigned) } else { Ok(()) };
        };
        let Some(key) = self.0.iter().find(|key| key.id == id) else {
            return Err(HeadRefused::UnknownKey(id));
        };
        let format = format::format_of(bytes).unwrap_or_default();
        let content = HeadPlace { serial, ..place }.signed_bytes(format, signed);
        // Steps after the one with the head raise the store's serial.
        let right = serial <= place.serial && hmac::verify(&key.key, &content, tag).is_ok();
        if right { Ok(()) } else { Err(HeadRefused::WrongSignature) }
    }
}

impl HeadKey {
    fn new(key: &[u8]) -> Result<Self, InvalidHeadKeys> {
        if key.len() < SHORTEST {
            return Err(InvalidHeadKeys::TooShort);
        }
        let digest = digest::digest(&digest::SHA256, key);
        let mut id = [0; 4];
        id.copy_from_slice(&digest.as_ref()[..4]);
        Ok(Self { id: HeadKeyId(id), key: hmac::Key::new(hmac::HMAC_SHA256, key) })
    }
}

impl HeadPlace<'_> {
    /// What is signed: each part behind its length, so that no two places or heads have the same bytes.
    fn signed_bytes(&self, format: u16, head: &SignedHead) -> Vec<u8> {
        let parts: [&[u8]; 6] = [
            PURPOSE,
            self.fleet.as_bytes(),
            &self.slot.0.to_le_bytes(),
            &self.serial.to_le_bytes(),
            &format.to_le_bytes(),
            head.bytes(),
        ];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

impl fmt::Debug for HeadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeadKeys")?;
        f.debug_list().entries(self.0.iter().map(|key| key.id)).finish()
    }
}

#[cfg(test)]
mod tests;
