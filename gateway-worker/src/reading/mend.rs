//! Builds an object from its readable parts. Pure, and independent of types: `fits` tests the text of a whole event.
//!
//! Each part is tested in a valid event of defaults, first in a group and then alone, so the work grows with the size of
//! the event and not with its square.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Odd, Part, least, overlay};

/// Fields or elements that are tested at once.
const GROUP: usize = 32;

/// The most tests of fields of a list's elements, on average for each element. Elements beyond it keep only their ids.
const TESTS_PER_ELEMENT: usize = 32;

type Fits<'a> = &'a mut dyn FnMut(&str) -> bool;
type Field = (String, Value);

/// The text of a valid event around one of its parts.
#[derive(Clone, Default)]
struct Frame {
    before: String,
    after: String,
}

impl Frame {
    /// The frame of a field of `object`.
    fn of_field(&self, object: &Map<String, Value>, name: &str) -> Self {
        let mut before = format!("{}{{", self.before);
        for (other, value) in object.iter().filter(|(other, _)| *other != name) {
            before.extend([&json(other), ":", &json(value), ","]);
        }
        before.extend([&json(name), ":"]);
        Self { before, after: format!("}}{}", self.after) }
    }

    /// The frame of the elements of a list.
    fn of_elements(&self) -> Self {
        Self { before: format!("{}[", self.before), after: format!("]{}", self.after) }
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // Text and JSON values always serialize.
    serde_json::to_string(value).unwrap_or_default()
}

/// What limits the tests of fields, within one list.
struct Limit {
    tests: usize,
    /// Names of fields that were odd in an element before: the same fields are often odd in the others.
    suspects: Vec<String>,
}

impl Limit {
    fn of(elements: usize) -> Self {
        Self { tests: elements.saturating_add(GROUP).saturating_mul(TESTS_PER_ELEMENT), suspects: Vec::new() }
    }

    fn suspect(&mut self, name: &str) {
        if self.suspects.len() < GROUP && !self.suspects.iter().any(|known| known == name) {
            self.suspects.push(name.to_owned());
        }
    }
}

pub(super) struct Mend<'a> {
    odd: &'a mut Odd,
    fits: Fits<'a>,
    /// The text of the last test.
    text: String,
    limit: Limit,
    /// Inside a list element: its losses are counted as mended.
    of_element: bool,
}

impl<'a> Mend<'a> {
    pub(super) fn new(odd: &'a mut Odd, fits: Fits<'a>) -> Self {
        // The fields of the event itself need no limit.
        let limit = Limit::of(usize::MAX);
        Self { odd, fits, text: String::new(), limit, of_element: false }
    }

    /// Mends a whole event. `known`: the cached object, which replaces unreadable fields of an update. `None` when not
    /// even the required fields fit.
    pub(super) fn event(
        &mut self,
        part: Part,
        least: Value,
        known: Option<Value>,
        given: Value,
    ) -> Option<Value> {
        let (Value::Object(least), Value::Object(given)) = (least, given) else { return None };
        let frame = Frame::default();
        let known = known.and_then(|known| Some(overlay(&least, known.as_object()?)));
        let base = known.filter(|known| self.fits(&frame, known)).unwrap_or_else(|| least.clone());
        if !self.fits(&frame, &base) {
            return None;
        }
        Some(Value::Object(self.object(&frame, part, &least, &base, given)))
    }

    fn lost(&mut self, part: Part, count: usize) {
        if self.of_element { self.odd.mended(Part::Field, count) } else { self.odd.lost(part, count) }
    }

    fn fits(&mut self, frame: &Frame, value: &impl Serialize) -> bool {
        self.fits_as_text(frame, &json(value))
    }

    fn fits_as_text(&mut self, frame: &Frame, text: &str) -> bool {
        self.text.clear();
        self.text.extend([&frame.before, text, &frame.after]);
        (self.fits)(&self.text)
    }

    fn fields_fit(&mut self, frame: &Frame, base: &Map<String, Value>, fields: &[Field]) -> bool {
        let Some(left) = self.limit.tests.checked_sub(1) else { return false };
        self.limit.tests = left;
        self.fits(frame, &overlay(base, &fields.iter().cloned().collect()))
    }

    /// Merges as much of `given` as fits over `base`, which fits.
    fn object(
        &mut self,
        frame: &Frame,
        part: Part,
        least: &Map<String, Value>,
        base: &Map<String, Value>,
        mut given: Map<String, Value>,
    ) -> Map<String, Value> {
        given.retain(|name, value| !value.is_null() || least.get(name).is_none_or(Value::is_null));
        let all = overlay(base, &given);
        if self.fits(frame, &all) {
            self.odd.mended(part, 1);
            return all;
        }
        self.fields(frame, part, least, base, given)
    }

