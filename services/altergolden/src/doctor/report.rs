//! What the doctor found: lines with a verdict, as text for people and as JSON, and the exit code. Pure.

use outside_text::printable_within;
use serde_json::{Value, json};

use crate::{
    exit::CommandOutcome,
    screen::{SafeText, Screen},
};

/// Characters of one line's text. Some of it comes from outside.
const LONGEST_TEXT: usize = 400;
/// Columns before the text: the verdict and the name of the check.
const INDENT: usize = 9 + 20;

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The check ran and found nothing wrong.
    Ok,
    /// The check ran. The fleet starts and runs, but something should change.
    Warn,
    /// The check ran. The fleet does not start, or does not run as it should.
    Fail,
    /// The check could not run, so its result is unknown.
    Unknown,
    /// There is nothing to check, as with questions to a fleet that is not running.
    NotNeeded,
}

impl Verdict {
    /// The word in front of a line.
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown | Self::NotNeeded => "skipped",
        }
    }

    /// ANSI colour.
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\u{1b}[32m",
            Self::Warn => "\u{1b}[33m",
            Self::Fail => "\u{1b}[31m",
            Self::Unknown => "\u{1b}[35m",
            Self::NotNeeded => "\u{1b}[2m",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The name of the check, which scripts match on. Never renamed.
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// What was found, or why the check did not run.
    pub(super) text: String,
    /// What to do; empty when there is nothing to do.
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, text: text.into(), remedy: String::new() }
    }

    pub(super) fn warn(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, text: text.into(), remedy: remedy.into() }
    }

    pub(super) fn fail(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, text: text.into(), remedy: remedy.into() }
    }

    /// The check could not run.
    pub(super) fn unknown(check: &'static str, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Unknown, text: why.into(), remedy: remedy.into() }
    }

    /// There is nothing to check.
    pub(super) fn not_needed(check: &'static str, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::NotNeeded, text: why.into(), remedy: remedy.into() }
    }
}

/// All lines, in the order in which they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report(pub(super) Vec<Finding>);

impl Report {
    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// The worst verdict decides: a failure, then a check that could not run. Warnings do not count.
    pub(super) fn outcome(&self) -> CommandOutcome {
        if self.count(Verdict::Fail) > 0 {
            CommandOutcome::negative()
        } else if self.count(Verdict::Unknown) > 0 {
            CommandOutcome::incomplete()
        } else {
            CommandOutcome::success()
        }
    }

    /// The lines as text, each remedy below its line, and a summary.
    pub(super) fn for_people(&self, screen: Screen) -> SafeText {
        let mut lines = Vec::new();
        for finding in &self.0 {
            let word = format!("{:<9}", finding.verdict.word());
            let word =
                if screen.colour { format!("{}{word}\u{1b}[0m", finding.verdict.colour()) } else { word };
            let name = finding.check.replace('_', " ");
            let found = printable_within(&finding.text, LONGEST_TEXT).to_string();
            let found = match finding.verdict {
                Verdict::Unknown | Verdict::NotNeeded => format!("({found})"),
                Verdict::Ok | Verdict::Warn | Verdict::Fail => found,
            };
            let found = wrapped(&found, screen.width, INDENT);
            lines.push(format!("{word}{name:<20}{found}"));
            if !finding.remedy.is_empty() {
                let remedy = printable_within(&finding.remedy, LONGEST_TEXT).to_string();
                let remedy = wrapped(&remedy, screen.width, INDENT + 3);
                lines.push(format!("{:INDENT$}-> {remedy}", ""));
            }
        }
        lines.push(format!(
            "{} ok, {} to improve, {} failed, {} could not be checked",
            self.count(Verdict::Ok),
            self.count(Verdict::Warn),
            self.count(Verdict::Fail),
            self.count(Verdict::Unknown),
        ));
        SafeText::from_escaped(lines.join("\n"))
    }

    /// The lines for programs.
    pub(super) fn for_programs(&self) -> Value {
        let lines: Vec<Value> = self
            .0
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check,
                    "result": finding.verdict.word(),
                    "needed": finding.verdict != Verdict::NotNeeded,
                    "text": printable_within(&finding.text, LONGEST_TEXT).to_string(),
                    "remedy": printable_within(&finding.remedy, LONGEST_TEXT).to_string(),
                })
            })
            .collect();
        json!({
            "ok": self.count(Verdict::Ok),
            "warn": self.count(Verdict::Warn),
            "fail": self.count(Verdict::Fail),
            "unknown": self.count(Verdict::Unknown),
            "lines": lines,
        })
    }
}

/// Breaks text between words so that it fits the terminal beside `indent` columns. Short terminals and pipes get one line.
fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(room) = width.and_then(|width| width.checked_sub(indent)).filter(|room| *room >= 30) else {
        return text.to_owned();
    };
    let (mut wrapped, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        let length = unicode_width::UnicodeWidthStr::width(word);
        if column > 0 && column + 1 + length > room {
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_follows_the_worst_line() {
        let code = |findings: &[Finding]| format!("{:?}", Report(findings.to_vec()).outcome());
        let ok = Finding::ok("token", "accepted");
        let warn = Finding::warn("redis_latency", "slow", "move it");
        let fail = Finding::fail("token", "refused", "set it");
        let unknown = Finding::unknown("redis", "no answer", "start it");
        let not_needed = Finding::not_needed("fleet", "none runs", "");
        let expected = |outcome: CommandOutcome| format!("{outcome:?}");
        assert_eq!(
            code(&[ok.clone(), warn.clone(), not_needed.clone()]),
            expected(CommandOutcome::success())
        );
        assert_eq!(code(&[ok.clone(), unknown.clone()]), expected(CommandOutcome::incomplete()));
        assert_eq!(code(&[unknown, fail, ok]), expected(CommandOutcome::negative()));
    }

    #[test]
    fn text_from_outside_is_escaped_and_wrapped_between_words() {
        let report =
            Report(vec![Finding::fail("token", "bad\u{1b}[2J name of the bot that is long", "do that")]);
        let narrow = Screen { width: Some(60), colour: false };
        let text = report.for_people(narrow).to_string();
        assert!(!text.contains('\u{1b}') && text.contains("bad\\u{1b}[2J"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 60), "{text}");
        assert!(text.contains("-> do that"), "{text}");
        let json = report.for_programs();
        assert_eq!((&json["fail"], &json["lines"][0]["result"]), (&1.into(), &"fail".into()));
    }
}
