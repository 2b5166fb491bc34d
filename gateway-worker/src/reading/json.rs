//! Tolerant parsing of JSON text: half a surrogate pair, a number out of range or a list nested too deep costs only
//! itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};

use super::{Odd, Part};

/// How deep unreadable text is searched for readable parts.
const DEEPEST: usize = 16;

/// Reads what is readable; `None` if nothing is.
pub(super) fn tolerant(raw: &RawValue, odd: &mut Odd) -> Option<Value> {
    part(raw.get(), odd, 0)
}

fn part(text: &str, odd: &mut Odd, depth: usize) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let clean = outside_text::without_lone_surrogates(text);
    if clean != text
        && let Ok(value) = serde_json::from_str(&clean)
    {
        odd.mended(Part::Field, 1);
        return Some(value);
    }
    if depth >= DEEPEST {
        return None;
    }
    // Raw parts: each is parsed by itself.
    if let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(&clean) {
        let mut object = Map::new();
        for (name, raw) in fields {
            match part(raw.get(), odd, depth + 1) {
                Some(value) => {
                    object.insert(name, value);
                }
                None => odd.lost(Part::of_list(&name).unwrap_or(Part::Field), 1),
            }
        }
        return Some(Value::Object(object));
    }
    let items: Vec<&RawValue> = serde_json::from_str(&clean).ok()?;
    // An unreadable element keeps its place, so that readers of the list can count it.
    Some(items.into_iter().map(|raw| part(raw.get(), odd, depth + 1).unwrap_or(Value::Null)).collect())
}