    /// Merges the fitting fields of an object that does not fit over `base`, and mends the others where that helps.
    fn fields(
        &mut self,
        frame: &Frame,
        part: Part,
        least: &Map<String, Value>,
        base: &Map<String, Value>,
        given: Map<String, Value>,
    ) -> Map<String, Value> {
        let (mut fine, odd) = self.sift_fields(frame, base, given);
        for (name, value) in odd {
            self.limit.suspect(&name);
            let frame = frame.of_field(base, &name);
            let mended = match (value, base.get(&name)) {
                (Value::Array(items), _) => {
                    let list = self.list(&frame, &name, items);
                    self.fits(&frame, &list).then_some(Value::Array(list))
                }
                (Value::Object(given), Some(Value::Object(base))) => {
                    let least = least.get(&name).and_then(Value::as_object).unwrap_or(base);
                    let part = Part::of_list(&name).unwrap_or(Part::Field);
                    Some(Value::Object(self.object(&frame, part, least, base, given)))
                }
                _ => None,
            };
            match (mended, Part::of_list(&name)) {
                (Some(value), _) => fine.push((name, value)),
                (None, Some(part)) => self.lost(part, 1),
                (None, None) => self.odd.mended(Part::Field, 1),
            }
        }
        let good = overlay(base, &fine.into_iter().collect());
        if self.fits(frame, &good) {
            return good;
        }
        self.lost(part, 1);
        base.clone()
    }

    /// Separates the fields that fit over `base` from the odd ones.
    fn sift_fields(
        &mut self,
        frame: &Frame,
        base: &Map<String, Value>,
        given: Map<String, Value>,
    ) -> (Vec<Field>, Vec<Field>) {
        let count = given.len();
        let (suspects, others): (Vec<Field>, Vec<Field>) =
            given.into_iter().partition(|(name, _)| self.limit.suspects.contains(name));
        let (mut fine, mut odd) = (Vec::with_capacity(count), Vec::new());
        let mut rest = if !suspects.is_empty() && self.fields_fit(frame, base, &others) {
            fine = others;
            suspects
        } else {
            others.into_iter().chain(suspects).collect()
        }
        .into_iter();
        loop {
            let group: Vec<Field> = rest.by_ref().take(GROUP).collect();
            if group.is_empty() {
                return (fine, odd);
            }
            // All of them together do not fit: that was tested.
            if (2..count).contains(&group.len()) && self.fields_fit(frame, base, &group) {
                fine.extend(group);
                continue;
            }
            for field in group {
                let fits = self.fields_fit(frame, base, std::slice::from_ref(&field));
                if fits { &mut fine } else { &mut odd }.push(field);
            }
        }
    }

    /// The fitting elements of a list, mended where that helps.
    fn list(&mut self, frame: &Frame, name: &str, items: Vec<Value>) -> Vec<Value> {
        let part = Part::of_list(name).unwrap_or(Part::Field);
        let frame = frame.of_elements();
        let count = items.len();
        let mut whole = Vec::with_capacity(count);
        for item in items {
            let item = if self.of_element { Some((item, false)) } else { of_element(name, item) };
            match item {
                Some((item, mended)) => whole.push((json(&item), item, mended)),
                None => self.lost(part, 1),
            }
        }
        let outer = (!self.of_element).then(|| std::mem::replace(&mut self.limit, Limit::of(count)));
        let mut good = Vec::with_capacity(whole.len());
        let mut rest = whole.into_iter();
        loop {
            let group: Vec<(String, Value, bool)> = rest.by_ref().take(GROUP).collect();
            if group.is_empty() {
                break;
            }
            let texts: Vec<&str> = group.iter().map(|(text, ..)| text.as_str()).collect();
            let all_fit = group.len() > 1 && self.fits_as_text(&frame, &texts.join(","));
            for (text, item, mended) in group {
                if all_fit || self.fits_as_text(&frame, &text) {
                    self.odd.mended(part, usize::from(mended));
                    good.push(item);
                } else if let Some(item) = self.element(&frame, name, part, item) {
                    self.odd.mended(part, 1);
                    good.push(item);
                } else {
                    self.lost(part, 1);
                }
            }
        }
        if let Some(outer) = outer {
            self.limit = outer;
        }
        good
    }

    /// Mends an element; `None` when its required fields do not fit.
    fn element(&mut self, frame: &Frame, list: &str, part: Part, item: Value) -> Option<Value> {
        let least = least::of_element(list).filter(|_| !self.of_element)?;
        let (Value::Object(base), Value::Object(item)) = (least::fill(least, &item)?, item) else {
            return None;
        };
        if !self.fits(frame, &base) {
            return None;
        }
        self.of_element = true;
        let mended = self.fields(frame, part, &base, &base, item);
        self.of_element = false;
        Some(Value::Object(mended))
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
