//! Exit codes and printing.

use std::{fmt, io::Write as _, process::ExitCode};

use outside_text::{printable_json, printable_lines};
use process::settings::{self, Exit};
use shard_bridge::ClientError;

use crate::screen::SafeText;

/// The exit code of a command, and a line for standard error.
#[derive(Debug)]
pub(crate) struct CommandOutcome {
    code: u8,
    message: Option<String>,
}

impl CommandOutcome {
    /// The command succeeded.
    pub(crate) fn success() -> Self {
        Self { code: 0, message: None }
    }

    /// The answer is no; it was printed.
    pub(crate) fn negative() -> Self {
        Self { code: 1, message: None }
    }

    /// The answer is not complete; it was printed.
    pub(crate) fn incomplete() -> Self {
        Self { code: 4, message: None }
    }

    /// The answer is not known, for the reason in the line on standard error.
    pub(crate) fn unknown(message: impl fmt::Display) -> Self {
        Self { code: 4, message: Some(message.to_string()) }
    }

    /// The answer is no, in a line on standard error.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self { code: 1, message: Some(message.to_string()) }
    }

    /// A setting is wrong.
    pub(crate) fn wrong_setting(message: impl fmt::Display) -> Self {
        Self { code: Exit::Settings as u8, message: Some(message.to_string()) }
    }

    /// A variable that the coordinator or a worker reads is wrong, such as `INTENTS`.
    pub(crate) fn wrong_flag(error: clap::Error) -> Self {
        let line = settings::one_line(&error.to_string());
        Self::wrong_setting(line.strip_prefix("error: ").unwrap_or(&line))
    }

    /// Discord refused the token.
    pub(crate) fn refused_token(message: impl fmt::Display) -> Self {
        Self { code: Exit::Token as u8, message: Some(message.to_string()) }
    }

    /// A second signal has killed what ran.
    pub(crate) fn killed() -> Self {
        Self { code: 130, message: None }
    }

    /// The process that was asked does not answer.
    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self { code: 3, message: Some(message.to_string()) }
    }

    /// Prints the line and returns the code.
    #[allow(clippy::print_stderr, reason = "errors of a command line go to standard error")]
    pub(crate) fn finish(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("altergolden: {}", printable_lines(&message));
        }
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for CommandOutcome {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Address { .. } => Self::wrong_setting(format!("--url (COORDINATOR_URL): {error}")),
            ClientError::Credentials(_) => Self::wrong_setting(error),
            ClientError::Unreachable { .. } => Self::unreachable(error),
            ClientError::Refused(ref status) => match status.code() {
                tonic::Code::InvalidArgument => Self::wrong_setting(status.message()),
                tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => {
                    Self::wrong_setting(format!("--credentials (CREDENTIALS): {}", status.message()))
                }
                tonic::Code::NotFound | tonic::Code::FailedPrecondition => Self::failed(status.message()),
                tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => {
                    Self::unreachable(status.message())
                }
                tonic::Code::Unimplemented => Self::wrong_setting(
                    "--url (COORDINATOR_URL): this process is not the coordinator, and only the coordinator answers this; ask the coordinator",
                ),
                _ => Self::failed(error),
            },
        }
    }
}

/// Prints text for people, escaping control characters: it may hold names from outside. When the reader has closed the pipe
/// (`altergolden status | head -1`), the process ends quietly, as `cat` does.
pub(crate) fn print_line(line: impl fmt::Display) {
    print(printable_lines(&line.to_string()));
}

/// Prints text that is escaped already.
pub(crate) fn print_text(text: &SafeText) {
    print(text);
}

/// Prints JSON, escaping control characters.
pub(crate) fn print_json(json: impl fmt::Display) {
    print(printable_json(&json.to_string()));
}

fn print(line: impl fmt::Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}
