//! `.env` in the working directory: settings for `altergolden up`. Variables of the environment win.

use std::{env, path::Path, sync::OnceLock};

/// The file's name.
const FILE: &str = ".env";

static VARIABLES: OnceLock<Vec<String>> = OnceLock::new();

/// Loads the file, if there is one. To be called before any thread is started. Returns how many variables it has set.
///
/// # Errors
/// The file can't be read or has an invalid line, in one line.
pub(crate) fn load() -> Result<Option<usize>, String> {
    let path = Path::new(FILE);
    if !path.exists() {
        return Ok(None);
    }
    // The library's error would show the line, which may be a secret.
    let fail = |error: dotenvy::Error| match error {
        dotenvy::Error::LineParse(line, _) => match line_number(path, &line) {
            Some(number) => format!("{FILE}: line {number} is invalid: expected NAME=value"),
            None => format!("{FILE}: has an invalid line: expected NAME=value"),
        },
        dotenvy::Error::Io(error) => format!("{FILE}: {error}"),
        _ => format!("{FILE}: cannot be read"),
    };
    let mut names = Vec::new();
    for variable in dotenvy::from_path_iter(path).map_err(fail)? {
        let (name, _) = variable.map_err(fail)?;
        if env::var_os(&name).is_none() && !names.contains(&name) {
            names.push(name);
        }
    }
    dotenvy::from_path(path).map_err(fail)?;
    let count = names.len();
    // Set once, in `main`.
    let _ = VARIABLES.set(names);
    Ok(Some(count))
}

/// Returns the number of the first line of the file that begins as `text` does, which may go on over several lines.
fn line_number(path: &Path, text: &str) -> Option<usize> {
    let file = std::fs::read_to_string(path).ok()?;
    let first = text.lines().next().unwrap_or_default().trim();
    file.lines().position(|line| line.trim() == first).map(|at| at + 1)
}

/// The variables that the file has set.
pub(crate) fn variables() -> Vec<String> {
    VARIABLES.get().cloned().unwrap_or_default()
}
