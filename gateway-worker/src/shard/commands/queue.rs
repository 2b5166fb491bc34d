//! The waiting commands of one shard, and which goes next. Pure: time is an argument.
//!
//! A guild's flood of requests for members must not hold up other guilds: they go out in turns by guild, they leave a part of Discord's
//! sends to voice and presence, and when there is no room for another, it is taken from the guild that has most.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// Requests for members that wait, and voice states that wait, one for each guild.
const WAITING: usize = 1_000;
/// Sends that requests for members leave to voice and presence, of those that Discord allows in a minute.
const KEPT_FROM_MEMBERS: u8 = 30;
/// While both wait, one request for members goes out after this many voice states.
const VOICE_IN_A_ROW: u32 = 3;
/// Discord ignores a sixth presence within 20 s
/// ([Update Presence](https://discord.com/developers/docs/events/gateway-events#update-presence)). A second more, as the way to Discord
/// takes longer at one time than at another.
const PRESENCES: usize = 5;
const PRESENCES_IN: Duration = Duration::from_secs(21);

/// What kind of command it is, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandClass {
    Presence,
    Voice(u64),
    Members(u64),
}

/// What had to give way to a command that was taken in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Displaced<T> {
    /// It is of the same kind and guild, and older.
    Older(T),
    /// The last one of the guild that has most.
    Last(T),
}

/// When something can go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextSend {
    /// Now.
    Now,
    /// Not before then.
    At(Instant),
    /// When more sends are free.
    WhenFree,
    /// Nothing waits.
    Nothing,
}

#[derive(Debug)]
struct QueueEntry<T> {
    ticket: u64,
    item: T,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Queue<T> {
    next_ticket: u64,
    presence: Option<QueueEntry<T>>,
    /// The first is next.
    voice: VecDeque<(u64, QueueEntry<T>)>,
    members: HashMap<u64, VecDeque<QueueEntry<T>>>,
    /// The guilds in `members`, each once; the first is next.
    turns: VecDeque<u64>,
    members_waiting: usize,
    /// Voice states that went out since a request for members did.
    voice_in_a_row: u32,
    /// When presences went out lately.
    presences: VecDeque<Instant>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            next_ticket: 0,
            presence: None,
            voice: VecDeque::new(),
            members: HashMap::new(),
            turns: VecDeque::new(),
            members_waiting: 0,
            voice_in_a_row: 0,
            presences: VecDeque::new(),
        }
    }
}

