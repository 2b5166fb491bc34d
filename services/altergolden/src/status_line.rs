//! One line of progress.

use std::io::{IsTerminal as _, Write as _};

use outside_text::printable;

use crate::exit::print_line;

/// On a terminal one line that is overwritten, otherwise a line for each change.
#[derive(Debug)]
pub(crate) struct StatusLine {
    wanted: bool,
    terminal: bool,
    shown: String,
}

impl StatusLine {
    /// With `wanted` false nothing is shown.
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, terminal: std::io::stdout().is_terminal(), shown: String::new() }
    }

    /// Replaces the shown text.
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
            print_line(text);
        }
    }

    /// Ends the line, so that later output begins on its own line.
    pub(crate) fn end(&mut self) {
        if self.terminal && !self.shown.is_empty() {
            print_line("");
        }
    }
}
