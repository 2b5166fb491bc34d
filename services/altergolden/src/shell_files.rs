//! Files for the operator's shell: completions and man pages, made from the command line itself.
//!
//! Owns nothing but their text. Hidden commands, flags and old names are left out.

use std::{io, path::Path};

use clap::{Arg, Command, CommandFactory as _, ValueEnum};

use crate::{
    Cli,
    exit::{CommandOutcome, print_line, print_text},
    screen::SafeText,
};

/// A shell for which there are completions.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions of `altergolden` for a shell.
pub(crate) fn print_completions(shell: Shell) -> CommandOutcome {
    let mut command = without_hidden(Cli::command());
    let mut script = Vec::new();
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(generator, &mut command, "altergolden", &mut script);
    print_script(&script);
    CommandOutcome::success()
}

/// Prints the man page of `altergolden`, or writes the pages of every program and command into a folder.
pub(crate) fn write_man_pages(folder: Option<&Path>) -> CommandOutcome {
    let written = match folder {
        None => page(Cli::command()).map(|page| print_script(&page)),
        Some(folder) => write_pages(folder).map(|pages| {
            print_line(format_args!("{pages} man pages written to {}", folder.display()));
        }),
    };
    match written {
        Ok(()) => CommandOutcome::success(),
        Err(error) => {
            let folder = folder.unwrap_or(Path::new("-")).display();
            CommandOutcome::failed(format!("cannot write man pages to {folder} (--dir): {error}"))
        }
    }
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

/// Writes a page for each program and each command of `altergolden`, and returns how many.
fn write_pages(folder: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    let programs = [
        Cli::command(),
        coordinator::CoordinatorArgs::command(),
        gateway_worker::WorkerArgs::command(),
        discord_sim::SimArgs::command(),
    ];
    let mut pages = 0;
    for program in programs {
        pages += visible_commands(&program);
        clap_mangen::generate_to(program, folder)?;
    }
    Ok(pages)
}

/// How many commands get a page: this one and, without hidden ones, all below it.
fn visible_commands(command: &Command) -> usize {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    1 + below.map(visible_commands).sum::<usize>()
}

/// Shells read these bytes: nothing in them may be escaped, and nothing in them is from outside.
fn print_script(script: &[u8]) {
    let text = String::from_utf8_lossy(script).trim_end().to_owned();
    print_text(&SafeText::from_escaped(text));
}

/// The command with its visible parts alone: the generators list hidden flags and commands too.
fn without_hidden(command: Command) -> Command {
    let mut visible = Command::new(kept(command.get_name()));
    if let Some(about) = command.get_about() {
        visible = visible.about(about.clone());
    }
    if command.get_version().is_some() {
        visible = visible.version(env!("CARGO_PKG_VERSION"));
    }
    visible = visible.args(command.get_arguments().filter(|arg| !arg.is_hide_set()).map(bare_arg));
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    visible.subcommands(below.cloned().map(without_hidden))
}

/// A name for clap, which takes names that stay until the program ends. This one ends after it has printed.
fn kept(name: &str) -> &'static str {
    name.to_owned().leak()
}

/// What completions show of a flag or value. Without its conflicts and requirements, which may name hidden ones.
fn bare_arg(arg: &Arg) -> Arg {
    let mut bare = Arg::new(arg.get_id().clone())
        .action(arg.get_action().clone())
        .global(arg.is_global_set())
        .value_hint(arg.get_value_hint())
        .hide_possible_values(arg.is_hide_possible_values_set());
    if let Some(help) = arg.get_help() {
        bare = bare.help(help.clone());
    }
    if let Some(long) = arg.get_long() {
        bare = bare.long(kept(long));
    }
    if let Some(short) = arg.get_short() {
        bare = bare.short(short);
    }
    if let Some(index) = arg.get_index() {
        bare = bare.index(index);
    }
    if let Some(names) = arg.get_value_names() {
        bare = bare.value_names(names.iter().cloned());
    }
    if arg.get_action().takes_values() {
        bare = bare.value_parser(arg.get_value_parser().clone());
        if let Some(numbers) = arg.get_num_args() {
            bare = bare.num_args(numbers);
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_parts_and_old_names_are_left_out() {
        let command = Command::new("x")
            .arg(Arg::new("seen").long("seen").conflicts_with("unseen"))
            .arg(Arg::new("unseen").long("unseen").hide(true))
            .subcommand(Command::new("shown").alias("old").arg(Arg::new("deep").long("deep").hide(true)))
            .subcommand(Command::new("secret").hide(true));
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut without_hidden(command.clone()), "x", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("seen") && script.contains("shown"), "{shell}: {script}");
            for hidden in ["unseen", "secret", "old", "deep"] {
                assert!(!script.contains(hidden), "{shell} has {hidden}: {script}");
            }
        }
    }

    #[test]
    fn every_visible_command_has_a_page() {
        let folder = std::env::temp_dir().join(format!("altergolden-man-{}", std::process::id()));
        let pages = write_pages(&folder).unwrap();
        let files: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(files.len(), pages, "{files:?}");
        for name in ["altergolden.1", "altergolden-deploy-promote.1", "coordinator.1", "gateway-worker.1"] {
            assert!(files.iter().any(|file| file == name), "{name}: {files:?}");
        }
    }
}
