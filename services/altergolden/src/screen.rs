//! Where text for people goes: a terminal of some width, or a pipe.

use std::{
    env, fmt,
    io::{IsTerminal as _, stdout},
};

use outside_text::printable_lines;

/// What standard output can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Columns of the terminal, 80 when it does not tell; a pipe has no limit.
    pub(crate) width: Option<usize>,
    /// Whether states are coloured.
    pub(crate) colour: bool,
}

impl Screen {
    /// Standard output. A pipe gets plain text; so does a terminal with [`NO_COLOR`](https://no-color.org) or `TERM=dumb`.
    pub(crate) fn stdout() -> Self {
        if !stdout().is_terminal() {
            return Self::default();
        }
        let width = terminal_size::terminal_size_of(stdout()).map_or(80, |(width, _)| usize::from(width.0));
        Self { width: Some(width), colour: is_colour_wanted() }
    }
}

/// Whether a terminal is to show colours: not with [`NO_COLOR`](https://no-color.org), and not with `TERM=dumb`.
pub(crate) fn is_colour_wanted() -> bool {
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    !no_colour && !dumb
}

/// Text for people that is safe to print: control characters from outside are escaped, colours are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SafeText(String);

impl SafeText {
    /// Takes text in which everything from outside is escaped already.
    pub(crate) fn from_escaped(text: String) -> Self {
        Self(text)
    }
}

/// Escapes control characters.
impl From<String> for SafeText {
    fn from(text: String) -> Self {
        Self(printable_lines(&text).to_string())
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends text.
impl std::ops::Add for SafeText {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0 + &more.0)
    }
}
