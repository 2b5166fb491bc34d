//! Fields of JSON objects, read and replaced in their text.
//!
//! If a field is written twice, the last one counts, as in common parsers. Escapes in a key are resolved before it is compared.

use std::{borrow::Cow, collections::HashSet};

use crate::scan::{Broken, Scan};

/// An object: its text, and some of its fields.
#[derive(Debug)]
pub(crate) struct Object<'a, const N: usize> {
    /// The text without the dropped fields.
    pub(crate) text: Cow<'a, str>,
    /// The texts of the wanted fields.
    pub(crate) found: [Option<&'a str>; N],
    /// Fields left out because they nest too deep.
    pub(crate) lost: usize,
}

/// Reads the object that comes next, in one pass. `drop`: fields that are left out.
pub(crate) fn read<'a, const N: usize>(
    scan: &mut Scan<'a>,
    wanted: [&str; N],
    drop: &[&str],
) -> Result<Object<'a, N>, Broken> {
    let mut found = [None; N];
    let (mut lost, mut out) = (0, None::<String>);
    scan.peek();
    let from = scan.offset();
    scan.enter_object()?;
    let (mut first_field, mut last_end) = (None, scan.offset());
    let mut is_first = true;
    loop {
        scan.peek();
        let mut at = scan.offset();
        let Some(key) = scan.next_key(&mut is_first)? else { break };
        // After the comma.
        at += usize::from(scan.byte(at) == Some(b','));
        let value = scan.value()?;
        let has_escapes = scan.key_has_escapes();
        let is = |name: &&str| key == *name || has_escapes && is_key(key, name);
        if value.is_deep || drop.iter().any(is) {
            lost += usize::from(value.is_deep);
            if out.is_none() {
                let kept = first_field.map_or("", |first| scan.between(first, last_end));
                out = Some(format!("{{{kept}"));
            }
        } else {
            first_field.get_or_insert(at);
            if let Some(out) = &mut out {
                if out.len() > 1 {
                    out.push(',');
                }
                out.push_str(scan.between(at, scan.offset()));
            }
            last_end = scan.offset();
        }
        // A field can be both dropped and wanted.
        if !value.is_deep
            && let Some(place) = wanted.iter().position(is)
        {
            found[place] = Some(value.text);
        }
    }
    let text = match out {
        Some(mut out) => {
            out.push('}');
            Cow::Owned(out)
        }
        None => Cow::Borrowed(scan.between(from, scan.offset())),
    };
    Ok(Object { text, found, lost })
}

/// Reads a text that is one object.
pub(crate) fn read_all<'a, const N: usize>(
    text: &'a str,
    wanted: [&str; N],
    drop: &[&str],
) -> Result<Object<'a, N>, Broken> {
    let mut scan = Scan::new(text);
    let object = read(&mut scan, wanted, drop)?;
    scan.end()?;
    Ok(object)
}

/// Returns some fields of an object; `None` for each that is missing, all of them when `text` is no object.
pub(crate) fn fields<'a, const N: usize>(text: &'a str, wanted: [&str; N]) -> [Option<&'a str>; N] {
    read_all(text, wanted, &[]).map_or([None; N], |object| object.found)
}

/// Returns a field of an object.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    fields(text, [name])[0]
}

/// Returns the fields of a valid object, as key and value.
pub(crate) fn all_fields(text: &str) -> Vec<(&str, &str)> {
    let mut fields = Vec::new();
    let mut scan = Scan::new(text);
    let mut is_first = true;
    if scan.enter_object().is_ok() {
        while let Ok(Some(key)) = scan.next_key(&mut is_first) {
            let Ok(value) = scan.value() else { break };
            fields.push((key, value.text));
        }
    }
    fields
}

/// Returns the elements of a list; `None` when `text` is not a list.
pub(crate) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut elements = Vec::new();
    let mut scan = Scan::new(text);
    let mut is_first = true;
    scan.enter_list().ok()?;
    while scan.next_element(&mut is_first).ok()? {
        elements.push(scan.value().ok()?.text);
    }
    Some(elements)
}

