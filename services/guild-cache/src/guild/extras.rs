//! The lists that share one block: emojis, stickers, stage instances, scheduled events and soundboard sounds.

use super::{Edit, Kind, with_field};
use crate::{
    event::extra_id,
    object::{all_fields, close, elements, field, id, number, push_field},
    rules::Resources,
};

/// The most elements of one of these lists.
const MOST: usize = 10_000;

/// Whether the resources include a list.
fn is_kept(list: &str, resources: Resources) -> bool {
    resources.has(match list {
        "emojis" => Resources::EMOJIS,
        "stickers" => Resources::STICKERS,
        "stage_instances" => Resources::STAGE_INSTANCES,
        "guild_scheduled_events" => Resources::SCHEDULED_EVENTS,
        _ => Resources::GUILDS,
    })
}

/// Returns only the lists that the resources include.
pub(crate) fn kept_extras(extras: &str, resources: Resources) -> String {
    let mut kept = String::new();
    for (list, value) in all_fields(extras).into_iter().filter(|(list, _)| is_kept(list, resources)) {
        push_field(&mut kept, list, value);
    }
    close(kept)
}

/// Whether the resources include all lists in `extras`.
pub(crate) fn keeps_extras(extras: &str, resources: Resources) -> bool {
    const ALL: Resources = Resources::GUILDS
        .and(Resources::EMOJIS)
        .and(Resources::STICKERS)
        .and(Resources::STAGE_INSTANCES)
        .and(Resources::SCHEDULED_EVENTS);
    resources.has(ALL) || all_fields(extras).into_iter().all(|(list, _)| is_kept(list, resources))
}

impl Edit<'_> {
    /// Returns only the lists that the cache keeps.
    pub(super) fn kept_extras(&self, extras: &str) -> String {
        kept_extras(extras, self.rules.resources)
    }

    pub(super) fn edit_extras(&mut self, with: impl FnOnce(&str) -> Option<String>) {
        self.edit_single(Kind::Extras, with);
    }

    /// Changes the elements of a list. `with` returns whether it has changed an element.
    fn edit_list(&mut self, list: &str, with: impl FnOnce(&mut Vec<String>) -> bool) {
        self.edit_extras(|extras| {
            let old = field(extras, list).and_then(elements).unwrap_or_default();
            let mut texts: Vec<String> = old.into_iter().map(str::to_owned).collect();
            with(&mut texts).then(|| with_field(extras, list, &format!("[{}]", texts.join(","))))
        });
    }

    pub(super) fn put_extra(&mut self, list: &str, id: u64, text: &str) {
        self.edit_list(list, |texts| {
            match texts.iter().position(|old| is_meant(list, old, id)) {
                Some(place) => text.clone_into(&mut texts[place]),
                None if texts.len() < MOST => texts.push(text.to_owned()),
                None => return false,
            }
            true
        });
    }

    pub(super) fn remove_extra(&mut self, list: &str, id: u64) {
        self.edit_list(list, |texts| {
            let before = texts.len();
            texts.retain(|old| !is_meant(list, old, id));
            texts.len() < before
        });
    }

    /// Removes the scheduled events of a deleted channel, for which Discord sends no events.
    pub(super) fn remove_events_of_channel(&mut self, channel: u64) {
        self.edit_list("guild_scheduled_events", |texts| {
            let before = texts.len();
            texts.retain(|old| field(old, "channel_id").and_then(id) != Some(channel));
            texts.len() < before
        });
    }

    /// Counts a user who starts or stops to follow a scheduled event.
    pub(super) fn follow(&mut self, event: u64, adds: bool) {
        let list = "guild_scheduled_events";
        self.edit_list(list, |texts| {
            let Some(old) = texts.iter_mut().find(|old| is_meant(list, old, event)) else { return false };
            let Some(count) = field(old, "user_count").and_then(number) else { return false };
            let count = if adds { count.saturating_add(1) } else { count.saturating_sub(1) };
            *old = with_field(old, "user_count", &count.to_string());
            true
        });
    }
}

fn is_meant(list: &str, element: &str, wanted: u64) -> bool {
    field(element, extra_id(list)).and_then(id) == Some(wanted)
}
