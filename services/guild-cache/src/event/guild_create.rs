//! A guild's object, taken apart in one pass.

use super::{Broken, EXTRAS, Element, Kind, Losses, Part, list};
use crate::{
    object::{self, is_key, push_field},
    rules::{LARGEST_GUILD, LARGEST_OBJECT, MOST_MEMBERS},
    scan::Scan,
};

/// What GUILD_CREATE or GUILD_UPDATE says.
#[derive(Debug, Default)]
pub(crate) struct GuildText<'a> {
    pub(crate) id: u64,
    /// `None` when it is missing or cannot be read.
    pub(crate) name: Option<String>,
    /// `None` when it is missing or cannot be.
    pub(crate) member_count: Option<u64>,
    pub(crate) is_unavailable: bool,
    /// An object of the fields that are kept nowhere else.
    pub(crate) core: String,
    /// An object of the lists in [`EXTRAS`].
    pub(crate) extras: String,
    /// The other lists, by [`Kind::place`]; `None` for each that is missing or no list.
    pub(crate) lists: [Option<Vec<Element<'a>>>; 6],
}

impl<'a> GuildText<'a> {
    /// Takes the object apart. `Err` when it is not JSON, or has no id.
    pub(crate) fn read(data: &'a str, losses: &mut Losses) -> Result<Self, Broken> {
        let mut guild = Self::default();
        let mut scan = Scan::new(data);
        let mut is_first = true;
        let mut odd = Losses::default();
        scan.enter_object()?;
        while let Some(key) = scan.next_key(&mut is_first)? {
            let is_list = scan.peek() == Some(b'[');
            if let Some(kind) = Kind::LISTS.into_iter().find(|kind| is_key(key, kind.list_name())) {
                if is_list {
                    guild.lists[kind.place()] = Some(list(&mut scan, kind, &mut odd)?);
                    continue;
                }
                if scan.peek() != Some(b'n') {
                    odd.add(kind.part(), 1);
                }
            }
            let value = scan.value()?;
            let is_extra = is_list && EXTRAS.iter().any(|name| is_key(key, name));
            let target = if is_extra { &mut guild.extras } else { &mut guild.core };
            let largest = if is_extra { LARGEST_GUILD } else { LARGEST_OBJECT };
            if value.is_deep
                || value.text.len() > largest
                || target.len() + value.text.len() > LARGEST_GUILD * 2
            {
                odd.add(Part::Field, 1);
                continue;
            }
            push_field(target, key, value.text);
            match key {
                "id" => guild.id = object::id(value.text).unwrap_or(0),
                "name" => guild.name = object::lossy_string(value.text),
                "member_count" => {
                    guild.member_count = object::number(value.text).filter(|count| *count <= MOST_MEMBERS);
                }
                "unavailable" => guild.is_unavailable = value.text == "true",
                _ => {}
            }
        }
        scan.end()?;
        if guild.id == 0 {
            return Err(Broken);
        }
        guild.core = object::close(std::mem::take(&mut guild.core));
        guild.extras = object::close(std::mem::take(&mut guild.extras));
        // Nothing else of an outage counts.
        if !guild.is_unavailable {
            odd.parts().for_each(|(part, count)| losses.add(part, count));
        }
        Ok(guild)
    }

    /// Counts what a GUILD_CREATE must have and this one has not.
    pub(crate) fn count_missing(&self, losses: &mut Losses) {
        losses.add(Part::Channel, usize::from(self.lists[Kind::Channels.place()].is_none()));
    }
}
