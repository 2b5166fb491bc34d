//! Splits a guild's object into its parts in one pass.

use super::{Broken, EXTRAS, Element, Kind, Losses, Part, list};
use crate::{
    object::{self, push_field},
    rules::{LARGEST_GUILD, LARGEST_OBJECT, MOST_MEMBERS},
    scan::Scan,
};

/// The content of a GUILD_CREATE or GUILD_UPDATE.
#[derive(Debug, Default)]
pub(crate) struct GuildText<'a> {
    pub(crate) id: u64,
    /// `None` when it is missing or cannot be read.
    pub(crate) name: Option<String>,
    /// `None` when it is missing or invalid.
    pub(crate) member_count: Option<u64>,
    pub(crate) is_unavailable: bool,
    /// An object with the fields that are kept nowhere else.
    pub(crate) core: String,
    /// An object with the lists in [`EXTRAS`].
    pub(crate) extras: String,
    /// The other lists, by [`Kind::place`]; `None` for each that is missing or not a list.
    pub(crate) lists: [Option<Vec<Element<'a>>>; 6],
}

impl<'a> GuildText<'a> {
    /// Splits the object into its parts. `Err` when the text is not JSON, or has no id.
    pub(crate) fn read(data: &'a str, losses: &mut Losses) -> Result<Self, Broken> {
        let mut guild = Self::default();
        let mut scan = Scan::new(data);
        let mut is_first = true;
        let mut odd = Losses::default();
        let (mut extras, mut has_odd_list) = ([None; EXTRAS.len()], false);
        scan.enter_object()?;
        while let Some(key) = scan.next_key(&mut is_first)? {
            let is_list = scan.peek() == Some(b'[');
            let name = object::meaning(key);
            // If a field comes twice, the last one counts.
            if let Some(kind) = Kind::LISTS.into_iter().find(|kind| name == kind.list_name()) {
                let place = &mut guild.lists[kind.place()];
                if is_list {
                    *place = Some(list(&mut scan, kind, &mut odd)?);
                    continue;
                }
                *place = None;
                odd.add(kind.part(), usize::from(scan.peek() != Some(b'n')));
            }
            let value = scan.value()?;
            let extra = EXTRAS.iter().position(|extra| name == *extra).map(|place| &mut extras[place]);
            let is_extra = is_list && extra.is_some();
            let largest = if is_extra { LARGEST_GUILD } else { LARGEST_OBJECT };
            let is_odd = value.is_deep
                || value.text.len() > largest
                || guild.core.len() + value.text.len() > LARGEST_GUILD * 2;
            odd.add(Part::Field, is_odd.into());
            if let Some(extra) = extra {
                *extra = (is_extra && !is_odd).then_some(value.text);
            }
            if is_odd || is_extra {
                continue;
            }
            has_odd_list |= EXTRAS.iter().any(|extra| name == *extra)
                || Kind::LISTS.iter().any(|kind| name == kind.list_name());
            push_field(&mut guild.core, key, value.text);
            match &*name {
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
        guild.core = object::close(guild.core);
        if has_odd_list {
            for (kind, _) in Kind::LISTS.iter().zip(&guild.lists).filter(|(_, list)| list.is_some()) {
                guild.core = object::without_field(&guild.core, kind.list_name());
            }
            for (name, _) in EXTRAS.iter().zip(extras).filter(|(_, list)| list.is_some()) {
                guild.core = object::without_field(&guild.core, name);
            }
        }
        for (name, value) in EXTRAS.iter().zip(extras) {
            match value {
                Some(value) if guild.extras.len() + value.len() <= LARGEST_GUILD * 2 => {
                    push_field(&mut guild.extras, name, value);
                }
                value => odd.add(Part::Field, usize::from(value.is_some())),
            }
        }
        guild.extras = object::close(guild.extras);
        // In the message of an outage the other fields do not matter.
        if !guild.is_unavailable {
            odd.parts().for_each(|(part, count)| losses.add(part, count));
        }
        Ok(guild)
    }

    /// Counts the required lists that this GUILD_CREATE lacks.
    pub(crate) fn count_missing(&self, losses: &mut Losses) {
        losses.add(Part::Channel, usize::from(self.lists[Kind::Channels.place()].is_none()));
    }
}
