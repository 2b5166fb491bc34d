//! Builds an object from its readable parts. Pure, and independent of types: `fits` tests a value.

use serde_json::{Map, Value};

use super::{Odd, Part, least, overlay};

/// The most tests for one event, so that an odd one does not block its shard. The rest is left out.
const MOST_TRIES: u32 = 20_000;

type Fits<'a> = &'a mut dyn FnMut(&Value) -> bool;

pub(super) struct Mend<'a> {
    odd: &'a mut Odd,
    tries: u32,
    /// Inside a list element: its losses are counted as mended.
    of_element: bool,
}

impl<'a> Mend<'a> {
    pub(super) fn new(odd: &'a mut Odd) -> Self {
        Self { odd, tries: 0, of_element: false }
    }

    /// Mends a whole event. `known`: the cached object, which replaces unreadable fields of an update. `None` when not
    /// even the required fields fit.
    pub(super) fn event(
        &mut self,
        part: Part,
        least: Value,
        known: Option<Value>,
        given: Value,
        fits: Fits<'_>,
    ) -> Option<Value> {
        let (Value::Object(least), Value::Object(given)) = (least, given) else { return None };
        let known = known.and_then(|known| Some(overlay(&least, known.as_object()?)));
        let base = known.filter(|known| self.fits(fits, known)).unwrap_or_else(|| least.clone());
        if !self.fits(fits, &base) {
            return None;
        }
        Some(Value::Object(self.object(part, &least, &base, given, fits)))
    }

    fn lost(&mut self, part: Part, count: usize) {
        if self.of_element { self.odd.mended(Part::Field, count) } else { self.odd.lost(part, count) }
    }

    fn fits(&mut self, fits: Fits<'_>, object: &Map<String, Value>) -> bool {
        self.tries += 1;
        self.tries <= MOST_TRIES && fits(&Value::Object(object.clone()))
    }

    /// Merges as much of `given` as fits over `base`, which fits.
    fn object(
        &mut self,
        part: Part,
        least: &Map<String, Value>,
        base: &Map<String, Value>,
        mut given: Map<String, Value>,
        fits: Fits<'_>,
    ) -> Map<String, Value> {
        given.retain(|name, value| !value.is_null() || least.get(name).is_none_or(Value::is_null));
        let all = overlay(base, &given);
        if self.fits(fits, &all) {
            self.odd.mended(part, 1);
            return all;
        }
        let mut good = base.clone();
        for (name, value) in given {
            let mut alone = base.clone();
            let fits = &mut |value: &Value| {
                alone.insert(name.clone(), value.clone());
                fits(&Value::Object(alone.clone()))
            };
            self.tries += 1;
            let mended = match (value, base.get(&name)) {
                (value, _) if self.tries <= MOST_TRIES && fits(&value) => Some(value),
                (Value::Array(items), _) => Some(Value::Array(self.list(&name, items, fits))),
                (Value::Object(given), Some(Value::Object(base))) => {
                    let least = least.get(&name).and_then(Value::as_object).unwrap_or(base);
                    let part = Part::of_list(&name).unwrap_or(Part::Field);
                    Some(Value::Object(self.object(part, least, base, given, fits)))
                }
                _ => None,
            };
            match (mended, Part::of_list(&name)) {
                (Some(value), _) => {
                    good.insert(name, value);
                }
                (None, Some(part)) => self.lost(part, 1),
                (None, None) => self.odd.mended(Part::Field, 1),
            }
        }
        if self.fits(fits, &good) {
            return good;
        }
        self.lost(part, 1);
        base.clone()
    }

    /// The fitting elements of a list, mended where that helps.
    fn list(&mut self, name: &str, items: Vec<Value>, fits: Fits<'_>) -> Vec<Value> {
        let part = Part::of_list(name).unwrap_or(Part::Field);
        let mut whole = Vec::with_capacity(items.len());
        for item in items {
            let item = if self.of_element { Some((item, false)) } else { of_element(name, item) };
            match item {
                Some(item) => whole.push(item),
                None => self.lost(part, 1),
            }
        }
        let mut good = Vec::with_capacity(whole.len());
        self.halve(name, whole, fits, &mut good);
        good
    }

    /// Tests a list; halves it where it does not fit.
    fn halve(&mut self, name: &str, items: Vec<(Value, bool)>, fits: Fits<'_>, good: &mut Vec<Value>) {
        let part = Part::of_list(name).unwrap_or(Part::Field);
        if items.is_empty() {
            return;
        }
        self.tries += 1;
        if self.tries > MOST_TRIES {
            self.lost(part, items.len());
            return;
        }
        if fits(&items.iter().map(|(item, _)| item.clone()).collect()) {
            self.odd.mended(part, items.iter().filter(|(_, mended)| *mended).count());
            good.extend(items.into_iter().map(|(item, _)| item));
            return;
        }
        if items.len() > 1 {
            let mut first = items;
            let second = first.split_off(first.len() / 2);
            self.halve(name, first, fits, good);
            self.halve(name, second, fits, good);
            return;
        }
        for (item, _) in items {
            let least = least::of_element(name).filter(|_| !self.of_element);
            let base = least.and_then(|least| least::fill(least, &item));
            let fits = &mut |item: &Value| fits(&Value::Array(vec![item.clone()]));
            match (item, base) {
                (Value::Object(item), Some(Value::Object(base))) if self.fits(fits, &base) => {
                    self.of_element = true;
                    good.push(Value::Object(self.object(part, &base, &base, item, fits)));
                    self.of_element = false;
                    self.odd.mended(part, 1);
                }
                _ => self.lost(part, 1),
            }
        }
    }
}

/// An element with missing fields filled in, and whether there were any. `None` when an id is missing.
fn of_element(list: &str, item: Value) -> Option<(Value, bool)> {
    let Some(least) = least::of_element(list).filter(|_| !item.is_string()) else {
        return Some((item, false));
    };
    let Value::Object(base) = least::fill(least, &item)? else { return None };
    let Value::Object(mut given) = item else { return None };
    let before = given.len();
    given.retain(|name, value| !value.is_null() || base.get(name).is_none_or(Value::is_null));
    let lacks = given.len() < before
        || base.iter().any(|(name, least)| !least.is_null() && !given.contains_key(name));
    Some((Value::Object(overlay(&base, &given)), lacks))
}
