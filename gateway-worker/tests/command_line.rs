//! The binary's command line.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

use std::process::Command;

#[test]
fn wrong_value_names_its_flag_and_what_it_takes() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gateway-worker")).args(["--bridge-deadline", "2"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("--bridge-deadline") && said.contains("500ms, 2s"), "{said}");
}
