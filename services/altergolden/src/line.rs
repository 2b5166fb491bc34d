//! One line that changes.

use std::io::{IsTerminal as _, Write as _};

use outside_text::printable;

use crate::exit::say;

/// In a terminal one line that changes, else one line each time it has changed.
#[derive(Debug)]
pub(crate) struct Line {
    wanted: bool,
    terminal: bool,
    shown: String,
}

impl Line {
    /// `wanted`: whether anything is shown at all.
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, terminal: std::io::stdout().is_terminal(), shown: String::new() }
    }

    /// Shows a text in place of the one before.
    pub(crate) fn show(&mut self, text: &str) {
        if !self.wanted || self.shown == text {
            return;
        }
        text.clone_into(&mut self.shown);
        if self.terminal {
            let mut out = std::io::stdout();
            // A terminal that is gone ends the process by SIGHUP.
            let _ = write!(out, "\r\u{1b}[2K{}", printable(text)).and_then(|()| out.flush());
        } else {
            say(text);
        }
    }

    /// What comes next begins on a line of its own.
    pub(crate) fn end(&mut self) {
        if self.terminal && !self.shown.is_empty() {
            say("");
        }
    }
}
