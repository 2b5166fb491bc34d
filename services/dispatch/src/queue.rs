//! What waits for its handler and what runs: a pure state machine.
//!
//! It owns a shard's items from [`Queue::push`] until [`Queue::done`], and decides which may start next: in order in each lane,
//! never two of one lane at once, different lanes side by side up to [`Limits::at_once`]. Lanes take turns: one that has had
//! its turn goes behind all others that are ready, so a busy guild delays another by one event, not by its backlog. The
//! queue runs nothing, reads no clock and drops nothing: its owner starts what [`Queue::start_next`] says.
//!
//! A queue can begin [careful](Queue::begin_carefully): then suspects come first, one at a time over all lanes, and all else waits
//! until no more of them come and the last is done.
//!
//! Items are known by a [`Ticket`] of the queue's own, as sequence numbers can repeat (see [`Item::sequence`]).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::item::Item;

mod careful;

use careful::Careful;

#[cfg(test)]
mod tests;

/// How much a queue takes. Zero counts as 1 in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Handlers that run at once.
    pub at_once: usize,
    /// Items, queued and running together.
    pub items: usize,
    /// Their bytes together. A single item above it is let in when the queue is empty: it could never be handled otherwise.
    pub bytes: usize,
}

impl Default for Limits {
    /// 64 handlers, 4,096 items, 16 MiB.
    fn default() -> Self {
        Self { at_once: 64, items: 4096, bytes: 16 * 1024 * 1024 }
    }
}

/// An item's place in order of receipt: unique in its queue, and growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// There is no room; the item is given back.
#[derive(Debug, thiserror::Error)]
#[error("the queue is full")]
pub struct Full<T>(pub Item<T>);

/// An item whose handler must run now.
#[derive(Debug)]
pub struct Started<T> {
    /// To be given to [`Queue::done`].
    pub ticket: Ticket,
    /// The item; the queue keeps it too, for [`Queue::pending`].
    pub item: Arc<Item<T>>,
    /// It is a suspect of a careful queue, and no other starts before it is done.
    pub alone: bool,
}

/// An item that is not done.
#[derive(Debug)]
pub struct Pending<'a, T> {
    /// Its place in order of receipt.
    pub ticket: Ticket,
    /// The item.
    pub item: &'a Item<T>,
    /// Whether its handler was started and may have had effects.
    pub started: bool,
}

/// How a queue is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueFigures {
    /// Items queued and running.
    pub len: usize,
    /// Running ones among them.
    pub running: usize,
    /// The bytes of all.
    pub bytes: usize,
    /// How full it is, by items or by bytes, whichever is more: 1.0 is the bound.
    pub fill: f64,
    /// The age of the item that came first of all that are not done.
    pub oldest: Option<Duration>,
}

#[derive(Debug)]
struct Entry<T> {
    item: Arc<Item<T>>,
    state: State,
    /// Whether its handler was called. Before that a started item can still be taken out.
    begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    /// It holds its lane.
    Running,
    /// It was started as a suspect, and holds no lane.
    Alone,
}

/// Of one guild. Exists while something of it is queued or runs.
#[derive(Debug, Default)]
struct QueueLane {
    queued: VecDeque<Ticket>,
    running: bool,
}

