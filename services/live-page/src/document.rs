//! The data as the page gets it: JSON in sections, and columns of numbers for the shards. Pure.
//!
//! A page gets a *full* document first, then *changes*: the sections that differ from the second before, and of each column the
//! places that differ, or all of it when they are many. 25,000 shards are half a megabyte in full.

use std::fmt::Write as _;

use fleet_model::{Problem, ShardStatus, WorkerFigures};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{FleetData, rates::Rates};

/// The most shards that are listed because they are not ready.
const UNREADY: usize = 200;

/// The most problems.
const PROBLEMS: usize = 200;

/// The longest text of a problem or a shard, in characters.
const LONGEST: usize = 600;

/// Stands for an unknown number in a column, such as the states of shards on a standby.
const UNKNOWN: i32 = -1;

/// The document of one second.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// How old the data was, in milliseconds, and the time on this machine, in milliseconds since the Unix epoch.
    age_ms: u64,
    now_unix_ms: u64,
    /// Names with JSON texts.
    sections: Vec<(&'static str, String)>,
    /// Names with a number for each shard.
    columns: Vec<(&'static str, Vec<i32>)>,
}

impl Document {
    pub(crate) fn new(fleet: &FleetData, rates: &Rates, now_unix_ms: u64) -> Self {
        let shards = &fleet.shards;
        let in_order = shards.iter().enumerate().all(|(place, shard)| place == shard.number as usize);
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let mut numbers = Vec::new();
        if !in_order {
            numbers.extend(shards.iter().map(|shard| number(shard.number)));
        }
        let columns = vec![
            ("number", numbers),
            (
                "status",
                shards
                    .iter()
                    .map(|shard| if fleet.acting { status_code(shard.status) } else { UNKNOWN })
                    .collect(),
            ),
            ("worker", shards.iter().map(|shard| shard.worker.map_or(UNKNOWN, number)).collect()),
            ("guilds", shards.iter().map(|shard| number(shard.guilds)).collect()),
            ("latency", shards.iter().map(|shard| shard.latency_ms.map_or(UNKNOWN, rounded)).collect()),
            ("rate", (0..shards.len()).map(|place| rates.at(place).map_or(UNKNOWN, tenths)).collect()),
        ];
        Self { age_ms: ms(fleet.age), now_unix_ms, sections: sections(fleet), columns }
    }

    /// Returns everything.
    pub(crate) fn full(&self, sequence: u64) -> String {
        let mut text = self.head(sequence);
        for (name, section) in &self.sections {
            add(&mut text, name, section);
        }
        text.push_str(",\"all\":{");
        write_columns(&mut text, self.columns.iter().map(|(name, column)| (*name, column.as_slice())));
        text.push_str("}}");
        text
    }

    /// Returns what differs from the document before.
    pub(crate) fn changes(&self, sequence: u64, before: &Self) -> String {
        let mut text = self.head(sequence);
        for (at, (name, section)) in self.sections.iter().enumerate() {
            if before.sections.get(at).is_none_or(|(_, known)| known != section) {
                add(&mut text, name, section);
            }
        }
        let (mut whole, mut places) = (Vec::new(), Vec::new());
        for (at, (name, column)) in self.columns.iter().enumerate() {
            let known = before.columns.get(at).map_or(&[][..], |(_, known)| known);
            if known.len() != column.len() {
                whole.push((*name, column.as_slice()));
                continue;
            }
            let changed = |(place, value): (usize, &i32)| (known[place] != *value).then_some((place, *value));
            let changed: Vec<(usize, i32)> = column.iter().enumerate().filter_map(changed).collect();
            // A place takes about twice as much as a value.
            if changed.len() * 3 > column.len() {
                whole.push((*name, column.as_slice()));
            } else if !changed.is_empty() {
                places.push((*name, changed));
            }
        }
        if !whole.is_empty() {
            text.push_str(",\"all\":{");
            write_columns(&mut text, whole.into_iter());
            text.push('}');
        }
        if !places.is_empty() {
            text.push_str(",\"set\":{");
            for (at, (name, changed)) in places.into_iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}\"{name}\":[");
                for (at, (place, value)) in changed.into_iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    let _ = write!(text, "{comma}{place},{value}");
                }
                text.push(']');
            }
            text.push('}');
        }
        text.push('}');
        text
    }

    fn head(&self, sequence: u64) -> String {
        format!("{{\"seq\":{sequence},\"age\":{},\"now\":{}", self.age_ms, self.now_unix_ms)
    }
}

