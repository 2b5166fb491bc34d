//! Named [oddities](crate::odd) that bots have met, as a table over the three mechanisms.

mod connections;
mod events;
mod rest;

use crate::{
    event::Origin,
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
    make: fn(&Scene<'_>) -> Result<Vec<Fault>, FaultError>,
}

/// The state of the simulator that presets depend on.
pub(crate) struct PresetInput<'a> {
    pub(crate) world: &'a World,
    pub(crate) origin: &'a Origin,
    /// The recommended shard total.
    pub(crate) shards: u32,
    /// The first of the bot's guilds without an outage.
    pub(crate) first_available: Option<GuildIndex>,
    /// The members of a guild that moved between voice channels.
    pub(crate) voice: &'a dyn Fn(GuildIndex) -> Arc<VoiceChanges>,
}

/// Parameters of a preset.
struct Scene<'a> {
    input: &'a PresetInput<'a>,
    wanted: &'a NewPreset,
}

impl Scene<'_> {
    /// The requested guild, or else the first one of the bot's without an outage.
    fn guild(&self) -> Result<GuildIndex, FaultError> {
        if let Some(id) = self.wanted.guild_id {
            return self.input.world.find(id).ok_or(FaultError::UnknownGuild(id));
        }
        self.input.first_available.ok_or(FaultError::NoGuild)
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

/// Whether a preset of this name exists.
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

/// Returns the faults of a preset.
///
/// # Errors
///
/// The preset is unknown, or impossible here.
pub(crate) fn faults(input: &PresetInput<'_>, wanted: &NewPreset) -> Result<Vec<Fault>, FaultError> {
    let preset = all().find(|preset| preset.name == wanted.name);
    let preset = preset.ok_or_else(|| FaultError::UnknownPreset(wanted.name.clone()))?;
    (preset.make)(&Scene { input, wanted })
}
