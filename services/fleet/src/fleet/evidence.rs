//! Evidence that a worker's process is gone, which shortens the wait for its lease to lapse.
//!
//! A broken heartbeat stream alone is not evidence: networks break too. But if the worker's address refuses connections, or
//! another worker answers there, the process is gone, and its lease is revoked before it lapses. So when a stream breaks, the
//! fleet has the worker's address probed, a few times with growing pauses, until the worker is back or the lease rules decide.
//!
//! A probe counts only if the worker's stream came from the probed address ([`WorkerAddresses`]): through a NAT or a proxy, a
//! refusal says nothing about the worker. A supervisor's report that the process ended ([`Fleet::accept_exit`]) needs neither a
//! broken stream nor a probe; neither does the end of a process of the coordinator's own host, which the driver sees by itself. Any evidence needs a store that can be trusted, as the revocation must last. It needs no grace
//! after a start or a stall: the grace covers silence that may have been the coordinator's own, and evidence is observed. A
//! coordinator that has just started finds no evidence itself before a worker has registered with it and lost its stream.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fleet_model::{Incarnation, WorkerId};

use super::{Effect, Fleet, KnownWorker, Now, RevocationCause, losing::VERDICT_DUE};

/// The most probes for one broken stream.
const PROBES: u32 = 5;

/// The pause after the first probe; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The addresses of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct WorkerAddresses {
    /// The address at which it answered when it registered.
    pub(super) found_at: Option<SocketAddr>,
    /// The address that its heartbeat stream comes from.
    pub(super) peer: Option<IpAddr>,
}

impl WorkerAddresses {
    /// Returns the address whose refusal shows that the worker is gone.
    fn probe_address(&self) -> Option<SocketAddr> {
        let (found_at, peer) = (self.found_at?, self.peer?);
        (found_at.ip().to_canonical() == peer.to_canonical()).then_some(found_at)
    }
}

/// A worker's lost stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BrokenStream {
    /// When its stream broke.
    pub(super) at: Duration,
    /// How many probes gave no evidence.
    pub(super) probes: u32,
    /// When the next probe is due; `None` while one is running, and after the last.
    pub(super) next: Option<Duration>,
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The address refused a connection, twice.
    Refuses,
    /// Another worker answers there, or another incarnation of the same one.
    AnotherAnswers,
    /// The worker itself answers.
    Answers,
    /// No answer, or an answer without an identity.
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

    /// Returns whether this shows that the process is gone.
    pub const fn is_evidence(self) -> bool {
        matches!(self, Self::Refuses | Self::AnotherAnswers)
    }
}

/// An exit report has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExitRefused {
    /// The fleet has no such worker.
    #[error("no worker {worker} is in the fleet")]
    Unknown {
        /// The reported worker.
        worker: WorkerId,
    },
    /// The worker is known under another incarnation.
    #[error("worker {worker} is running as incarnation {known} by now")]
    OtherIncarnation {
        /// The reported worker.
        worker: WorkerId,
        /// Its present incarnation.
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
        "worker {worker} cannot be reached at its address, but was heard after the exit report: its lease decides"
    )]
    StillHeard {
        /// The worker.
        worker: WorkerId,
    },
    /// The store is away, or was within the last TTL, or could not say.
    #[error("the fleet store cannot be trusted now: the lease of {worker} decides")]
    StoreUntrusted {
        /// The worker.
        worker: WorkerId,
    },
}

impl Fleet {
    /// Returns the workers of the store's records that have not registered here and whose leases the store is not being asked about.
    pub fn unheard_workers(&self, now: Now) -> impl Iterator<Item = (&WorkerId, &Incarnation)> {
        let is_asked = move |known: &KnownWorker| known.liveness.lease_check.is_some_and(|at| now.mono < at);
        let unheard = self.workers.iter().filter(move |(_, known)| !known.liveness.heard && !is_asked(known));
        unheard.map(|(worker, known)| (worker, &known.incarnation))
    }

