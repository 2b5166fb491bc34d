//! Named oddities: what bots have met, as rows on top of the three mechanisms.

mod connections;
mod events;
mod rest;

use super::{Action, Moment, Script};
use crate::{
    faults::{Fault, FaultError, NewPreset},
    hub::Hub,
    report::{GuildState, PresetReport},
    world::GuildIndex,
};

/// One row.
struct Preset {
    name: &'static str,
    /// What a bot meets.
    what: &'static str,
    /// The public report; empty where operators told of it.
    source: &'static str,
    make: fn(&Scene<'_>) -> Result<Vec<Fault>, FaultError>,
}

/// What a preset is about.
struct Scene<'a> {
    hub: &'a Hub,
    wanted: &'a NewPreset,
}

impl Scene<'_> {
    /// The guild that was asked for, else the first that the bot is in and that has no outage.
    fn guild(&self) -> Result<GuildIndex, FaultError> {
        if let Some(id) = self.wanted.guild_id {
            return self.hub.world.find(id).ok_or(FaultError::UnknownGuild(id));
        }
        let mut all = 0..self.hub.world.all_guilds();
        all.find(|guild| self.hub.guild_state(*guild) == GuildState::Available).ok_or(FaultError::NoGuild)
    }

    /// A script with the preset's name and times.
    fn script(&self, at: Moment, actions: Vec<Action>) -> Script {
        Script {
            name: Some(self.wanted.name.clone()),
            shards: self.wanted.shards.clone(),
            times: self.wanted.times,
            ..Script::new(at, actions)
        }
    }
}

fn all() -> impl Iterator<Item = &'static Preset> {
    connections::PRESETS.iter().chain(events::PRESETS).chain(rest::PRESETS)
}

/// Whether there is a preset of this name.
pub(crate) fn exists(name: &str) -> bool {
    all().any(|preset| preset.name == name)
}

/// The whole table.
pub(crate) fn reports() -> Vec<PresetReport> {
    let report = |preset: &Preset| PresetReport {
        name: preset.name.to_owned(),
        what: preset.what.to_owned(),
        source: (!preset.source.is_empty()).then(|| preset.source.to_owned()),
    };
    all().map(report).collect()
}

/// The faults that a preset is made of.
///
/// # Errors
///
/// When there is no such preset, or it can't be.
pub(crate) fn faults(hub: &Hub, wanted: &NewPreset) -> Result<Vec<Fault>, FaultError> {
    let preset = all().find(|preset| preset.name == wanted.name);
    let preset = preset.ok_or_else(|| FaultError::UnknownPreset(wanted.name.clone()))?;
    (preset.make)(&Scene { hub, wanted })
}
