//! The command line: what is wrong with it in one line.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::Exit;

/// Parses the command line.
///
/// # Errors
/// The exit code to end with, after one line on standard error that names the flag and what it takes; or, after `--help`
/// and `--version`, success.
pub fn parse<T: clap::Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        let is_wrong =
            error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if is_wrong {
            say(&one_line(&error.to_string()));
            return ExitCode::from(Exit::Settings as u8);
        }
        // Nobody may be reading: then there is nobody to help.
        let _ = error.print();
        ExitCode::from(error.exit_code() as u8)
    })
}

#[allow(clippy::print_stderr, reason = "the command line's own voice")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// The first paragraph of clap's message on one line: the rest is usage and advice.
pub fn one_line(message: &str) -> String {
    let first = message.lines().take_while(|line| !line.trim().is_empty());
    first.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_first_paragraph() {
        let message =
            "error: these are missing:\n  <ID>\n\nUsage: x\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(message), "error: these are missing: <ID>");
    }
}
