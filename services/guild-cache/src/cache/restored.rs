//! Guilds that are restored from records.

use super::{Codec, Event, Guild, Losses, RecordKey, ShardCache, ShardDoubt};
use crate::{doubt::Doubt, event::GuildText, restore::GuildFacts, rules::MOST_MEMBERS};

impl ShardCache {
    pub(crate) fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Adds a restored guild. `touched`: records to write again or to remove.
    pub(crate) fn restore_guild(&mut self, guild: Guild, touched: Vec<RecordKey>) {
        if let Some(slot) = self.guilds.remove(&guild.id) {
            self.edit_slot_away(slot);
        }
        for key in touched {
            self.changes.note(key);
        }
        let slot = self.insert(guild);
        self.edit(slot, &mut Losses::default(), |edit| {
            edit.index_users();
        });
    }

    pub(crate) fn restore_doubt(&mut self, doubt: Option<ShardDoubt>) {
        self.doubt = doubt.or(self.doubt);
    }

    /// Adds a guild from records of another format. `text`: a GUILD_CREATE made from these records.
    pub(crate) fn adopt_text(&mut self, text: GuildText<'_>, facts: &GuildFacts, mut losses: Losses) {
        let slot = self.slot_for(text.id);
        self.sequence = facts.stamp;
        self.edit(slot, &mut losses, |edit| {
            edit.apply(Event::Came(Box::new(text)));
            edit.guild.doubt = Doubt::of_bits(facts.doubt).and(edit.losses.doubt());
            edit.guild.members = facts.members.map(|members| members.min(MOST_MEMBERS));
            edit.guild.is_unavailable = facts.is_unavailable;
            edit.guild.stamp = facts.stamp;
        });
    }
}
