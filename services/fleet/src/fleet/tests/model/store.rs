//! The store of the model: the rules that `fleet-store` keeps, over few workers and shards. Times are beats that are left.

use super::{Fence, Fences, SHARDS, TTL_BEATS};

/// A worker's incarnation: its number, and how often it has restarted.
pub(super) type SimIncarnation = (usize, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub(super) life: u8,
    /// Beats until it lapses.
    pub(super) left: u8,
    pub(super) revoked: bool,
    pub(super) term: u8,
    /// There is a whole record, not the mere mark of a revocation.
    pub(super) listed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OwnerRow {
    pub(super) life: SimIncarnation,
    pub(super) epoch: u64,
}

/// Everything that is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Records {
    pub(super) term: u8,
    /// Beats until the hold of the term lapses.
    pub(super) hold: u8,
    pub(super) total: bool,
    pub(super) intent: super::super::Intent,
    /// The highest term that wrote the fleet's record.
    pub(super) fleet_term: u8,
    pub(super) leases: [Option<Lease>; 3],
    pub(super) owners: [Option<OwnerRow>; SHARDS],
    /// The highest term that wrote about a shard, or fenced it.
    pub(super) owner_terms: [u8; SHARDS],
    /// The highest epoch that wrote a checkpoint.
    pub(super) checkpoints: [u64; SHARDS],
    /// The identity of the store that a coordinator has trusted.
    pub(super) trusted: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Store {
    /// Beats until it is back.
    pub(super) away: u8,
    /// Which life of the store this is.
    pub(super) identity: u8,
    /// It has lost something in this run.
    pub(super) lost: bool,
    pub(super) now: Records,
    /// What was written a beat ago.
    pub(super) before: Records,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    HoldBack(u8),
    Refused,
    Lapsed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Granted,
    Revoked,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revoked {
    Yes,
    Live(u8),
    StaleTerm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    Outranked(u64),
    StaleTerm,
}

impl Store {
    pub(super) fn age(&mut self) {
        self.before = self.now.clone();
        for records in [&mut self.now, &mut self.before] {
            records.hold = records.hold.saturating_sub(1);
            for lease in records.leases.iter_mut().flatten() {
                lease.left = lease.left.saturating_sub(1);
            }
        }
        self.away = self.away.saturating_sub(1);
    }

    pub(super) fn lose(&mut self, everything: bool) {
        self.now = if everything { Records::default() } else { self.before.clone() };
        self.before = self.now.clone();
        self.identity += 1;
        self.lost = true;
    }

    fn stale(fences: Fences, term: u8, written: u8) -> bool {
        term < written && fences.has(Fence::StoreRefusesOlderTerms)
    }

    pub(super) fn grant(&mut self, fences: Fences, term: u8, (worker, life): SimIncarnation) -> Grant {
        if let Some(lease) = &self.now.leases[worker] {
            if Self::stale(fences, term, lease.term) {
                return Grant::Refused;
            }
            if lease.life == life && lease.revoked && fences.has(Fence::RevokedStaysRevoked) {
                return Grant::Revoked;
            }
            if lease.life != life && !lease.revoked && lease.left > 0 {
                return Grant::Refused;
            }
        }
        let lease = Lease { life, left: TTL_BEATS, revoked: false, term, listed: true };
        self.now.leases[worker] = Some(lease);
        Grant::Granted
    }

    pub(super) fn renew(
        &mut self,
        fences: Fences,
        (worker, life): SimIncarnation,
        in_window: bool,
    ) -> Renewal {
        let known = self.now.leases[worker];
        if let Some(lease) = known
            && (lease.life != life || lease.revoked && fences.has(Fence::RevokedStaysRevoked))
        {
            return Renewal::Refused;
        }
        let live = known.is_some_and(|lease| lease.left > 0);
        if !live && !in_window && fences.has(Fence::NoRewriteOutsideTheWindow) {
            return Renewal::Lapsed;
        }
        let term = known.map_or(0, |lease| lease.term);
        let lease = Lease { life, left: TTL_BEATS, revoked: false, term, listed: true };
        self.now.leases[worker] = Some(lease);
        Renewal::HoldBack(term)
    }

    pub(super) fn revoke(
        &mut self,
        fences: Fences,
        term: u8,
        (worker, life): SimIncarnation,
        even_if_live: bool,
    ) -> Revoked {
        let listed = match self.now.leases[worker] {
            Some(lease) if Self::stale(fences, term, lease.term) => return Revoked::StaleTerm,
            // Another has the name: the one that was asked about is over.
            Some(lease) if lease.life != life => return Revoked::Yes,
            Some(lease) => {
                let even_if_live = even_if_live || !fences.has(Fence::SilenceRevokesWhatLapsed);
                if !lease.revoked && lease.left > 0 && !even_if_live {
                    return Revoked::Live(lease.left);
                }
                lease.listed
            }
            None => false,
        };
        self.now.leases[worker] = Some(Lease { life, left: 0, revoked: true, term, listed });
        Revoked::Yes
    }

    /// A worker has left.
    pub(super) fn forget(&mut self, (worker, life): SimIncarnation) {
        self.now.leases[worker].take_if(|lease| lease.life == life);
    }

    pub(super) fn assign(&mut self, fences: Fences, term: u8, shard: usize, row: OwnerRow) -> Written {
        if Self::stale(fences, term, self.now.owner_terms[shard]) {
            return Written::StaleTerm;
        }
        if let Some(known) = self.now.owners[shard] {
            let outranked = known.epoch > row.epoch || known.epoch == row.epoch && known.life != row.life;
            if outranked && fences.has(Fence::EpochsOnlyGrow) {
                return Written::Outranked(known.epoch);
            }
        }
        self.now.owners[shard] = Some(row);
        self.now.owner_terms[shard] = term;
        Written::Yes
    }

    /// A new coordinator keeps the older ones out, as far as there are shards.
    pub(super) fn fence(&mut self, term: u8) {
        self.now.fleet_term = term;
        if self.now.total {
            self.now.owner_terms = [term; SHARDS];
        }
    }

    /// A permit is written down as spent.
    pub(super) fn spend_permit(&mut self, fences: Fences, term: u8) -> bool {
        if Self::stale(fences, term, self.now.fleet_term) {
            return false;
        }
        self.now.fleet_term = self.now.fleet_term.max(term);
        true
    }

    /// Returns whether a claim or a write of a checkpoint at this epoch is refused, as another worker has the shard.
    pub(super) fn refuses_epoch(&self, fences: Fences, shard: usize, epoch: u64) -> bool {
        let owner = self.now.owners[shard].map_or(0, |row| row.epoch);
        epoch < owner.max(self.now.checkpoints[shard]) && fences.has(Fence::CheckpointsRefuseOlderEpochs)
    }

    /// True when it was taken.
    pub(super) fn write_checkpoint(&mut self, fences: Fences, shard: usize, epoch: u64) -> bool {
        if self.refuses_epoch(fences, shard, epoch) {
            return false;
        }
        self.now.checkpoints[shard] = epoch;
        true
    }
}
