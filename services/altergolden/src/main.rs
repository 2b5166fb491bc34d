//! `altergolden`: tries the platform in one process, and operates a running fleet.

mod ask;
mod dev;
mod exit;
mod health;
mod json;
mod plan;
mod screen;
#[cfg(test)]
mod settings_document;
mod status_line;
mod table;
mod value_text;

use std::process::ExitCode;

use clap::{
    ArgMatches, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use crate::exit::CommandOutcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A sharding platform for large Discord bots: try it, and operate a running fleet
#[derive(Debug, Parser)]
#[command(
    name = "altergolden",
    version,
    after_help = "Exit codes: 0 success; 1 no (not found, not healthy); 2 wrong setting; 3 unreachable; 4 incomplete or unknown \
                  answer; 78 Discord refused the token."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ask::ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process with a simulated Discord
    Dev(dev::DevArgs),
    #[command(flatten)]
    Ask(ask::AskCommand),
    #[command(flatten)]
    Plan(plan::PlanCommand),
    /// Ask a health endpoint
    ///
    /// Exit code 0 when it answers 200, 1 when it answers otherwise, 3 when it does not answer.
    Health {
        /// The endpoint, such as http://127.0.0.1:3001/live; without a path it is /health
        #[arg(value_name = "URL")]
        endpoint: health::ProbeUrl,
    },
}

/// The command line, after a check that each global flag in it has an effect.
#[derive(Debug)]
struct CheckedCli(Cli);

impl CheckedCli {
    /// Rejects global flags of `dev` and `health`, which ask no fleet. A variable in the environment is no mistake.
    fn check(cli: Cli, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (command, hint) = match cli.command {
            Command::Dev(_) => ("dev", "it starts a coordinator of its own (--coordinator-listen)"),
            Command::Health { .. } => ("health", "it takes one URL, such as http://127.0.0.1:3001/live"),
            Command::Ask(_) | Command::Plan(_) => return Ok(Self(cli)),
        };
        let is_given = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
        match ask::GLOBAL_FLAGS.into_iter().find(|flag| is_given(flag)) {
            Some(flag) => {
                let message = format!("--{flag} has no effect on `{command}`: {hint}\n");
                Err(clap::Error::raw(ErrorKind::ArgumentConflict, message))
            }
            None => Ok(Self(cli)),
        }
    }
}

impl Parser for CheckedCli {
    fn try_parse() -> Result<Self, clap::Error> {
        let parsed = <Self as CommandFactory>::command().try_get_matches();
        parsed.and_then(|mut matches| Self::from_arg_matches_mut(&mut matches)).map_err(suggest_current_names)
    }
}

/// Takes old names of subcommands out of the suggestions: the current name is as similar.
fn suggest_current_names(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) {
        let current = names.iter().filter(|name| *name != ask::OLD_SET_ASIDE).cloned().collect();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(current));
    }
    error
}

impl CommandFactory for CheckedCli {
    fn command() -> ClapCommand {
        Cli::command()
    }

    fn command_for_update() -> ClapCommand {
        Cli::command_for_update()
    }
}

impl FromArgMatches for CheckedCli {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::check(Cli::from_arg_matches(matches)?, matches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    process::run_main("altergolden", log_filter, async |CheckedCli(cli)| run(cli).await.finish()).await
}

/// What to log when `RUST_LOG` does not say.
fn log_filter(CheckedCli(cli): &CheckedCli) -> &'static str {
    match cli.command {
        Command::Dev(_) => "warn,twilight_http=error",
        _ => "error",
    }
}

async fn run(cli: Cli) -> CommandOutcome {
    match cli.command {
        Command::Dev(args) => dev::run(args).await,
        Command::Ask(command) => ask::run(command, &cli.server).await,
        Command::Plan(command) => plan::run(command, &cli.server).await,
        Command::Health { endpoint } => health::probe(&endpoint).await,
    }
}