/// The queue.
#[derive(Debug)]
pub struct Queue<T> {
    limits: Limits,
    /// All items. In order of receipt, as tickets grow.
    entries: BTreeMap<Ticket, Entry<T>>,
    lanes: HashMap<Option<u64>, QueueLane>,
    /// Lanes that have something queued and nothing running, in the order of their turns.
    ready: VecDeque<Option<u64>>,
    /// While it is careful.
    careful: Option<Careful>,
    next_ticket: u64,
    running: usize,
    bytes: usize,
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        let limits =
            Limits { at_once: limits.at_once.max(1), items: limits.items.max(1), bytes: limits.bytes.max(1) };
        Self {
            limits,
            entries: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            careful: None,
            next_ticket: 0,
            running: 0,
            bytes: 0,
        }
    }

    /// Is careful from here, until [`Queue::suspects_came`] was told and the last suspect is done. For a queue with nothing in it yet.
    /// `brief`: also ends at the first slow suspect, or with [`Queue::end_care`].
    pub fn begin_carefully(&mut self, brief: bool) {
        debug_assert!(self.entries.is_empty(), "what is queued already was not looked at");
        self.careful = Some(Careful::new(brief));
    }

    /// Whether the queue is briefly careful.
    pub fn is_briefly_careful(&self) -> bool {
        self.careful.as_ref().is_some_and(Careful::is_brief)
    }

    /// Ends the care: waiting suspects come first in their lanes, and a running one holds its lane.
    pub fn end_care(&mut self) {
        let Some(careful) = self.careful.take() else { return };
        let (alone, queued) = careful.into_tickets();
        if let Some(entry) = alone.and_then(|ticket| self.entries.get_mut(&ticket)) {
            entry.state = State::Running;
            self.lanes.entry(entry.item.lane).or_default().running = true;
            self.ready.retain(|lane| *lane != entry.item.lane);
        }
        for ticket in queued.into_iter().rev() {
            let Some(entry) = self.entries.get(&ticket) else { continue };
            let lane = self.lanes.entry(entry.item.lane).or_default();
            if !lane.running && lane.queued.is_empty() {
                self.ready.push_back(entry.item.lane);
            }
            lane.queued.push_front(ticket);
        }
    }

    /// No more suspects come.
    pub fn suspects_came(&mut self) {
        self.carefully(Careful::all_came);
    }

    /// Whether it is careful.
    pub fn is_careful(&self) -> bool {
        self.careful.is_some()
    }

    /// Handles a slow suspect: the next one no longer waits for it, or brief care ends.
    pub fn let_go(&mut self, ticket: Ticket) {
        if self.is_briefly_careful() {
            self.end_care();
        } else {
            self.carefully(|careful| careful.let_go(ticket));
        }
    }

    /// Notes that a started item's handler is about to be called. Returns false if the item was taken out; then it must not be
    /// called.
    pub fn begin(&mut self, ticket: Ticket) -> bool {
        match self.entries.get_mut(&ticket) {
            Some(entry) if entry.state != State::Queued => {
                entry.begun = true;
                true
            }
            _ => false,
        }
    }

    /// Queues a started item again whose handler was not called: first in its lane, or as the next suspect. Ignores other items.
    pub fn put_back(&mut self, ticket: Ticket) {
        let Some(entry) = self.entries.get_mut(&ticket).filter(|entry| !entry.begun) else { return };
        match std::mem::replace(&mut entry.state, State::Queued) {
            State::Queued => return,
            State::Running => {
                let lane = self.lanes.entry(entry.item.lane).or_default();
                lane.running = false;
                lane.queued.push_front(ticket);
                self.ready.push_front(entry.item.lane);
            }
            State::Alone => {
                if let Some(careful) = &mut self.careful {
                    careful.put_back(ticket);
                }
            }
        }
        self.running -= 1;
    }

    /// Tells the careful part something, after which it may be over.
    fn carefully(&mut self, tell: impl FnOnce(&mut Careful)) {
        if let Some(careful) = &mut self.careful {
            tell(careful);
        }
        self.careful.take_if(|careful| careful.is_over());
    }

    /// Whether an item of `bytes` bytes would be taken.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.entries.is_empty()
            || self.entries.len() < self.limits.items && self.bytes.saturating_add(bytes) <= self.limits.bytes
    }

    /// How full the queue would be with one more item of `bytes` bytes; above 1.0 it has no room for it.
    pub fn fill_with(&self, bytes: usize) -> f64 {
        if self.entries.is_empty() {
            return self.fill(1, bytes.min(self.limits.bytes));
        }
        self.fill(self.entries.len() + 1, self.bytes.saturating_add(bytes))
    }

    /// Puts an item behind all others of its lane.
    ///
    /// # Errors
    /// There is no room.
    pub fn push(&mut self, item: Item<T>) -> Result<Ticket, Full<T>> {
        if self.has_room(item.bytes) { Ok(self.push_over_bound(item)) } else { Err(Full(item)) }
    }

    /// Puts an item behind all others of its lane, room or not: for what was within bounds in another queue.
    pub fn push_over_bound(&mut self, item: Item<T>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.bytes += item.bytes;
        match &mut self.careful {
            Some(careful) if item.suspect => careful.push(ticket),
            _ => {
                let lane = self.lanes.entry(item.lane).or_default();
                if !lane.running && lane.queued.is_empty() {
                    self.ready.push_back(item.lane);
                }
                lane.queued.push_back(ticket);
            }
        }
        self.entries.insert(ticket, Entry { item: Arc::new(item), state: State::Queued, begun: false });
        ticket
    }

    /// Number of items that [`Queue::start_next`] can return now.
    pub fn startable(&self) -> usize {
        let waiting = match &self.careful {
            Some(careful) => usize::from(careful.may_start()),
            None => self.ready.len(),
        };
        waiting.min(self.limits.at_once.saturating_sub(self.running))
    }

    /// The item to start now, if one may start. It counts as running until [`Queue::done`].
    pub fn start_next(&mut self) -> Option<Started<T>> {
        if self.running >= self.limits.at_once {
            return None;
        }
        if let Some(careful) = &mut self.careful {
            let ticket = careful.start_next()?;
            return self.started(ticket, State::Alone);
        }
        let lane = self.lanes.get_mut(&self.ready.pop_front()?)?;
        let ticket = lane.queued.pop_front()?;
        lane.running = true;
        self.started(ticket, State::Running)
    }

    fn started(&mut self, ticket: Ticket, state: State) -> Option<Started<T>> {
        let Some(entry) = self.entries.get_mut(&ticket).filter(|entry| entry.state == State::Queued) else {
            debug_assert!(false, "what is to start is an entry that has not started");
            return None;
        };
        entry.state = state;
        self.running += 1;
        Some(Started { ticket, item: entry.item.clone(), alone: state == State::Alone })
    }

    /// A handler ended: its item is given up, its lane may go on. `None` if nothing with this ticket runs. The item is
    /// returned so that its owner can drop it outside of a lock.
    pub fn done(&mut self, ticket: Ticket) -> Option<Arc<Item<T>>> {
        let state = self.entries.get(&ticket)?.state;
        if state == State::Queued {
            return None;
        }
        let Entry { item, .. } = self.entries.remove(&ticket)?;
        self.running -= 1;
        self.bytes -= item.bytes;
        if state == State::Alone {
            self.carefully(|careful| careful.let_go(ticket));
        } else if let Some(lane) = self.lanes.get_mut(&item.lane) {
            lane.running = false;
            if lane.queued.is_empty() {
                self.lanes.remove(&item.lane);
            } else {
                self.ready.push_back(item.lane);
            }
        }
        Some(item)
    }

    /// Every item that is queued or runs, in order of receipt: by sequence within one session.
    pub fn pending(&self) -> impl Iterator<Item = Pending<'_, T>> {
        self.entries.iter().map(|(ticket, entry)| Pending {
            ticket: *ticket,
            item: &*entry.item,
            started: entry.state != State::Queued,
        })
    }

    /// Takes out all items whose handlers were not called, in order of receipt.
    pub fn abandon_queued(&mut self) -> Vec<Arc<Item<T>>> {
        let mut abandoned = Vec::with_capacity(self.entries.len() - self.running);
        self.entries.retain(|_, entry| {
            if !entry.begun {
                abandoned.push(entry.item.clone());
                self.running -= usize::from(entry.state != State::Queued);
                if entry.state == State::Running
                    && let Some(lane) = self.lanes.get_mut(&entry.item.lane)
                {
                    lane.running = false;
                }
            }
            entry.begun
        });
        self.bytes = self.entries.values().map(|entry| entry.item.bytes).sum();
        self.ready.clear();
        let entries = &self.entries;
        if let Some(careful) = &mut self.careful {
            careful.abandon_queued(|alone| entries.contains_key(&alone));
        }
        self.careful.take_if(|careful| careful.is_over());
        self.lanes.retain(|_, lane| {
            lane.queued.clear();
            lane.running
        });
        abandoned
    }

    /// Whether it is at most half full, by items and by bytes.
    pub fn at_most_half(&self) -> bool {
        self.entries.len() <= self.limits.items / 2 && self.bytes <= self.limits.bytes / 2
    }

    /// How many handlers run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How it is doing at `now`, on the clock of [`Item::received_at`].
    pub fn figures(&self, now: Duration) -> QueueFigures {
        let first = self.entries.first_key_value();
        QueueFigures {
            len: self.entries.len(),
            running: self.running,
            bytes: self.bytes,
            fill: self.fill(self.entries.len(), self.bytes),
            oldest: first.map(|(_, entry)| now.saturating_sub(entry.item.received_at)),
        }
    }

    fn fill(&self, items: usize, bytes: usize) -> f64 {
        let by_items = items as f64 / self.limits.items as f64;
        by_items.max(bytes as f64 / self.limits.bytes as f64)
    }
}
