//! Adopts the children of the previous image.

use std::{collections::VecDeque, os::fd::OwnedFd, time::Instant};

use rustix::process::Pid;

use super::{RunningChild, Supervisor};
use crate::{
    child::Child,
    control::Client,
    handover::{HandedChild, Handover},
    program::Kind,
    slot::{Role, Slot},
};

impl Supervisor<'_> {
    /// Takes the children over, starts what is missing, and begins the roll.
    pub(super) fn adopt(&mut self, handover: Handover, descriptors: Vec<OwnedFd>) {
        let mut descriptors = VecDeque::from(descriptors);
        for number in self.config.size.workers..self.config.size.workers_after(handover.workers) {
            self.add_place(Kind::Worker(number));
        }
        // A program that serves has taken the settings.
        if handover.trusts_settings || handover.children.iter().any(|child| child.role == Role::Serving) {
            self.trust_settings();
        }
        for handed in handover.children {
            let three: Vec<OwnedFd> = descriptors.drain(..descriptors.len().min(3)).collect();
            let Ok(three) = <[OwnedFd; 3]>::try_from(three) else { break };
            self.adopt_child(&handed, three);
        }
        if let (true, Some(descriptor)) = (handover.has_client, descriptors.pop_back()) {
            self.client = Client::inherit(descriptor).ok();
        }
        self.list_children();
        // Children that ended during exec.
        self.reap();
        let now = Instant::now();
        for at in 0..self.places.len() {
            let effects = self.places[at].slot.start(now);
            self.apply(at, effects);
        }
        self.begin_roll();
    }

    fn adopt_child(&mut self, handed: &HandedChild, descriptors: [OwnedFd; 3]) {
        let Some(pid) = Pid::from_raw(handed.pid) else { return };
        let child = Child::inherit(pid, descriptors);
        let now = Instant::now();
        let place = self.places.iter().position(|place| place.kind == handed.kind);
        // The settings want fewer workers now.
        let (at, role) = match place {
            Some(at) => (at, handed.role),
            None => (self.add_place(handed.kind), Role::Leaving),
        };
        let run = self.places[at].slot.adopt(role, handed.side, now);
        let name = handed.kind.name(handed.side);
        tracing::info!(program = name, process.pid = handed.pid, "program taken over");
        let child = RunningChild {
            child,
            name,
            reported: handed.reported,
            stale: None,
            incarnation: None,
            inherited: true,
        };
        if let Err(error) = self.attend((at, run), &child) {
            tracing::error!(%error, program = child.name, "cannot read program output");
        }
        if place.is_none() {
            // A second signal would end it without a drain.
            if handed.role != Role::Leaving {
                child.child.terminate();
            }
            let slot: &mut Slot = &mut self.places[at].slot;
            // Nothing starts in this place.
            slot.stop(now);
        }
        self.children.insert((at, run), child);
    }
}
