//! `altergolden`: tries the platform in one process, and operates a running fleet.

mod ask;
mod credentials;
mod dev;
mod doctor;
mod exit;
#[cfg(test)]
mod fuzzing;
mod health;
mod init;
mod json;
mod plan;
mod progress;
mod repair;
mod screen;
#[cfg(test)]
mod settings_document;
mod shell_files;
mod status_line;
mod table;
mod up;
mod value_text;
mod watch;

use std::{path::PathBuf, process::ExitCode, sync::LazyLock};

use clap::{
    ArgMatches, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use crate::exit::CommandOutcome;

// Tests of inputs count allocations with an allocator of their own.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The text of `--version`.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let protocols = altergolden_proto::PROTOCOL_MIN..=altergolden_proto::PROTOCOL_MAX;
    let formats = checkpoint::FORMAT_MIN..=checkpoint::FORMAT_MAX;
    process::settings::long_version(env!("CARGO_PKG_VERSION"), protocols, formats)
});

/// A sharding platform for large Discord bots: try it, and operate a running fleet
#[derive(Debug, Parser)]
#[command(
    name = "altergolden",
    version,
    long_version = LONG_VERSION.as_str(),
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
    /// Run a fleet on this host: coordinator and workers as supervised processes
    Up(up::UpArgs),
    /// Write the settings of a new fleet: `.env`, or the files of a systemd unit
    Init(Box<init::InitArgs>),
    #[command(flatten)]
    Ask(ask::AskCommand),
    #[command(flatten)]
    Plan(plan::PlanCommand),
    /// Check what a fleet needs: token, intents, Redis, ports, clocks, limits
    ///
    /// Works before the first start and beside a running fleet; changes nothing.
    Doctor(doctor::DoctorArgs),
    /// Make, show and revoke certificates and tokens of a fleet
    Credentials(credentials::CredentialsArgs),
    /// Find invalid records of the fleet in Redis, and remove them with --yes
    ///
    /// Without --yes it only prints them. Works without a coordinator and beside a running fleet; valid records are not changed.
    Repair(repair::RepairArgs),
    /// Ask a health endpoint
    ///
    /// Exit code 0 when it answers 200, 1 when it answers otherwise, 3 when it does not answer.
    Health {
        /// The endpoint, such as http://127.0.0.1:3001/live; without a path it is /health
        #[arg(value_name = "URL")]
        endpoint: health::ProbeUrl,
    },
    /// Print the completions of this program for a shell
    ///
    /// bash: `altergolden completions bash > ~/.local/share/bash-completion/completions/altergolden`.
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: shell_files::Shell,
    },
    /// Print the man page of this program, or write the pages of all programs
    Man {
        /// Folder for the pages of all programs and commands, such as ~/.local/share/man/man1
        #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// The command line, after a check that each global flag in it has an effect.
#[derive(Debug)]
struct CheckedCli(Cli);

impl CheckedCli {
    /// Rejects global flags of commands that ask no fleet. A variable in the environment is no mistake.
    fn check(cli: Cli, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (command, hint) = match cli.command {
            Command::Dev(_) => ("dev", "it starts a coordinator of its own (--coordinator-listen)"),
            Command::Up(_) => (up::COMMAND, "it starts a coordinator of its own (--coordinator-listen)"),
            Command::Init(_) => (init::COMMAND, "it asks no fleet"),
            Command::Credentials(_) => ("credentials", "it asks no fleet"),
            Command::Repair(_) => ("repair", "it talks to Redis (--redis-url)"),
            Command::Health { .. } => ("health", "it takes one URL, such as http://127.0.0.1:3001/live"),
            Command::Completions { .. } => ("completions", "it asks no fleet"),
            Command::Man { .. } => ("man", "it asks no fleet"),
            Command::Ask(_) | Command::Plan(_) | Command::Doctor(_) => return Ok(Self(cli)),
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

fn main() -> ExitCode {
    if let Some(code) = up::programs::run_named() {
        return code;
    }
    if supervisor::is_replacement()
        && let Err(error) = supervisor::keep_signals()
    {
        return CommandOutcome::wrong_setting(format!("cannot handle signals: {error}")).finish();
    }
    // `doctor` checks what `up` will find.
    if std::env::args_os().nth(1).is_some_and(|command| command == up::COMMAND || command == "doctor")
        && let Err(error) = up::env_file::load()
    {
        return CommandOutcome::wrong_setting(error).finish();
    }
    run_command_line()
}

#[tokio::main]
async fn run_command_line() -> ExitCode {
    process::run_main("altergolden", log_filter, async |CheckedCli(cli)| run(cli).await.finish()).await
}

/// What to log when `RUST_LOG` does not say.
fn log_filter(CheckedCli(cli): &CheckedCli) -> &'static str {
    match &cli.command {
        Command::Dev(_) => "warn,twilight_http=error",
        Command::Up(_) => process::telemetry::SERVICE_FILTER,
        // A log line would be written across the screen.
        Command::Ask(command) if command.is_live() => "off",
        _ => "error",
    }
}

async fn run(cli: Cli) -> CommandOutcome {
    match cli.command {
        Command::Dev(args) => dev::run(args).await,
        Command::Up(args) => up::run(args).await,
        Command::Init(args) => init::run(*args),
        Command::Ask(command) if command.is_live() => watch::run(&cli.server).await,
        Command::Ask(command) => ask::run(command, &cli.server).await,
        Command::Plan(command) => plan::run(command, &cli.server).await,
        Command::Doctor(args) => doctor::run(args, &cli.server).await,
        Command::Credentials(args) => credentials::run(args),
        Command::Repair(args) => repair::run(args).await,
        Command::Health { endpoint } => health::probe(&endpoint).await,
        Command::Completions { shell } => shell_files::print_completions(shell),
        Command::Man { dir } => shell_files::write_man_pages(dir.as_deref()),
    }
}
