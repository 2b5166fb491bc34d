//! The guilds of the measurement: the guilds of discord-sim, with random names, roles, topics, more channels and more members, and of skewed
//! sizes. Everything follows from the seed and the guild's id.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use discord_sim::{Control, ShapeGuild};
use serde_json::{Value, json};

use crate::{
    verdict::{Known, Truth},
    world::{Random, Size, World, guild},
};

/// The drawn part of one guild.
fn drawn(seed: u64, id: u64) -> World {
    let mut random = Random(seed ^ id);
    let size = Size::skewed(&mut random);
    guild(&mut random, size)
}

/// Gives a guild its drawn content. Channels, members and voice states of the simulator stay, because its messages name them.
fn shaped(seed: u64, id: u64, body: &[u8]) -> Vec<u8> {
    let mut guild: Value = serde_json::from_slice(body).expect("the simulator writes JSON");
    let drawn: Value = serde_json::from_str(&drawn(seed, id).text).expect("drawn guilds are JSON");
    let own_channels = guild["channels"].as_array().map_or(0, Vec::len);
    for field in ["name", "icon", "emojis"] {
        guild[field] = drawn[field].clone();
    }
    let mut roles = drawn["roles"].clone();
    roles[0]["id"] = json!(id.to_string());
    roles[0]["name"] = json!("@everyone");
    guild["roles"] = roles;
    for field in ["channels", "members", "voice_states"] {
        let more = drawn[field].as_array().cloned().unwrap_or_default();
        if let Some(items) = guild[field].as_array_mut() {
            items.extend(more);
        }
    }
    // The simulator's own channels, which come first, get names and topics of drawn channels.
    let names = drawn["channels"].as_array().cloned().unwrap_or_default();
    for (place, channel) in
        guild["channels"].as_array_mut().into_iter().flatten().take(own_channels).enumerate()
    {
        let other = &names[place % names.len()];
        channel["name"] = other["name"].clone();
        if channel.get("topic").is_some() {
            channel["topic"] = other["topic"].clone();
        }
    }
    serde_json::to_vec(&guild).expect("JSON is written into memory")
}

/// Returns what gives guilds their content, and a counter of the bytes of all GUILD_CREATEs that it wrote.
pub(crate) fn shape(seed: u64) -> (ShapeGuild, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let shape: ShapeGuild = Arc::new(move |id, body| {
        let body = shaped(seed, id.0, &body);
        counter.fetch_add(body.len() as u64, Ordering::Relaxed);
        body
    });
    (shape, written)
}

/// Returns what the right answers about all guilds are.
pub(crate) fn truth(control: &Control, seed: u64, guilds: u32) -> Truth {
    let all = control.guilds(guilds as usize, 1).into_iter();
    let known = all.map(|report| {
        let drawn: Value =
            serde_json::from_str(&drawn(seed, report.id.0).text).expect("drawn guilds are JSON");
        let name = drawn["name"].as_str().unwrap_or_default().to_owned();
        (report.id.0, Known { name, members: report.member_count })
    });
    Truth(known.collect())
}

/// Describes the drawn sizes in one line.
pub(crate) fn sizes(truth: &Truth, seed: u64) -> String {
    let mut sizes: Vec<usize> = truth.0.keys().map(|id| drawn(seed, *id).text.len()).collect();
    sizes.sort_unstable();
    let total: usize = sizes.iter().sum();
    let largest: usize = sizes.iter().rev().take(sizes.len() / 10).sum();
    format!(
        "{} guilds, drawn content {:.0} MB: median {:.1} kB, mean {:.1} kB, largest {:.0} kB; the largest tenth has {:.0} % of it",
        sizes.len(),
        total as f64 / 1e6,
        sizes.get(sizes.len() / 2).copied().unwrap_or_default() as f64 / 1e3,
        total as f64 / 1e3 / sizes.len().max(1) as f64,
        sizes.last().copied().unwrap_or_default() as f64 / 1e3,
        largest as f64 / total.max(1) as f64 * 100.0
    )
}
