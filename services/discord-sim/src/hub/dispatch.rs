//! Selects the sessions that get an event.

use super::{Hub, State};
use crate::{
    event::{Event, PrebuiltEvent},
    fault_error::FaultError,
    report::{Dispatched, GuildState},
    shard::Shard,
    world::{GuildIndex, Message, World, time},
};
use std::sync::Arc;

/// Draws of a random guild before a message is skipped because none was available.
const TRIES: usize = 32;

impl State {
    /// Dispatches an event to every session of its guild's shard, for any shard total. An event without a guild goes to shard 0.
    /// [Source](https://docs.discord.com/developers/events/gateway#sharding).
    pub(super) fn dispatch(&self, world: &World, event: &Event) -> Vec<Dispatched> {
        let id = event.guild().map(|guild| world.head(guild).id);
        self.dispatch_where(event, |shard| shard.number == id.map_or(0, |id| id.shard(shard.total)))
    }

    /// Dispatches an event to the shards that `wants` selects, regardless of its guild.
    pub(super) fn dispatch_where(&self, event: &Event, wants: impl Fn(Shard) -> bool) -> Vec<Dispatched> {
        let mut dispatched = Vec::new();
        for (total, numbers) in &self.routes {
            let numbers =
                numbers.iter().filter(|(number, _)| wants(Shard { number: **number, total: *total }));
            for cell in numbers.flat_map(|(_, cells)| cells) {
                let mut session = cell.lock();
                let Some(sequence) = session.dispatch(event.clone()) else { continue };
                let (session_id, shard) = (session.params.session_id.clone(), session.params.shard);
                drop(session);
                cell.notify();
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
    /// Dispatches an event to every session that gets it.
    pub(crate) fn dispatch(&self, made: PrebuiltEvent) -> Vec<Dispatched> {
        self.lock().dispatch(&self.world, &Event::Prebuilt(Arc::new(made)))
    }

    /// Dispatches an event to the sessions of these shards, regardless of its guild.
    pub(crate) fn dispatch_to(&self, made: PrebuiltEvent, shards: &[u32]) -> Vec<Dispatched> {
        self.lock().dispatch_where(&Event::Prebuilt(Arc::new(made)), |shard| shards.contains(&shard.number))
    }

    /// Writes a person's message in a guild. Returns its serial and the sessions that get it.
    ///
    /// # Errors
    ///
    /// The guild is not available.
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

    /// Writes `count` messages in random guilds.
    pub(crate) fn write_messages(&self, count: u64) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(last) = self.world.all_guilds().checked_sub(1) else { return };
        // Spare guilds are drawn only after the bot has joined one.
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
