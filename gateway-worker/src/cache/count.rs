//! What each event means for the counts.

use std::collections::HashSet;

use twilight_gateway::Event;
use twilight_model::gateway::payload::incoming::GuildCreate;

use crate::tally::{NewGuild, Tally};

/// Counts an event.
pub(super) fn count(tally: &mut Tally, event: &Event) {
    match event {
        Event::GuildCreate(created) => match &**created {
            GuildCreate::Available(guild) => {
                let new = NewGuild {
                    members: guild.member_count.unwrap_or(0),
                    channels: guild.channels.len() as u32,
                    in_voice: voices(&guild.voice_states),
                };
                tally.guild_came(guild.id.get(), new);
            }
            GuildCreate::Unavailable(guild) => tally.guild_unavailable(guild.id.get()),
        },
        Event::GuildDelete(deleted) if deleted.unavailable == Some(true) => {
            tally.guild_unavailable(deleted.id.get());
        }
        Event::GuildDelete(deleted) => tally.guild_left(deleted.id.get()),
        Event::MemberAdd(added) => tally.member(added.guild_id.get(), 1),
        Event::MemberRemove(removed) => tally.member(removed.guild_id.get(), -1),
        Event::ChannelCreate(created) => {
            if let Some(guild) = created.guild_id {
                tally.channel(guild.get(), 1);
            }
        }
        Event::ChannelDelete(deleted) => {
            if let Some(guild) = deleted.guild_id {
                tally.channel(guild.get(), -1);
            }
        }
        Event::VoiceStateUpdate(update) => {
            if let Some(guild) = update.guild_id {
                tally.voice(guild.get(), update.user_id.get(), update.channel_id.is_some());
            }
        }
        _ => {}
    }
}

fn voices(states: &[twilight_model::voice::VoiceState]) -> HashSet<u64> {
    states.iter().filter(|state| state.channel_id.is_some()).map(|state| state.user_id.get()).collect()
}
