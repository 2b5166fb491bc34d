//! What a handler writes down: one line for each event when its handling starts, one when it ends, one for each gap.
//!
//! `ledger-bot` writes them, each with one `write`, so that a SIGKILL loses no line of something that was done; the
//! [comparer](crate::ledger) reads them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Which event, on whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The shard's number.
    pub shard: u32,
    /// Under which the worker ran the shard.
    pub epoch: u64,
    /// The session's ordinal.
    pub session: u64,
    /// The event's sequence in it.
    pub sequence: u64,
}

/// A handler began with an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// Which event.
    #[serde(flatten)]
    pub place: Place,
    /// Discord's name for it.
    pub name: Box<str>,
    /// Marked as one that may have been handled before.
    pub replayed: bool,
    /// In which guild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guild: Option<u64>,
    /// Of a READY: the session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Of a simulated message: its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<u64>,
}

/// A handler is through with an event, by a panic too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// Which event.
    #[serde(flatten)]
    pub place: Place,
}

/// A gap was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// The shard's number.
    pub shard: u32,
    /// Under which the worker runs the shard.
    pub epoch: u64,
    /// The last sequence before the gap; 0 when unknown.
    pub last_sequence: u64,
    /// When the last event before it came, in milliseconds since the Unix epoch; 0 when unknown.
    pub since_ms: u64,
    /// When events came again, in milliseconds since the Unix epoch.
    pub until_ms: u64,
    /// Why, for people.
    pub reason: String,
}

/// The process is about to die, at a failpoint or of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// The failpoint's name, or the setting's that names the message.
    pub point: String,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// A handler began.
    Start(Start),
    /// A handler is through.
    End(End),
    /// A gap was told.
    Gap(Gap),
    /// The last line of a process that dies at a failpoint or of a message.
    Death(Death),
}

/// What one process wrote.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The process: its worker's name and which of its lives.
    pub process: String,
    /// Its lines, in order.
    pub lines: Vec<Line>,
}

/// A book can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A malformed line that is not the last.
    #[error("malformed ledger line {number} of {path}: {text}")]
    Line {
        /// Of which file.
        path: PathBuf,
        /// Counted from 1.
        number: usize,
        /// What it says.
        text: String,
    },
}

impl Book {
    /// Reads what a process wrote so far. A last line without its end was never written: the kill came first.
    ///
    /// # Errors
    /// No such file, or something else in it.
    pub fn read(path: &Path) -> Result<Self, BookError> {
        let text =
            fs::read_to_string(path).map_err(|source| BookError::File { path: path.to_owned(), source })?;
        let process = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().zip(1..).map(|(text, number)| {
            serde_json::from_str(text).map_err(|_| BookError::Line {
                path: path.to_owned(),
                number,
                text: text.to_owned(),
            })
        });
        Ok(Self { process, lines: lines.collect::<Result<_, _>>()? })
    }
}

impl Line {
    /// As it is written, with the newline.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("numbers and strings are JSON");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_lines_are_read_and_a_torn_last_line_is_skipped() {
        let place = Place { shard: 1, epoch: 2, session: 3, sequence: 4 };
        let ready = Start {
            at_us: 5,
            place,
            name: "READY".into(),
            replayed: false,
            guild: None,
            session_id: Some("abc".to_owned()),
            message: None,
        };
        let lines = vec![Line::Start(ready), Line::End(End { at_us: 6, place })];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-0.ledger");
        let text: String = lines.iter().map(Line::text).collect();
        fs::write(&path, format!("{text}{{\"line\":\"sta")).unwrap();
        let book = Book::read(&path).unwrap();
        assert_eq!((book.process.as_str(), book.lines), ("a-0", lines));
        fs::write(&path, format!("nonsense\n{text}")).unwrap();
        assert!(matches!(Book::read(&path), Err(BookError::Line { number: 1, .. })));
    }
}
