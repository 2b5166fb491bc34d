//! The command line as somebody runs it.

use fleet_fixture::command;

/// What it printed, and how it ended.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `altergolden` against a coordinator.
pub(crate) fn altergolden(url: &str, words: &[&str]) -> Answer {
    let output = command("altergolden").args(words).env("COORDINATOR_URL", url).output().unwrap();
    Answer {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
