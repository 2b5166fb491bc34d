//! The bot's commands: pure data.

use twilight_model::application::command::{Command, CommandType};
use twilight_util::builder::command::{CommandBuilder, StringBuilder, SubCommandBuilder};

pub(crate) const PING: &str = "ping";
pub(crate) const SHARDS: &str = "shards";
pub(crate) const FIND: &str = "find";

/// The subcommands of [`FIND`] and their option.
pub(crate) const GUILD: &str = "guild";
pub(crate) const USER: &str = "user";
pub(crate) const ID: &str = "id";

/// Number of digits of the largest id.
const LONGEST_ID: u16 = 20;

/// Returns all commands for registration.
pub(crate) fn all() -> Vec<Command> {
    let find = command(FIND, "Finds a guild or a user")
        .option(SubCommandBuilder::new(GUILD, "Finds a guild").option(id("The guild's id")))
        .option(SubCommandBuilder::new(USER, "Finds a user").option(id("The user's id")));
    vec![
        command(PING, "How many servers the bot is in").build(),
        command(SHARDS, "Shows every shard").build(),
        find.build(),
    ]
}

fn command(name: &str, description: &str) -> CommandBuilder {
    CommandBuilder::new(name, description, CommandType::ChatInput)
}

/// Builds an id option of type string, because ids exceed Discord's largest number, 2^53.
fn id(description: &str) -> StringBuilder {
    StringBuilder::new(ID, description).required(true).min_length(1).max_length(LONGEST_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_valid() {
        for command in all() {
            let mut again = CommandBuilder::new(&command.name, &command.description, command.kind);
            for option in command.options {
                again = again.option(option);
            }
            assert!(again.validate().is_ok(), "{}", command.name);
        }
    }
}
