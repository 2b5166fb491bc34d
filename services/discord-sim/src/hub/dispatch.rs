//! Which sessions get an event.

use super::{Hub, State};
use crate::{
    event::{Event, Made},
    fault_error::FaultError,
    report::{Dispatched, GuildState},
    shard::Shard,
    world::{GuildIndex, Message, World, time},
};
use std::sync::Arc;

/// How often a random guild is drawn until one is available.
const TRIES: usize = 32;

impl State {
    /// Gives an event to every session on its guild's shard, of whatever total; without a guild to shard 0.
    /// [Source](https://docs.discord.com/developers/events/gateway#sharding).
    pub(super) fn dispatch(&self, world: &World, event: &Event) -> Vec<Dispatched> {
        let id = event.guild().map(|guild| world.head(guild).id);
        self.dispatch_where(event, |shard| shard.number == id.map_or(0, |id| id.shard(shard.total)))
    }

    /// As [`dispatch`](Self::dispatch), but to the shards that `wants` selects, for any guild.
    pub(super) fn dispatch_where(&self, event: &Event, wants: impl Fn(Shard) -> bool) -> Vec<Dispatched> {
        let mut dispatched = Vec::new();
        for (total, numbers) in &self.routes {
            let numbers =
                numbers.iter().filter(|(number, _)| wants(Shard { number: **number, total: *total }));
            for cell in numbers.flat_map(|(_, cells)| cells) {
                let mut session = cell.lock();
                let Some(sequence) = session.dispatch(event.clone()) else { continue };
                let (session_id, shard) = (session.sight.session_id.clone(), session.sight.shard);
                drop(session);
                cell.ring();
                dispatched.push(Dispatched { session_id, shard, sequence });
            }
        }
        dispatched
    }

    fn write_message(
        &mut self,
        world: &World,
        guild: GuildIndex,
        content: Option<Arc<str>>,
    ) -> (u64, Vec<Dispatched>) {
        self.messages += 1;
        let serial = self.messages;
        let message = Message { guild, serial, at_ms: time::now_ms(), content };
        let dispatched = self.dispatch(world, &Event::Message(message));
        self.messages_dispatched += u64::from(!dispatched.is_empty());
        (serial, dispatched)
    }
}

impl Hub {
    /// Gives an event that has just happened to every session that wants it.
    pub(crate) fn dispatch(&self, made: Made) -> Vec<Dispatched> {
        self.lock().dispatch(&self.world, &Event::Made(Arc::new(made)))
    }

    /// Sends an event to these shards' sessions, for any guild.
    pub(crate) fn dispatch_to(&self, made: Made, shards: &[u32]) -> Vec<Dispatched> {
        self.lock().dispatch_where(&Event::Made(Arc::new(made)), |shard| shards.contains(&shard.number))
    }

    /// Lets somebody write in a guild; returns the message's serial and who gets it.
    ///
    /// # Errors
    ///
    /// When the guild is not available.
    pub(crate) fn write_message(
        &self,
        guild: GuildIndex,
        content: Option<String>,
    ) -> Result<(u64, Vec<Dispatched>), FaultError> {
        let mut state = self.lock();
        if state.guilds[guild as usize] != GuildState::Available {
            return Err(FaultError::NotAvailable(self.world.head(guild).id));
        }
        Ok(state.write_message(&self.world, guild, content.map(Arc::from)))
    }

    /// Lets people write `count` messages in guilds drawn at random.
    pub(crate) fn write_messages(&self, count: u64) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(last) = self.world.all_guilds().checked_sub(1) else { return };
        // Spare guilds are tried only once the bot has joined one.
        let last = state.never_joined.first().map_or(last, |spare| spare.saturating_sub(1));
        for _ in 0..count {
            for _ in 0..TRIES {
                let guild = state.draw.range(0, u64::from(last)) as GuildIndex;
                if state.guilds[guild as usize] == GuildState::Available {
                    state.write_message(&self.world, guild, None);
                    break;
                }
            }
        }
    }
}
