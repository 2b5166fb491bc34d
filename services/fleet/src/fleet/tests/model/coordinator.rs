//! A coordinator of the model: the real [`Fleet`] in a shell that stands for the driver.

use std::net::{IpAddr, Ipv4Addr};

use super::{super::*, Fence, Fences, SHARDS, TTL_BEATS, store::SimIncarnation, world::now};

/// What is on its way to the store.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    Write(Vec<Ownership>),
    /// With the life of the store that was known when it went out.
    Revoke(SimIncarnation, RevocationCause, u8),
    WriteTotal,
    WriteIntent(Box<Intent>),
    FindLeases(u8),
}

/// An address that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SimProbe {
    pub(super) life: SimIncarnation,
    pub(super) broke_at: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Coordinator {
    pub(super) fleet: Fleet,
    pub(super) term: u8,
    /// It heard that another has a higher term, and ends with the next beat.
    pub(super) lost: bool,
    /// It was stopped, and has not asked the store for its term since: it acknowledges nothing.
    pub(super) in_doubt: bool,
    pub(super) cut_from_store: u8,
    /// Beats since the store confirmed its term, at most a TTL.
    pub(super) unconfirmed: u8,
    pub(super) stopped: u8,
    pub(super) busy: u8,
    /// Which life of the store it last saw.
    pub(super) store: u8,
    /// The lives that have a stream to it.
    pub(super) streams: [Option<u8>; 3],
    pub(super) calls: Vec<Call>,
    pub(super) probes: Vec<SimProbe>,
}

pub(super) fn name(n: usize) -> WorkerId {
    ["w0", "w1", "w2"][n].parse().unwrap()
}

pub(super) fn number(worker: &WorkerId) -> usize {
    usize::from(worker.as_str().as_bytes()[1] - b'0')
}

pub(super) fn incarnation(life: u8) -> Incarnation {
    life.to_string().parse().unwrap()
}

pub(super) fn life(worker: &WorkerId, incarnation: &Incarnation) -> SimIncarnation {
    (number(worker), incarnation.as_str().parse().unwrap())
}

pub(super) fn peer(n: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n as u8 + 1).into()
}

pub(super) fn epochs(shards: &BTreeMap<ShardKey, Epoch>) -> [Option<u64>; SHARDS] {
    std::array::from_fn(|shard| shards.get(&ShardSlot(shard as u32)).map(|epoch| epoch.0))
}

pub(super) fn by_shard(epochs: &[Option<u64>; SHARDS]) -> BTreeMap<ShardKey, Epoch> {
    let running = epochs.iter().enumerate();
    running
        .filter_map(|(shard, epoch)| Some((ShardKey::new(shard as u32, SHARDS as u32), Epoch((*epoch)?))))
        .collect()
}

impl Coordinator {
    pub(super) fn new(fences: Fences, term: u8, store: u8, recovered: Recovered) -> Self {
        let rules = FleetRules {
            lease_ttl: TTL,
            settle: Duration::from_secs(2),
            moves_at_once: 1,
            identifies_at_once: 1,
            decided_per_ms: if fences.decides_late { 1 } else { 1_000 },
        };
        let wanted = WantedTotal::explicit(SHARDS as u32);
        let had_predecessor = recovered.had_predecessor;
        let mut fleet = Fleet::new(rules, Term(term.into()), wanted, recovered, now(fences));
        if had_predecessor && !fences.has(Fence::GraceAfterAStart) {
            fleet.term.grace_until = now(fences).mono;
            fleet.term.unregistered_until = now(fences).mono;
        }
        Self {
            fleet,
            term,
            lost: false,
            in_doubt: false,
            cut_from_store: 0,
            unconfirmed: 0,
            stopped: 0,
            busy: 0,
            store,
            streams: [None; 3],
            calls: Vec::new(),
            probes: Vec::new(),
        }
    }

    pub(super) fn may_act(&self, fences: Fences) -> bool {
        let in_doubt = self.in_doubt && fences.has(Fence::StoppedCoordinatorsAskFirst);
        let is_held = self.unconfirmed < TTL_BEATS || !fences.has(Fence::UnconfirmedTermsAcknowledgeNothing);
        !in_doubt && is_held
    }

    pub(super) fn stream_ended(&mut self, fences: Fences, n: usize) {
        if let Some(life) = self.streams[n].take() {
            self.fleet.stream_ended(&name(n), &incarnation(life), now(fences));
        }
    }
}
