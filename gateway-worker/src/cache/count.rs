//! Applies events to the counts and to membership.

use std::collections::HashMap;

use twilight_cache_inmemory::ResourceType;
use twilight_model::{
    gateway::{event::Event, payload::incoming::GuildCreate},
    guild::Guild,
    voice::VoiceState,
};

use super::{Book, members::Members};
use crate::{
    reading::Doubt,
    tally::{MOST_MEMBERS, NewGuild, Tally},
};

/// Counts an event. `doubt`: what of its guild could not be read.
pub(super) fn count(book: &mut Book, kept: ResourceType, event: &Event, doubt: Doubt, sequence: u64) {
    let Book { tally, members, .. } = book;
    // Then the count is the number of cached members.
    let are_all_cached = |tally: &Tally, members: &Members, guild: u64| {
        kept.contains(ResourceType::MEMBER)
            && members.match_count(guild, sequence)
            && tally.guild(guild).is_some_and(|known| known.members == Some(members.count(guild)))
    };
    match event {
        Event::GuildCreate(created) => match &**created {
            GuildCreate::Available(guild) => {
                members.forget(guild.id.get());
                if kept.contains(ResourceType::MEMBER) {
                    guild.members.iter().for_each(|member| members.put(guild.id.get(), member));
                }
                tally.guild_came(guild.id.get(), new_guild(guild, doubt));
                return;
            }
            GuildCreate::Unavailable(guild) => tally.guild_unavailable(guild.id.get()),
        },
        Event::GuildDelete(deleted) if deleted.unavailable == Some(true) => {
            tally.guild_unavailable(deleted.id.get());
        }
        Event::GuildDelete(deleted) => {
            members.forget(deleted.id.get());
            tally.guild_left(deleted.id.get());
        }
        Event::MemberAdd(added) => {
            let (guild, user) = (added.guild_id.get(), added.user.id.get());
            let all_cached = are_all_cached(tally, members, guild);
            // A cached member was counted already, by the guild or by an earlier copy of this event.
            let was_counted = members.match_count(guild, sequence) && members.get(guild, user).is_some();
            if !all_cached && !was_counted {
                tally.member(guild, user, true);
            }
            if kept.contains(ResourceType::MEMBER) {
                members.put(guild, &added.member);
            }
            if all_cached {
                tally.has_members(guild, members.count(guild));
            }
        }
        Event::MemberRemove(removed) => {
            let (guild, user) = (removed.guild_id.get(), removed.user.id.get());
            let all_cached = are_all_cached(tally, members, guild);
            if !all_cached {
                tally.member(guild, user, false);
            }
            members.remove(guild, user);
            if all_cached {
                tally.has_members(guild, members.count(guild));
            }
        }
        Event::MemberUpdate(updated) => members.update(updated),
        Event::MemberChunk(chunk) if kept.contains(ResourceType::MEMBER) => {
            chunk.members.iter().for_each(|member| members.put(chunk.guild_id.get(), member));
        }
        Event::MessageCreate(message) if kept.contains(ResourceType::MEMBER) => {
            if let (Some(guild), Some(member)) = (message.guild_id, &message.member) {
                members.put_partial(guild.get(), &message.author, member);
            }
        }
        Event::ChannelCreate(created) => {
            if let Some(guild) = created.guild_id {
                tally.channel_came(guild.get(), created.id.get());
            }
        }
        Event::ChannelUpdate(updated) => {
            if let Some(guild) = updated.guild_id {
                tally.has_channel(guild.get(), updated.id.get());
            }
        }
        Event::VoiceStateUpdate(update) => {
            if let Some(guild) = update.guild_id {
                tally.voice(
                    guild.get(),
                    update.user_id.get(),
                    update.channel_id.map(twilight_model::id::Id::get),
                );
                if let Some(member) = update.member.as_ref().filter(|_| kept.contains(ResourceType::MEMBER)) {
                    members.put(guild.get(), member);
                }
            }
        }
        _ => {}
    }
    if doubt != Doubt::NONE
        && let Some(touched) = super::changes::touched(event)
    {
        tally.doubt(touched.guild, doubt);
    }
}

fn new_guild(guild: &Guild, doubt: Doubt) -> NewGuild {
    let told = guild.member_count.filter(|count| *count <= MOST_MEMBERS);
    NewGuild {
        members: told.unwrap_or(guild.members.len() as u64),
        channels: guild.channels.iter().map(|channel| channel.id.get()).collect(),
        unnamed_channels: 0,
        in_voice: voices(&guild.voice_states),
        doubt: if told.is_none() { doubt.and(Doubt::COUNTS) } else { doubt },
    }
}

/// The voice channels of connected users.
pub(super) fn voices(states: &[VoiceState]) -> HashMap<u64, u64> {
    let in_channel = |state: &VoiceState| Some((state.user_id.get(), state.channel_id?.get()));
    states.iter().filter_map(in_channel).collect()
}
