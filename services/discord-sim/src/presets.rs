//! Named [oddities](crate::odd) that bots have met, as a table over the three mechanisms.

mod connections;
mod events;
mod rest;

use crate::{
    event::ServerInfo,
    fault_error::FaultError,
    faults::{Fault, NewPreset},
    odd::{Action, Moment, Script},
    report::PresetReport,
    world::{GuildIndex, VoiceChanges, World},
};
use std::sync::Arc;

/// A row of the table.
struct Preset {
    name: &'static str,
    /// The effect on a bot.
    what: &'static str,
    /// The public report; empty if operators reported it.
    source: &'static str,
    make: fn(&PresetContext<'_>) -> Result<Vec<Fault>, FaultError>,
}

/// State of the simulator that presets depend on.
pub(crate) struct PresetInput<'a> {
    pub(crate) world: &'a World,
    pub(crate) server: &'a ServerInfo,
    /// Recommended shard total.
    pub(crate) shards: u32,
    /// First guild of the bot without an outage.
    pub(crate) first_available: Option<GuildIndex>,
    /// Voice moves in a guild.
    pub(crate) voice: &'a dyn Fn(GuildIndex) -> Arc<VoiceChanges>,
}

/// Parameters of a preset.
struct PresetContext<'a> {
    input: &'a PresetInput<'a>,
    wanted: &'a NewPreset,
}

impl PresetContext<'_> {
    /// Returns the requested guild, or the bot's first guild without an outage.
    fn guild(&self) -> Result<GuildIndex, FaultError> {
        if let Some(id) = self.wanted.guild_id {
            return self.input.world.find(id).ok_or(FaultError::UnknownGuild(id));
        }
        self.input.first_available.ok_or(FaultError::NoGuild)
    }

    /// Builds a script with the preset's name and times.
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

/// Returns whether a preset with this name exists.
pub(crate) fn exists(name: &str) -> bool {
    all().any(|preset| preset.name == name)
}

/// Lists all presets.
pub(crate) fn reports() -> Vec<PresetReport> {
    let report = |preset: &Preset| PresetReport {
        name: preset.name.to_owned(),
        what: preset.what.to_owned(),
        source: (!preset.source.is_empty()).then(|| preset.source.to_owned()),
    };
    all().map(report).collect()
}

/// Returns the faults of a preset.
///
/// # Errors
///
/// The preset is unknown, or impossible here.
pub(crate) fn faults(input: &PresetInput<'_>, wanted: &NewPreset) -> Result<Vec<Fault>, FaultError> {
    let preset = all().find(|preset| preset.name == wanted.name);
    let preset = preset.ok_or_else(|| FaultError::UnknownPreset(wanted.name.clone()))?;
    (preset.make)(&PresetContext { input, wanted })
}
