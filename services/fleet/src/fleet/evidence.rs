//! Evidence of death: what shortens the wait for a lease to lapse.
//!
//! A broken heartbeat stream is no death: networks break too. But where a worker was found when it registered, nobody may
//! answer any more, or somebody else: then the process is gone, and its lease is revoked though it runs on. So when a
//! stream breaks, the fleet has the worker's address looked at, a few times with growing pauses, until the worker is back
//! or the lease rules decide.
//!
//! A look counts only if the worker speaks from the very address that was looked at ([`WorkerAddresses`]): through a NAT or a proxy a
//! refusal says nothing of the worker. A supervisor's word that it saw the process end ([`Fleet::accept_exit`]) needs neither a broken
//! stream nor a look. Any evidence needs a store that can be trusted, as the revocation must last. It needs no grace
//! after a start or a stall: that is about silence which may have been ours, and this is something seen. A coordinator that
//! has just started finds no evidence itself before a worker has registered with it and lost its stream.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fleet_model::{Incarnation, WorkerId};

use super::{Effect, Fleet, Now, RevocationCause, losing::VERDICT_DUE};

/// The most probes at one broken stream.
const PROBES: u32 = 5;

/// The pause after the first look; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Where a worker is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct WorkerAddresses {
    /// Where it answered when it registered.
    pub(super) found_at: Option<SocketAddr>,
    /// Where its heartbeat stream comes from.
    pub(super) peer: Option<IpAddr>,
}

impl WorkerAddresses {
    /// The address whose silence says something of the worker.
    fn probe_address(&self) -> Option<SocketAddr> {
        let (found_at, peer) = (self.found_at?, self.peer?);
        (found_at.ip().to_canonical() == peer.to_canonical()).then_some(found_at)
    }
}

/// A worker without a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BrokenStream {
    /// When its stream broke.
    pub(super) at: Duration,
    /// How many probes showed nothing.
    pub(super) probes: u32,
    /// The next look is due; `None` while one is under way, and after the last.
    pub(super) next: Option<Duration>,
}

/// What a look at a worker's address showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// It refused a connection, twice.
    Refuses,
    /// Another worker answers there, or another life of the same.
    AnotherAnswers,
    /// The worker itself answers.
    Answers,
    /// No answer, or one that says nothing.
    Unclear,
}

impl Finding {
    /// Every finding.
    pub const ALL: [Self; 4] = [Self::Refuses, Self::AnotherAnswers, Self::Answers, Self::Unclear];

    /// Its name for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::AnotherAnswers => "another_answers",
            Self::Answers => "answers",
            Self::Unclear => "unclear",
        }
    }

    /// The process that was there is gone.
    pub const fn is_evidence(self) -> bool {
        matches!(self, Self::Refuses | Self::AnotherAnswers)
    }
}

/// The notice of an exit changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExitRefused {
    /// No such worker is there.
    #[error("no worker {worker} is in the fleet")]
    Unknown {
        /// Who was named.
        worker: WorkerId,
    },
    /// It is there in another life.
    #[error("worker {worker} is there as incarnation {known} by now")]
    OtherIncarnation {
        /// Who was named.
        worker: WorkerId,
        /// Its present life.
        known: Incarnation,
    },
    /// The worker answers at its address.
    #[error("worker {worker} still answers at its address: its process has not ended")]
    StillAnswers {
        /// The worker.
        worker: WorkerId,
    },
    /// The worker does not answer at its address, but was heard after the report.
    #[error(
        "worker {worker} can't be reached at its address, but was heard after the exit report: its lease decides"
    )]
    StillHeard {
        /// The worker.
        worker: WorkerId,
    },
    /// The store is away, or was within the last TTL, or could not say.
    #[error("the fleet store can't be trusted now: the lease of {worker} decides")]
    StoreUntrusted {
        /// The worker.
        worker: WorkerId,
    },
}

impl Fleet {
    /// Where to probe a worker: the address that answered when it registered here, if any, and the advertised URL.
    pub fn probe_target(&self, worker: &WorkerId) -> Option<(Option<SocketAddr>, &str)> {
        self.workers.get(worker).map(|known| (known.addresses.found_at, known.url.as_str()))
    }

    /// Whether a worker's stream broke here and the worker was not heard since.
    pub fn is_cut_off(&self, worker: &WorkerId, incarnation: &Incarnation) -> bool {
        let known = self.workers.get(worker).filter(|known| known.incarnation == *incarnation);
        known.is_some_and(|known| known.broken.is_some())
    }

