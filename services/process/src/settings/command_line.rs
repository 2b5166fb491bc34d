//! The command line: an error in it is one line.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::error::ErrorKind;

use super::Exit;

/// Parses the command line.
///
/// # Errors
/// The exit code to end with, after one line on standard error that names the flag and the values it accepts; or, after
/// `--help` and `--version`, success.
pub fn parse<T: clap::Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        let is_mistake =
            error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if is_mistake {
            print_error(&one_line(&error.to_string()));
            return ExitCode::from(Exit::Settings as u8);
        }
        // Fails only when the reader has closed the pipe.
        let _ = match error.kind() {
            ErrorKind::DisplayVersion => {
                writeln!(std::io::stdout(), "{}", version(&error.to_string(), &program()))
            }
            _ => error.print(),
        };
        ExitCode::from(error.exit_code() as u8)
    })
}

/// The file name of the running program.
fn program() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    path.and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).unwrap_or_default()
}

/// The version as clap has it; a bot built on a library of ours is named first: `my-bot (gateway-worker 0.1.0)`.
fn version(ours: &str, program: &str) -> String {
    let ours = ours.trim_end();
    let (first, rest) =
        ours.split_once('\n').map_or((ours, String::new()), |(first, rest)| (first, format!("\n{rest}")));
    match first.split_whitespace().next() {
        Some(name) if name != program && !program.is_empty() => format!("{program} ({first}){rest}"),
        _ => ours.to_owned(),
    }
}

#[allow(clippy::print_stderr, reason = "errors of a command line go to standard error")]
fn print_error(line: &str) {
    eprintln!("{line}");
}

/// Returns the first paragraph of clap's message, and the names that it suggests, on one line.
pub fn one_line(message: &str) -> String {
    let first = message.lines().take_while(|line| !line.trim().is_empty());
    let mut line = first.map(str::trim).collect::<Vec<_>>().join(" ");
    let tips = message.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    for tip in tips.filter(|tip| tip.contains("similar")) {
        line.extend(["; ", tip]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_first_paragraph_and_suggestions() {
        let message =
            "error: these are missing:\n  <ID>\n\nUsage: x\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(message), "error: these are missing: <ID>");
        let message = "error: unrecognized subcommand 'statuss'\n\n  tip: a similar subcommand exists: 'status'\n  \
                       tip: to pass 'statuss' as a value, use '-- statuss'\n\nUsage: x\n";
        let line = "error: unrecognized subcommand 'statuss'; a similar subcommand exists: 'status'";
        assert_eq!(one_line(message), line);
    }

    #[test]
    fn versions_name_the_program_that_runs() {
        assert_eq!(version("gateway-worker 0.1.0\n", "my-bot"), "my-bot (gateway-worker 0.1.0)");
        assert_eq!(version("gateway-worker 0.1.0\n", "gateway-worker"), "gateway-worker 0.1.0");
        assert_eq!(version("gateway-worker 0.1.0\n", ""), "gateway-worker 0.1.0");
        let long = version("gateway-worker 0.1.0\nprotocol versions   1\n", "my-bot");
        assert_eq!(long, "my-bot (gateway-worker 0.1.0)\nprotocol versions   1");
    }
}