/// Replaces or adds the fields of `patch` in `base`. Both are valid objects.
pub(crate) fn merge(base: &str, patch: &str) -> String {
    let over = all_fields(patch);
    // Discord's objects have few fields. The time for an object with very many fields must not grow with the square of their number.
    let names: HashSet<Cow<'_, str>> = over.iter().map(|(key, _)| meaning(key)).collect();
    let mut merged = String::with_capacity(base.len() + patch.len());
    for (key, value) in all_fields(base) {
        if !names.contains(&meaning(key)) {
            push_field(&mut merged, key, value);
        }
    }
    for (key, value) in over {
        push_field(&mut merged, key, value);
    }
    close(merged)
}

/// Sets one field of a valid object.
pub(crate) fn with_field(object: &str, name: &str, value: &str) -> String {
    let mut text = String::with_capacity(object.len() + name.len() + value.len() + 4);
    let mut is_set = false;
    for (key, old) in all_fields(object) {
        if !is_key(key, name) {
            push_field(&mut text, key, old);
        } else if !std::mem::replace(&mut is_set, true) {
            push_field(&mut text, key, value);
        }
    }
    if !is_set {
        push_field(&mut text, name, value);
    }
    close(text)
}

/// Adds a field that a valid object lacks.
pub(crate) fn with_new_field(mut object: String, name: &str, value: &str) -> String {
    object.truncate(object.trim_end().len() - 1);
    object.truncate(object.trim_end().len());
    if object.ends_with('{') {
        object.clear();
    }
    push_field(&mut object, name, value);
    close(object)
}

/// Removes one field of a valid object.
pub(crate) fn without_field(object: &str, name: &str) -> String {
    let mut text = String::with_capacity(object.len());
    for (key, value) in all_fields(object).into_iter().filter(|(key, _)| !is_key(key, name)) {
        push_field(&mut text, key, value);
    }
    close(text)
}

/// Adds a field to an object under construction, which is empty before its first field.
pub(crate) fn push_field(object: &mut String, key: &str, value: &str) {
    object.push(if object.is_empty() { '{' } else { ',' });
    object.push('"');
    object.push_str(key);
    object.push_str("\":");
    object.push_str(value);
}

/// Ends an object under construction.
pub(crate) fn close(mut object: String) -> String {
    if object.is_empty() {
        object.push('{');
    }
    object.push('}');
    object
}

/// Whether a key is `name` after its escapes are resolved.
pub fn is_key(raw: &str, name: &str) -> bool {
    raw == name || has_escapes(raw) && unescaped(raw).is_some_and(|key| key == name)
}

fn has_escapes(raw: &str) -> bool {
    // A loop, because keys are short and a call of memchr costs more.
    raw.bytes().any(|byte| byte == b'\\')
}

/// A key with its escapes resolved; the key as written if it has half a surrogate pair.
pub(crate) fn meaning(raw: &str) -> Cow<'_, str> {
    match has_escapes(raw).then(|| unescaped(raw)).flatten() {
        Some(key) => Cow::Owned(key),
        None => Cow::Borrowed(raw),
    }
}

fn unescaped(raw: &str) -> Option<String> {
    string(&format!("\"{raw}\""))
}

/// The text of a JSON string; `None` for anything else, and for half a surrogate pair.
pub(crate) fn string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// The text of a JSON string, with U+FFFD in place of half a surrogate pair; `None` for anything else.
pub(crate) fn lossy_string(raw: &str) -> Option<String> {
    string(raw).or_else(|| string(&outside_text::without_lone_surrogates(raw)))
}

/// A Discord id, written as a string or as a number.
pub(crate) fn id(raw: &str) -> Option<u64> {
    let digits = raw.strip_prefix('"').map_or(Some(raw), |rest| rest.strip_suffix('"'))?;
    // A sign is invalid in an id, but Rust's parser of numbers would accept it.
    let add = |id: u64, digit: u8| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { id.checked_mul(10)?.checked_add(digit.into()) }
    };
    digits.bytes().try_fold(0, add).filter(|id| *id != 0)
}

/// A whole number of 0 or more.
pub(crate) fn number(raw: &str) -> Option<u64> {
    raw.parse().ok().filter(|_| raw.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
