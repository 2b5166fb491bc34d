//! `altergolden init`: writes the settings of a new fleet, and says what to do next.
//!
//! Owns the questions, the files and their permissions. Each answer is checked by the parsers of the programs that will read it. Replaces
//! no file without `--force`, starts nothing and asks Discord nothing. The token comes from a file, the environment or a hidden
//! prompt, never from an argument, and is never printed.

mod answers;
mod files;
mod next_steps;
mod questions;
mod writing;

use std::{io::IsTerminal as _, path::PathBuf};

use fleet_model::ShardCount;
use process::settings::Secret;
use questions::{QuestionError, Terminal};

use crate::{
    credentials,
    exit::{CommandOutcome, print_line},
};

/// The command's name.
pub(crate) const COMMAND: &str = "init";

/// What will run the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// `altergolden up` in a terminal or under PM2, on this host: `.env`
    Env,
    /// Docker Compose, with the compose.yaml of this repository: `.env` beside it
    Compose,
    /// systemd: a unit for `altergolden up`, and the file with its settings
    Systemd,
}

/// Settings of `altergolden init`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token has no flag: name a file with --token-file, set DISCORD_TOKEN, or answer the question. Without a terminal, \
                  --yes is needed."
)]
pub(crate) struct InitArgs {
    /// Ask nothing: settings without a flag get their defaults
    #[arg(long, short)]
    yes: bool,

    /// What will run the fleet
    #[arg(long, value_name = "TARGET", value_enum)]
    target: Option<Target>,

    /// Folder to write into
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,

    /// File that contains the bot's token; `-` reads it from standard input. `.env` names the file; the others get a copy of the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Number of shards, or `auto` for what Discord recommends plus a fifth [default: auto]
    #[arg(long, value_name = "NUMBER|auto")]
    shards: Option<ShardCount>,

    /// Number of workers [default: by cores; 2 with Compose]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=i64::from(answers::MOST_WORKERS)))]
    workers: Option<u16>,

    /// Gateway intents, by name or as a number; privileged ones must be enabled for the application [default: GUILDS,GUILD_MESSAGES,GUILD_VOICE_STATES]
    #[arg(long, value_name = "LIST", value_parser = answers::intents)]
    intents: Option<String>,

    /// Redis to use [default: `up` starts a redis-server of its own]
    #[arg(long, value_name = "URL")]
    redis_url: Option<Secret>,

    /// The bot: a program built on the library gateway-worker [default: none]
    #[arg(long, value_name = "FILE")]
    worker_program: Option<PathBuf>,

    /// Make certificates for the fleet's programs in the folder `credentials`, and have them use these (mutual TLS)
    #[arg(long)]
    make_credentials: bool,

    /// Replace files that exist; credentials stay
    #[arg(long)]
    force: bool,
}

/// Writes the files, or none of them.
pub(crate) fn run(args: InitArgs) -> CommandOutcome {
    match prepare_and_write(args) {
        Ok(()) => CommandOutcome::success(),
        Err(outcome) => outcome,
    }
}

fn prepare_and_write(args: InitArgs) -> Result<(), CommandOutcome> {
    let on_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !args.yes && !on_terminal {
        let problem = "cannot ask questions: standard input or standard error is not a terminal; use --yes, with flags for settings that differ from the defaults";
        return Err(CommandOutcome::wrong_setting(problem));
    }
    let given = answers::Given::from_args(&args).map_err(CommandOutcome::wrong_setting)?;
    let answers = if args.yes {
        given.or_defaults()
    } else {
        // The files that stand in the way are known as soon as the target is.
        let check_target = |target| files::refuse_existing(target, &args.dir, args.force);
        questions::ask(&mut Terminal, given, &check_target).map_err(|error| match error {
            QuestionError::Refused(problem) => CommandOutcome::failed(problem),
            QuestionError::Terminal(error) => CommandOutcome::failed(format!("nothing was written: {error}")),
        })?
    };
    answers.check().map_err(CommandOutcome::wrong_setting)?;
    files::refuse_existing(answers.target, &args.dir, args.force).map_err(CommandOutcome::failed)?;
    let files = files::files(&answers, &args.dir).map_err(CommandOutcome::wrong_setting)?;
    if answers.make_credentials {
        credentials::make(&args.dir.join(files::CREDENTIALS))?;
    }
    let written = writing::write_all(&args.dir, &files, args.force).map_err(CommandOutcome::failed)?;
    for file in &written {
        print_line(format!("wrote {}", file.display()));
    }
    print_line(next_steps::text(&answers, &args.dir));
    Ok(())
}

#[cfg(test)]
mod tests;
