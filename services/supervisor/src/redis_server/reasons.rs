//! Why a server ended, from the last lines that it wrote: pure.

use outside_text::printable;

/// A server that ended before it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Another process has the port.
    PortTaken,
    /// Its data can't be read: the line that says so.
    Unreadable(String),
    /// Anything else: its last warning, or an empty text.
    Other(String),
}

/// What Redis and Valkey write when they can't load their files. `Short read` comes with 6.2 too.
const UNREADABLE: [&str; 8] = [
    "Bad file format reading the append only file",
    "Unexpected end of file reading the append only file",
    "Can't handle RDB format version",
    "rdb file reading failure",
    "Wrong signature trying to load DB",
    "Short read or OOM loading DB",
    "AOF manifest file",
    "Unrecoverable error reading the append only file",
];

/// The line with which a start ends well. Advice about the host's settings comes before it, at the level of warnings.
const STARTED: &str = "Ready to accept connections";

/// Reads the log lines of the process `pid` since it was ready, if it ever was, and what it wrote to standard error.
pub(super) fn reason(pid: u32, log: &str, standard_error: &str) -> Reason {
    let ours = format!("{pid}:");
    let log = log.rsplit_once(STARTED).map_or(log, |(_, after)| after);
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with(&ours)).map(message).collect();
    if lines.iter().any(|line| line.contains("Address already in use")) {
        return Reason::PortTaken;
    }
    if let Some(line) = lines.iter().rev().find(|line| UNREADABLE.iter().any(|text| line.contains(text))) {
        return Reason::Unreadable(printable(line).to_string());
    }
    let is_problem =
        |line: &&str| line.starts_with(&ours) && line.contains(" # ") && !line.contains(" # WARNING");
    let warning = log.lines().rev().find(is_problem);
    let last =
        warning.map(message).or_else(|| standard_error.lines().rev().find(|line| !line.trim().is_empty()));
    Reason::Other(printable(last.unwrap_or_default().trim()).to_string())
}

/// The message of `19436:M 29 Nov 2026 23:45:09.288 # message`.
fn message(line: &str) -> &str {
    [" # ", " * ", " - "]
        .iter()
        .filter_map(|level| line.split_once(level))
        .min_by_key(|(before, _)| before.len())
        .map_or(line, |(_, message)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_that_is_taken_is_recognized() {
        let log = "7:M 29 Nov 2026 23:45:09.288 # Warning: Could not create server TCP listening socket 127.0.0.1:6380: bind: \
                   Address already in use\n7:M 29 Nov 2026 23:45:09.289 # Failed listening on port 6380 (TCP), aborting.\n";
        assert_eq!(reason(7, log, ""), Reason::PortTaken);
        // An earlier server's lines.
        assert_eq!(reason(8, log, ""), Reason::Other(String::new()));
    }

    #[test]
    fn unreadable_data_is_recognized() {
        let line = "Bad file format reading the append only file appendonly.aof.1.incr.aof: make a backup of your AOF file, \
                    then use ./redis-check-aof --fix <filename.manifest>";
        let log = format!(
            "7:M 29 Nov 2026 23:45:09.288 * RDB is base AOF\n7:M 29 Nov 2026 23:45:09.288 # {line}\n"
        );
        assert_eq!(reason(7, &log, ""), Reason::Unreadable(line.to_owned()));
    }

    #[test]
    fn last_warning_or_standard_error_is_the_reason() {
        let log = "7:M 29 Nov 2026 23:45:09.288 # Can't open or create append-only dir appendonlydir: Permission denied\n\
                   7:M 29 Nov 2026 23:45:09.289 * bye\n";
        let expected = "Can't open or create append-only dir appendonlydir: Permission denied";
        assert_eq!(reason(7, log, "x"), Reason::Other(expected.to_owned()));
        let fatal =
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nBad directive or wrong number of arguments\n";
        assert_eq!(
            reason(7, "", fatal),
            Reason::Other("Bad directive or wrong number of arguments".to_owned())
        );
    }
}
