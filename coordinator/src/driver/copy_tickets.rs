//! The tickets of shards that move: the source of a move gives a copy of the shard to the holder of the ticket alone.
//!
//! A ticket is an HMAC over the move under a random secret of this term. So source and target get the same one, whenever each of them is
//! told, and nothing is stored. A new term knows no move of an earlier one: it begins moves again, with other tickets for both
//! workers.

use fleet_model::{Assignment, CopyTicket, Epoch, ShardKey, WorkerId};
use ring::hmac;

/// Makes the tickets of one term.
pub(super) struct CopyTickets(hmac::Key);

impl CopyTickets {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    /// Adds the tickets to a worker's assignment.
    pub(super) fn add_to(&self, assignment: &mut Assignment, worker: &WorkerId) {
        for (shard, arriving) in &mut assignment.arriving {
            arriving.ticket = Some(self.ticket(*shard, arriving.epoch, &arriving.from, worker));
        }
        for (shard, departing) in &mut assignment.departing {
            departing.ticket = Some(self.ticket(*shard, departing.epoch, worker, &departing.to));
        }
    }

    /// Returns the ticket of one move. A shard's next owner runs it under another epoch, so a later move has another ticket.
    fn ticket(&self, shard: ShardKey, epoch: Epoch, from: &WorkerId, to: &WorkerId) -> CopyTicket {
        let mut signed = hmac::Context::with_key(&self.0);
        signed.update(&shard.slot().0.to_be_bytes());
        signed.update(&shard.total().to_be_bytes());
        signed.update(&epoch.0.to_be_bytes());
        for name in [from.as_str(), to.as_str()] {
            signed.update(&(name.len() as u64).to_be_bytes());
            signed.update(name.as_bytes());
        }
        let mut ticket = [0; 32];
        ticket.copy_from_slice(signed.sign().as_ref());
        CopyTicket(ticket)
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{Arriving, Departing};

    use super::*;

    fn id(name: &str) -> WorkerId {
        name.parse().unwrap()
    }

    /// The ticket that the target of a move gets.
    fn of_target(secret: u8, slot: u32, epoch: u64, from: &str, to: &str) -> CopyTicket {
        let arriving = Arriving { epoch: Epoch(epoch), from: id(from), url: String::new(), ticket: None };
        let shard = ShardKey::new(slot, 4);
        let mut assignment = Assignment { arriving: [(shard, arriving)].into(), ..Assignment::default() };
        CopyTickets::new([secret; 32]).add_to(&mut assignment, &id(to));
        assignment.arriving[&shard].ticket.unwrap()
    }

    #[test]
    fn both_sides_of_a_move_get_its_ticket_and_no_other_move_has_it() {
        let shard = ShardKey::new(1, 4);
        let departing = Departing { epoch: Epoch(5), to: id("b"), ticket: None };
        let mut source = Assignment { departing: [(shard, departing)].into(), ..Assignment::default() };
        CopyTickets::new([1; 32]).add_to(&mut source, &id("a"));
        let ticket = source.departing[&shard].ticket.unwrap();
        assert_eq!(ticket, of_target(1, 1, 5, "a", "b"));
        for other in [
            of_target(2, 1, 5, "a", "b"),
            of_target(1, 2, 5, "a", "b"),
            of_target(1, 1, 6, "a", "b"),
            of_target(1, 1, 5, "b", "a"),
            of_target(1, 1, 5, "a", "c"),
        ] {
            assert_ne!(ticket, other);
        }
    }
}
