//! What a queue starts while it is careful: suspects, one at a time over all lanes and in order, and nothing else. Pure.
//!
//! It begins careful and ends by itself, when no more suspects come and the last is done: from then on the queue is like any other.

use std::collections::VecDeque;

use super::Ticket;

/// The suspects of a careful queue.
#[derive(Debug, Default)]
pub(super) struct Careful {
    /// Ends with the first slow suspect.
    brief: bool,
    queued: VecDeque<Ticket>,
    /// The one that the next waits for.
    alone: Option<Ticket>,
    /// No more of them come.
    all_came: bool,
}

impl Careful {
    pub(super) fn new(brief: bool) -> Self {
        Self { brief, ..Self::default() }
    }

    pub(super) fn is_brief(&self) -> bool {
        self.brief
    }

    pub(super) fn push(&mut self, ticket: Ticket) {
        self.queued.push_back(ticket);
    }

    pub(super) fn may_start(&self) -> bool {
        self.alone.is_none() && !self.queued.is_empty()
    }

    /// The one to start now, if one may.
    pub(super) fn start_next(&mut self) -> Option<Ticket> {
        if self.alone.is_none() {
            self.alone = self.queued.pop_front();
            return self.alone;
        }
        None
    }

    /// The next waits for this one no longer: it is done, or takes too long. No error when no item waits for it.
    pub(super) fn let_go(&mut self, ticket: Ticket) {
        self.alone.take_if(|alone| *alone == ticket);
    }

    /// It was not begun after all, and is the next again.
    pub(super) fn put_back(&mut self, ticket: Ticket) {
        self.let_go(ticket);
        self.queued.push_front(ticket);
    }

    /// The suspect that the next one waits for, and the waiting ones.
    pub(super) fn into_tickets(self) -> (Option<Ticket>, VecDeque<Ticket>) {
        (self.alone, self.queued)
    }

    pub(super) fn all_came(&mut self) {
        self.all_came = true;
    }

    /// Forgets all waiting items, which were taken out, and the running suspect unless it `is_left`.
    pub(super) fn abandon_queued(&mut self, is_left: impl FnOnce(Ticket) -> bool) {
        self.queued.clear();
        self.alone = self.alone.filter(|alone| is_left(*alone));
    }

    /// There is nothing left to be careful about.
    pub(super) fn is_over(&self) -> bool {
        self.all_came && self.alone.is_none() && self.queued.is_empty()
    }
}

#[cfg(test)]
mod tests;