    /// Returns where to probe a worker: the address that answered when it registered here, if any, and the advertised URL.
    pub fn probe_target(&self, worker: &WorkerId) -> Option<(Option<SocketAddr>, &str)> {
        self.workers.get(worker).map(|known| (known.liveness.addresses.found_at, known.profile.url.as_str()))
    }

    /// Returns whether a worker's stream broke here and the worker was not heard since.
    pub fn is_cut_off(&self, worker: &WorkerId, incarnation: &Incarnation) -> bool {
        let known = self.workers.get(worker).filter(|known| known.incarnation == *incarnation);
        known.is_some_and(|known| known.liveness.broken.is_some())
    }

    /// Returns whether a worker's report came after this moment.
    pub fn is_heard_after(&self, worker: &WorkerId, incarnation: &Incarnation, moment: Duration) -> bool {
        let known = self.workers.get(worker).filter(|known| known.incarnation == *incarnation);
        known.is_some_and(|known| known.liveness.last_heard > moment)
    }

    /// Notes that the probe did not confirm a reported exit.
    pub fn exit_unconfirmed(&mut self, worker: &WorkerId, incarnation: &Incarnation) {
        if let Some(known) = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation) {
            known.liveness.exit_unconfirmed = true;
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
        let current = known.incarnation.clone();
        if incarnation.is_some_and(|named| *named != current) {
            return Err(ExitRefused::OtherIncarnation { worker, known: current });
        }
        if !self.store_is_trusted(now) {
            return Err(ExitRefused::StoreUntrusted { worker });
        }
        Ok(current)
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
        let given_up = self.check_exit(worker, incarnation, now)?;
        let worker = worker.clone();
        if let Some(known) = self.workers.get_mut(&worker) {
            known.liveness.lease_check = Some(now.mono + VERDICT_DUE);
        }
        self.effects.push(Effect::Revoke {
            worker,
            incarnation: given_up.clone(),
            cause: RevocationCause::Evidence,
        });
        Ok(given_up)
    }

    /// Notes that a worker's heartbeat stream is open, and comes from `peer`.
    pub fn stream_opened(&mut self, worker: &WorkerId, incarnation: &Incarnation, peer: Option<IpAddr>) {
        if let Some(known) = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation) {
            known.liveness.addresses.peer = peer;
        }
    }

    /// Notes that a worker's heartbeat stream ended, and has its address probed.
    pub fn stream_ended(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Now) {
        if let Some(known) = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation) {
            known.liveness.connected = false;
            known.liveness.broken = Some(BrokenStream { at: now.mono, probes: 0, next: Some(now.mono) });
        }
        self.probe_broken_streams(now);
    }

    /// Starts the probes that are due.
    pub(super) fn probe_broken_streams(&mut self, now: Now) {
        if !self.store_is_trusted(now) {
            return;
        }
        for (name, worker) in &mut self.workers {
            let Some(broken) = worker.liveness.broken.as_mut() else { continue };
            let Some(address) = worker.liveness.addresses.probe_address() else { continue };
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

    /// Applies the outcome of [`Effect::Probe`]. It is dropped when the worker was heard meanwhile.
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
        let Some(broken) = known.liveness.broken.as_mut().filter(|broken| broken.at == broke_at) else {
            return;
        };
        if finding.is_evidence() && trusted {
            known.liveness.lease_check = Some(now.mono + VERDICT_DUE);
            let (worker, incarnation) = (worker.clone(), incarnation.clone());
            self.effects.push(Effect::Revoke { worker, incarnation, cause: RevocationCause::Evidence });
            return;
        }
        // Evidence that came while the store was away is looked for again when it is back.
        broken.probes += u32::from(!finding.is_evidence());
        if broken.probes < PROBES {
            broken.next = Some(now.mono + FIRST_PAUSE * 2u32.pow(broken.probes.saturating_sub(1)));
        }
    }
}
