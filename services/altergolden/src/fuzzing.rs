//! Fuzz target of the commands: their settings.

use clap::CommandFactory as _;

use crate::Cli;

#[test]
fn settings() {
    for command in Cli::command().get_subcommands() {
        let takes_values = |arg: &&clap::Arg| arg.get_action().takes_values() && arg.get_long().is_some();
        if command.get_arguments().any(|arg| takes_values(&arg)) {
            let name: &'static str = format!("settings of {}", command.get_name()).leak();
            fuzz::settings(name, command.clone());
        }
    }
}
