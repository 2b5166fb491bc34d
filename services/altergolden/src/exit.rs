//! How a command ends.

use std::{fmt, io::Write as _, process::ExitCode};

use outside_text::{printable_json, printable_lines};
use settings::Exit;
use shard_bridge::ClientError;

/// The end of a command: an exit code, and one clear line when it is not 0.
#[derive(Debug)]
pub(crate) struct Outcome {
    code: u8,
    message: Option<String>,
}

impl Outcome {
    /// All is well.
    pub(crate) fn yes() -> Self {
        Self { code: 0, message: None }
    }

    /// The answer is no; it was printed.
    pub(crate) fn no() -> Self {
        Self { code: 1, message: None }
    }

    /// The answer is not complete; it was printed.
    pub(crate) fn incomplete() -> Self {
        Self { code: 4, message: None }
    }

    /// The answer is no, in a line on standard error.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self { code: 1, message: Some(message.to_string()) }
    }

    /// A setting is wrong.
    pub(crate) fn settings(message: impl fmt::Display) -> Self {
        Self { code: Exit::Settings as u8, message: Some(message.to_string()) }
    }

    /// Discord refused the token.
    pub(crate) fn token(message: impl fmt::Display) -> Self {
        Self { code: Exit::Token as u8, message: Some(message.to_string()) }
    }

    /// Nobody answers.
    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self { code: 3, message: Some(message.to_string()) }
    }

    /// Prints the line, and gives the code.
    #[allow(clippy::print_stderr, reason = "the command line's own voice")]
    pub(crate) fn finish(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("altergolden: {}", printable_lines(&message));
        }
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Outcome {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Address { .. } => Self::settings(format!("--url (COORDINATOR_URL): {error}")),
            ClientError::Unreachable { .. } => Self::unreachable(error),
            ClientError::Refused(ref status) => match status.code() {
                tonic::Code::InvalidArgument => Self::settings(status.message()),
                tonic::Code::NotFound | tonic::Code::FailedPrecondition => Self::failed(status.message()),
                tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => {
                    Self::unreachable(status.message())
                }
                tonic::Code::Unimplemented => {
                    Self::settings("this process does not answer that: ask the coordinator")
                }
                _ => Self::failed(error),
            },
        }
    }
}

/// Prints text for people, escaping control characters: it may hold names from outside. When the reader has gone (`altergolden
/// status | head -1`), the process ends quietly, as `cat` does.
pub(crate) fn say(line: impl fmt::Display) {
    print(printable_lines(&line.to_string()));
}

/// Prints JSON, escaping control characters.
pub(crate) fn say_json(json: impl fmt::Display) {
    print(printable_json(&json.to_string()));
}

fn print(line: impl fmt::Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}