    /// Whether a worker's report came after this moment.
    pub fn is_heard_after(&self, worker: &WorkerId, incarnation: &Incarnation, moment: Duration) -> bool {
        let known = self.workers.get(worker).filter(|known| known.incarnation == *incarnation);
        known.is_some_and(|known| known.last_heard > moment)
    }

    /// Notes that the probe did not confirm a reported exit.
    pub fn exit_unconfirmed(&mut self, worker: &WorkerId, incarnation: &Incarnation) {
        if let Some(known) = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation) {
            known.exit_unconfirmed = true;
        }
    }

    /// Returns the incarnation that an exit report is about, if the report can count.
    ///
    /// # Errors
    /// [`ExitRefused`]; then the lease decides.
    pub fn check_exit(
        &self,
        worker: &WorkerId,
        incarnation: Option<&Incarnation>,
        now: Now,
    ) -> Result<Incarnation, ExitRefused> {
        let worker = worker.clone();
        let Some(known) = self.workers.get(&worker) else { return Err(ExitRefused::Unknown { worker }) };
        let life = known.incarnation.clone();
        if incarnation.is_some_and(|named| *named != life) {
            return Err(ExitRefused::OtherIncarnation { worker, known: life });
        }
        if !self.store_is_trusted(now) {
            return Err(ExitRefused::StoreUntrusted { worker });
        }
        Ok(life)
    }

    /// Treats an exit report as evidence of death. Without an incarnation it is about the known one. Returns the
    /// incarnation that is given up; the store's verdict follows.
    ///
    /// # Errors
    /// [`ExitRefused`]: only the lease decides.
    pub fn accept_exit(
        &mut self,
        worker: &WorkerId,
        incarnation: Option<&Incarnation>,
        now: Now,
    ) -> Result<Incarnation, ExitRefused> {
        let life = self.check_exit(worker, incarnation, now)?;
        let worker = worker.clone();
        if let Some(known) = self.workers.get_mut(&worker) {
            known.lease_check = Some(now.mono + VERDICT_DUE);
        }
        self.effects.push(Effect::Revoke {
            worker,
            incarnation: life.clone(),
            cause: RevocationCause::Evidence,
        });
        Ok(life)
    }

    /// The worker's heartbeat stream is open, and comes from `peer`.
    pub fn stream_opened(&mut self, worker: &WorkerId, incarnation: &Incarnation, peer: Option<IpAddr>) {
        if let Some(known) = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation) {
            known.addresses.peer = peer;
        }
    }

    /// The worker's heartbeat stream ended. That alone is no death.
    pub fn stream_ended(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Now) {
        if let Some(known) = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation) {
            known.connected = false;
            known.broken = Some(BrokenStream { at: now.mono, probes: 0, next: Some(now.mono) });
        }
        self.probe_broken_streams(now);
    }

    /// Has the addresses looked at whose look is due.
    pub(super) fn probe_broken_streams(&mut self, now: Now) {
        if !self.store_is_trusted(now) {
            return;
        }
        for (name, worker) in &mut self.workers {
            let Some(broken) = worker.broken.as_mut() else { continue };
            let Some(address) = worker.addresses.probe_address() else { continue };
            if broken.next.is_some_and(|next| now.mono >= next) {
                broken.next = None;
                self.effects.push(Effect::Probe {
                    worker: name.clone(),
                    incarnation: worker.incarnation.clone(),
                    address,
                    broke_at: broken.at,
                });
            }
        }
    }

    /// The outcome of [`Effect::Probe`]. It is dropped when the worker was heard meanwhile.
    pub fn on_probe(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        broke_at: Duration,
        finding: Finding,
        now: Now,
    ) {
        let trusted = self.store_is_trusted(now);
        let known = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation);
        let Some(known) = known else { return };
        let Some(broken) = known.broken.as_mut().filter(|broken| broken.at == broke_at) else { return };
        if finding.is_evidence() && trusted {
            known.lease_check = Some(now.mono + VERDICT_DUE);
            let (worker, incarnation) = (worker.clone(), incarnation.clone());
            self.effects.push(Effect::Revoke { worker, incarnation, cause: RevocationCause::Evidence });
            return;
        }
        // What a store said that has gone away meanwhile is looked at again when it is back.
        broken.probes += u32::from(!finding.is_evidence());
        if broken.probes < PROBES {
            broken.next = Some(now.mono + FIRST_PAUSE * 2u32.pow(broken.probes.saturating_sub(1)));
        }
    }
}
