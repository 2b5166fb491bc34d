//! The settings of a program as a target.

use std::collections::BTreeSet;

use clap::Command;

use crate::Target;

/// Judges the values of all settings of a command: each input is a flag and its value. Flags come from operators alone, values from files
/// and templates, so only known flags are passed on.
///
/// # Panics
/// As [`Target::run`]; or the command has no setting with a value.
pub fn settings(name: &'static str, mut command: Command) {
    command.build();
    let flags = command.get_arguments().filter(|arg| arg.get_action().takes_values());
    let examples: Vec<String> = flags
        .filter_map(|arg| {
            let value = arg.get_default_values().first().map_or("1", |value| value.to_str().unwrap_or("1"));
            Some(format!("--{}={value}", arg.get_long()?))
        })
        .collect();
    let known: BTreeSet<String> =
        examples.iter().filter_map(|example| Some(example.split_once('=')?.0.to_owned())).collect();
    let words =
        ["redis://", "rediss-sentinel://", "?master=", "@", "500ms", "99999999999y", "https://", "[::1]:0"];
    Target::new(name, examples).words(words).memory(4 << 20, 400).run_text(|text| {
        let is_known = text.split_once('=').is_some_and(|(flag, _)| known.contains(flag));
        if !is_known || text.contains('\0') {
            return;
        }
        if let Err(error) = command.try_get_matches_from_mut([name, text]) {
            let _ = error.to_string();
        }
    });
}