impl<T> Queue<T> {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        usize::from(self.presence.is_some()) + self.voice.len() + self.members_waiting
    }

    /// A presence waits.
    pub(super) fn has_presence(&self) -> bool {
        self.presence.is_some()
    }

    /// Takes a command in: its ticket, and what gave way to it. Gives the command back when there is no room.
    pub(super) fn push(&mut self, class: CommandClass, item: T) -> Result<(u64, Option<Displaced<T>>), T> {
        let ticket = self.next_ticket;
        let waiting = QueueEntry { ticket, item };
        let displaced = match class {
            CommandClass::Presence => {
                self.presence.replace(waiting).map(|older| Displaced::Older(older.item))
            }
            CommandClass::Voice(guild) => self.push_voice(guild, waiting)?.map(Displaced::Older),
            CommandClass::Members(guild) => self.push_members(guild, waiting)?.map(Displaced::Last),
        };
        self.next_ticket += 1;
        Ok((ticket, displaced))
    }

    fn push_voice(&mut self, guild: u64, waiting: QueueEntry<T>) -> Result<Option<T>, T> {
        if let Some((_, older)) = self.voice.iter_mut().find(|(other, _)| *other == guild) {
            // It keeps its guild's turn.
            return Ok(Some(std::mem::replace(older, waiting).item));
        }
        if self.voice.len() >= WAITING {
            return Err(waiting.item);
        }
        self.voice.push_back((guild, waiting));
        Ok(None)
    }

    fn push_members(&mut self, guild: u64, waiting: QueueEntry<T>) -> Result<Option<T>, T> {
        let mut displaced = None;
        if self.members_waiting >= WAITING {
            let own = self.members.get(&guild).map_or(0, VecDeque::len);
            let most = self.members.iter().max_by_key(|(_, list)| list.len());
            match most.map(|(most, list)| (*most, list.len())) {
                Some((most, count)) if count > own + 1 => displaced = self.take_last(most),
                _ => return Err(waiting.item),
            }
        }
        let list = self.members.entry(guild).or_default();
        if list.is_empty() {
            self.turns.push_back(guild);
        }
        list.push_back(waiting);
        self.members_waiting += 1;
        Ok(displaced)
    }

    /// Returns when something can go out, with `free` sends.
    pub(super) fn next(&self, now: Instant, free: u8) -> NextSend {
        if self.len() == 0 {
            return NextSend::Nothing;
        }
        let members = self.members_waiting > 0 && free > KEPT_FROM_MEMBERS;
        let presence_at = self.presence.as_ref().map(|_| self.presence_from(now));
        if free > 0 && (!self.voice.is_empty() || members || presence_at.is_some_and(|at| at <= now)) {
            return NextSend::Now;
        }
        match presence_at {
            Some(at) if at > now && self.members_waiting == 0 => NextSend::At(at),
            _ => NextSend::WhenFree,
        }
    }

    /// Takes out the next command, with `free` sends.
    pub(super) fn take(&mut self, now: Instant, free: u8) -> Option<(CommandClass, T)> {
        if free == 0 {
            return None;
        }
        if self.presence.is_some() && self.presence_from(now) <= now {
            let waiting = self.presence.take()?;
            if self.presences.len() >= PRESENCES {
                self.presences.pop_front();
            }
            self.presences.push_back(now);
            return Some((CommandClass::Presence, waiting.item));
        }
        let voice_waits = !self.voice.is_empty();
        let members_may = self.members_waiting > 0 && free > KEPT_FROM_MEMBERS;
        if members_may && (!voice_waits || self.voice_in_a_row >= VOICE_IN_A_ROW) {
            self.voice_in_a_row = 0;
            return self.take_members();
        }
        let (guild, waiting) = self.voice.pop_front()?;
        self.voice_in_a_row = self.voice_in_a_row.saturating_add(1);
        Some((CommandClass::Voice(guild), waiting.item))
    }

    fn take_members(&mut self) -> Option<(CommandClass, T)> {
        let guild = self.turns.pop_front()?;
        let list = self.members.get_mut(&guild)?;
        let waiting = list.pop_front()?;
        if list.is_empty() {
            self.members.remove(&guild);
        } else {
            self.turns.push_back(guild);
        }
        self.members_waiting -= 1;
        Some((CommandClass::Members(guild), waiting.item))
    }

    fn take_last(&mut self, guild: u64) -> Option<T> {
        let list = self.members.get_mut(&guild)?;
        let waiting = list.pop_back()?;
        self.members_waiting -= 1;
        self.forget_if_empty(guild);
        Some(waiting.item)
    }

    fn forget_if_empty(&mut self, guild: u64) {
        if self.members.get(&guild).is_some_and(VecDeque::is_empty) {
            self.members.remove(&guild);
            self.turns.retain(|other| *other != guild);
        }
    }

    /// Takes out the command with this ticket, if it still waits.
    pub(super) fn remove(&mut self, class: CommandClass, ticket: u64) -> Option<T> {
        match class {
            CommandClass::Presence => {
                self.presence.take_if(|waiting| waiting.ticket == ticket).map(|it| it.item)
            }
            CommandClass::Voice(_) => {
                let at = self.voice.iter().position(|(_, waiting)| waiting.ticket == ticket)?;
                self.voice.remove(at).map(|(_, waiting)| waiting.item)
            }
            CommandClass::Members(guild) => {
                let list = self.members.get_mut(&guild)?;
                let at = list.iter().position(|waiting| waiting.ticket == ticket)?;
                let waiting = list.remove(at)?;
                self.members_waiting -= 1;
                self.forget_if_empty(guild);
                Some(waiting.item)
            }
        }
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let presence = self.presence.take().into_iter();
        let voice = self.voice.drain(..).map(|(_, waiting)| waiting);
        let members = self.members.drain().flat_map(|(_, list)| list);
        let all = presence.chain(voice).chain(members).map(|waiting| waiting.item).collect();
        self.turns.clear();
        self.members_waiting = 0;
        all
    }

    /// From when a presence may go out.
    fn presence_from(&self, now: Instant) -> Instant {
        match self.presences.front() {
            Some(oldest) if self.presences.len() >= PRESENCES => (*oldest + PRESENCES_IN).max(now),
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests;
