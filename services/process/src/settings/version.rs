//! The text of `--version`.

use std::{fmt, ops::RangeInclusive};

/// The commit that a distributed build was made from: set `ALTERGOLDEN_COMMIT` when building. Other builds have none.
const COMMIT: Option<&str> = option_env!("ALTERGOLDEN_COMMIT");

/// Returns what `--version` shows after the program's name: the version, and on lines of their own what matters in an upgrade. Processes
/// that share a protocol version understand each other; workers that share a checkpoint format can take over each other's shards.
pub fn long_version<P: fmt::Display + PartialEq, F: fmt::Display + PartialEq>(
    version: &str,
    protocols: RangeInclusive<P>,
    checkpoint_formats: RangeInclusive<F>,
) -> String {
    lines(version, &range(&protocols), &range(&checkpoint_formats), COMMIT)
}

fn lines(version: &str, protocols: &str, formats: &str, commit: Option<&str>) -> String {
    // An empty variable is what a build argument without a value becomes.
    let commit = commit.filter(|commit| !commit.is_empty());
    let commit = commit.map_or_else(String::new, |commit| format!("\ncommit              {commit}"));
    format!("{version}{commit}\nprotocol versions   {protocols}\ncheckpoint formats  {formats}")
}

/// `1 to 3`, or `1` alone.
fn range<T: fmt::Display + PartialEq>(range: &RangeInclusive<T>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first} to {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_is_left_out_of_other_builds() {
        let without = "0.1.0\nprotocol versions   1\ncheckpoint formats  1 to 3";
        assert_eq!(lines("0.1.0", &range(&(1..=1)), &range(&(1..=3)), None), without);
        assert_eq!(lines("0.1.0", "1", "1 to 3", Some("")), without);
        let with = lines("0.1.0", "1", "1 to 3", Some("2e80acb"));
        assert_eq!(
            with,
            "0.1.0\ncommit              2e80acb\nprotocol versions   1\ncheckpoint formats  1 to 3"
        );
    }
}
