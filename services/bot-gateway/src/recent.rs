//! The newest entries of the relay, for all clients of this worker. Clients that are further behind read the relay themselves.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay::EntryId;
use tokio::sync::watch;

use crate::live::LiveEvent;

/// The most entries, and about the most bytes, that are kept.
const MOST_EVENTS: usize = 8_192;
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Recent {
    contents: Mutex<Contents>,
    /// The newest entry that was looked at.
    grown: watch::Sender<EntryId>,
}

#[derive(Default)]
struct Contents {
    events: VecDeque<Arc<LiveEvent>>,
    bytes: usize,
    /// Every entry behind this one, and up to `to`, is here; `None` while the worker has no clients.
    from: Option<EntryId>,
    to: EntryId,
    /// Raised when entries were lost: what was read before does not go on.
    breaks: u64,
}

/// What is behind an entry.
pub(crate) enum Behind {
    /// These, and the entry up to which they go.
    Events(Vec<Arc<LiveEvent>>, EntryId),
    /// Nothing yet.
    Nothing,
    /// It is not here.
    Elsewhere,
    /// Entries were lost.
    Broken,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins behind this entry. `breaks`: what was read before does not go on.
    pub(crate) fn begin(&self, from: EntryId, breaks: bool) {
        let mut contents = self.lock();
        let breaks = contents.breaks + u64::from(breaks);
        *contents = Contents { from: Some(from), to: from, breaks, ..Contents::default() };
        drop(contents);
        self.grown.send_replace(from);
    }

    /// Keeps nothing more.
    pub(crate) fn end(&self) {
        let mut contents = self.lock();
        *contents = Contents { breaks: contents.breaks, ..Contents::default() };
    }

    /// Adds entries; every entry up to `to` is among them.
    pub(crate) fn add(&self, events: impl IntoIterator<Item = LiveEvent>, to: EntryId) {
        let mut contents = self.lock();
        for event in events {
            contents.bytes += event.size();
            contents.events.push_back(Arc::new(event));
        }
        contents.to = to;
        while contents.events.len() > MOST_EVENTS || contents.bytes > MOST_BYTES && contents.events.len() > 1
        {
            let Some(oldest) = contents.events.pop_front() else { break };
            contents.bytes -= oldest.size();
            contents.from = Some(oldest.id);
        }
        drop(contents);
        self.grown.send_replace(to);
    }

    /// Number of breaks so far.
    pub(crate) fn breaks(&self) -> u64 {
        self.lock().breaks
    }

    /// The entries behind one, `most` at most.
    pub(crate) fn behind(&self, after: EntryId, most: usize, breaks: u64) -> Behind {
        let contents = self.lock();
        if contents.breaks != breaks {
            return Behind::Broken;
        }
        if contents.from.is_none_or(|from| after < from) {
            return Behind::Elsewhere;
        }
        let first = contents.events.partition_point(|event| event.id <= after);
        let events: Vec<_> = contents.events.range(first..).take(most).cloned().collect();
        match events.last() {
            Some(last) => {
                let to = if events.len() < most { contents.to } else { last.id };
                Behind::Events(events, to)
            }
            None if contents.to > after => Behind::Events(Vec::new(), contents.to),
            None => Behind::Nothing,
        }
    }

    /// Waits until entries were added.
    pub(crate) fn changes(&self) -> watch::Receiver<EntryId> {
        self.grown.subscribe()
    }
}
