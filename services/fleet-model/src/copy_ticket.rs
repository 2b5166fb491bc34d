//! The ticket for the copy of a shard.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// A secret of one move: the coordinator gives it to the worker that runs the shard and to the worker that is to copy it. A
/// certificate says only that its holder is a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CopyTicket(pub [u8; 32]);

impl CopyTicket {
    /// Returns whether a caller presents this ticket, in a time that does not depend on where they differ.
    pub fn is(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(presented).into()
    }

    /// Reads a ticket from the wire. Another length is a ticket of a version that this one does not know.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for CopyTicket {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopyTicket")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticket_is_told_apart_and_never_printed() {
        let ticket = CopyTicket([7; 32]);
        assert!(ticket.is(&[7; 32]) && CopyTicket::read(&[7; 32]) == Some(ticket));
        let mut other = [7; 32];
        other[31] = 8;
        assert!(!ticket.is(&other) && !ticket.is(&[7; 31]) && !ticket.is(&[]));
        assert_eq!(CopyTicket::read(&[7; 31]), None);
        assert!(!format!("{ticket:?}").contains('7'));
    }
}
