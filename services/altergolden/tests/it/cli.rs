//! The command line, as an operator runs it.

use std::process;

use fleet_fixture::command;

/// The output and the exit code of a command.
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `altergolden` against a coordinator.
pub(crate) fn altergolden(url: &str, words: &[&str]) -> Output {
    said(&command("altergolden").args(words).env("COORDINATOR_URL", url).output().unwrap())
}

/// What a process has said.
pub(crate) fn said(output: &process::Output) -> Output {
    Output {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}
