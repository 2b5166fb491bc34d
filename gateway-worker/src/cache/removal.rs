//! What twilight's store leaves behind when something goes, removed.

use twilight_model::{
    gateway::payload::incoming::{GuildDelete, MemberRemove, VoiceStateUpdate},
    id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
    user::User,
    voice::VoiceState,
};

use super::{Book, Contents};

impl Contents {
    /// The bot is not in a guild any more, or is told it again.
    pub(super) fn remove_guild(&self, book: &mut Book, guild: Id<GuildMarker>) {
        for user in book.tally.in_voice(guild.get()) {
            self.remove_voice(guild, user);
        }
        let creators = self.creators(guild);
        self.store.update(&GuildDelete { id: guild, unavailable: None });
        // With the guild gone this counts nobody; it lets users go that are of no other guild.
        for user in creators {
            self.store.update(&MemberRemove { guild_id: guild, user });
        }
    }

    /// The users that made the guild's emojis and stickers: twilight keeps them.
    fn creators(&self, guild: Id<GuildMarker>) -> Vec<User> {
        let store = &self.store;
        let emojis: Vec<_> = store.guild_emojis(guild).into_iter().flat_map(|ids| ids.iter().copied().collect::<Vec<_>>()).collect();
        let stickers: Vec<_> =
            store.guild_stickers(guild).into_iter().flat_map(|ids| ids.iter().copied().collect::<Vec<_>>()).collect();
        let of_emojis = emojis.into_iter().filter_map(|id| store.emoji(id)?.value().resource().user_id());
        let of_stickers = stickers.into_iter().filter_map(|id| store.sticker(id)?.value().resource().user_id());
        let mut users: Vec<Id<UserMarker>> = of_emojis.chain(of_stickers).collect();
        users.sort_unstable();
        users.dedup();
        users.into_iter().filter_map(|id| store.user(id).map(|user| user.value().clone())).collect()
    }

    /// A user is in no voice channel of a guild any more.
    pub(super) fn remove_voice(&self, guild: Id<GuildMarker>, user: u64) {
        let Some(user_id) = Id::new_checked(user) else { return };
        self.store.update(&VoiceStateUpdate(VoiceState {
            channel_id: None,
            deaf: false,
            guild_id: Some(guild),
            member: None,
            mute: false,
            self_deaf: false,
            self_mute: false,
            self_stream: false,
            self_video: false,
            session_id: String::new(),
            suppress: false,
            user_id,
            request_to_speak_timestamp: None,
        }));
    }
}
