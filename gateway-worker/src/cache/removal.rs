//! Removes what twilight's store would leave behind, and keeps out what it could never remove.

use twilight_model::{
    channel::message::Sticker,
    gateway::payload::incoming::{
        GuildCreate, GuildDelete, GuildEmojisUpdate, GuildStickersUpdate, VoiceStateUpdate,
    },
    guild::{Emoji, Guild},
    id::{Id, marker::GuildMarker},
    voice::VoiceState,
};

use super::{Book, Contents};

impl Contents {
    /// Removes a guild that the bot has left, or that is about to be stored again.
    pub(super) fn remove_guild(&self, book: &mut Book, guild: Id<GuildMarker>) {
        for user in book.tally.in_voice(guild.get()) {
            self.remove_voice(guild, user);
        }
        self.store.update(&GuildDelete { id: guild, unavailable: None });
    }

    /// Stores a new or repeated guild.
    pub(super) fn store_guild(&self, book: &mut Book, created: &GuildCreate, guild: &Guild) {
        self.remove_guild(book, guild.id);
        let has_creators = guild.emojis.iter().any(|emoji| emoji.user.is_some())
            || guild.stickers.iter().any(|sticker| sticker.user.is_some());
        if has_creators {
            let mut guild = guild.clone();
            without_creators(&mut guild.emojis, &mut guild.stickers);
            self.store.update(&GuildCreate::Available(guild));
        } else {
            self.store.update(created);
        }
    }

    /// Replaces a guild's emojis.
    pub(super) fn store_emojis(&self, update: &GuildEmojisUpdate) {
        let mut update = update.clone();
        without_creators(&mut update.emojis, &mut []);
        self.store.update(&update);
    }

    /// Replaces a guild's stickers.
    pub(super) fn store_stickers(&self, update: &GuildStickersUpdate) {
        let mut update = update.clone();
        without_creators(&mut [], &mut update.stickers);
        self.store.update(&update);
    }

    /// Removes a user's voice state.
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

/// Drops the creators of emojis and stickers: twilight would keep these users for ever, and Discord rarely sends them.
fn without_creators(emojis: &mut [Emoji], stickers: &mut [Sticker]) {
    for emoji in emojis {
        emoji.user = None;
    }
    for sticker in stickers {
        sticker.user = None;
    }
}