fn add(text: &mut String, name: &str, section: &str) {
    let _ = write!(text, ",\"{name}\":{section}");
}

fn write_columns<'a>(text: &mut String, columns: impl Iterator<Item = (&'static str, &'a [i32])>) {
    for (at, (name, column)) in columns.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{name}\":[");
        for (at, value) in column.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            let _ = write!(text, "{value}");
        }
        text.push(']');
    }
}

/// The place of a status in [`ShardStatus::ALL`], which the page has too.
fn status_code(status: ShardStatus) -> i32 {
    ShardStatus::ALL.iter().position(|known| *known == status).map_or(UNKNOWN, |place| place as i32)
}

fn rounded(value: f64) -> i32 {
    // Saturates, and NaN is 0.
    value.round() as i32
}

/// Tenths, whole numbers from 10 on: so that a steady rate stays the same.
fn tenths(rate: f64) -> i32 {
    if rate < 9.95 { rounded(rate * 10.0) } else { rounded(rate).saturating_mul(10) }
}

fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a section, without our secrets: problems and details repeat what others sent.
fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    outside_text::without_secrets(&text).into_owned()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn sections(fleet: &FleetData) -> Vec<(&'static str, String)> {
    let workers = &fleet.workers;
    let names: Vec<Value> = workers
        .iter()
        .map(|worker| {
            let address = worker.address.map(|address| address.to_string());
            json!([worker.name, worker.version, worker.generation, worker.url, address, worker.capacity])
        })
        .collect();
    let load = json!({
        "state": workers.iter().map(|worker| match (worker.connected, worker.draining) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        }).collect::<Vec<u8>>(),
        // A tenth of a second is as exact as it is shown.
        "heard": workers.iter().map(|worker| ms(worker.heard) / 100 * 100).collect::<Vec<u64>>(),
        "mib": workers.iter().map(|worker| worker.rss_bytes >> 20).collect::<Vec<u64>>(),
    });
    let figures: Vec<Option<Value>> = workers.iter().map(|worker| worker.figures.map(figures)).collect();
    let identify = &fleet.identify;
    let identify = json!({
        "total": identify.total,
        "remaining": identify.remaining,
        "reserve": identify.reserve,
        "resets_in": ms(identify.resets_in) / 1_000,
        "waiting": identify.waiting,
        "at_once": identify.max_concurrency,
        "last_turn_in": identify.last_turn_in.map(ms),
    });
    let unready = fleet.shards.iter().filter(|shard| fleet.acting && shard.status != ShardStatus::Ready);
    let unready: Vec<Value> = unready
        .take(UNREADY)
        .map(|shard| json!([shard.number, shard.since_unix_ms, cut(&shard.detail)]))
        .collect();
    let of_fleet = json!({
        "acting": fleet.acting,
        "term": fleet.term.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "total": fleet.shard_total,
        "generation": fleet.active_generation,
        "lease_ttl": ms(fleet.lease_ttl),
    });
    vec![
        ("fleet", json(&of_fleet)),
        ("workers", json(&names)),
        ("load", json(&load)),
        ("figures", json(&figures)),
        ("identify", json(&identify)),
        ("problems", json(&problems(&fleet.problems))),
        ("plan", json(&fleet.plan)),
        ("unready", json(&unready)),
    ]
}

fn figures(figures: WorkerFigures) -> Value {
    json!([
        figures.gaps,
        figures.dropped,
        figures.replayed,
        figures.delay_p99_us,
        figures.rest_waiting,
        figures.rest_invalid,
        u8::from(figures.rest_blocked),
        u8::from(figures.relays),
        figures.relay_waiting,
        figures.relay_failures,
    ])
}

fn problems(problems: &[Problem]) -> Value {
    let shown = problems.iter().take(PROBLEMS).map(|problem| {
        json!({
            "code": problem.code.as_str(),
            "weight": problem.code.weight().as_str(),
            "text": cut(&problem.to_string()),
            "since": problem.since_unix_ms,
            "shard": problem.shards.first().map(|shard| shard.0),
        })
    });
    json!({ "count": problems.len(), "shown": shown.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests;
