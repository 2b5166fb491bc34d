//! Fuzz target of a coordinator: its settings.

use clap::CommandFactory as _;

use crate::CoordinatorArgs;

#[test]
fn settings() {
    fuzz::settings("settings of a coordinator", CoordinatorArgs::command());
}
