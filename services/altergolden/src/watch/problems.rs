//! Problems as lines of text.

use altergolden_proto::v1;
use outside_text::{printable, printable_within};
use ratatui::style::Style;

use super::text::{Palette, age_of, wrapped};
use crate::value_text::problem_weight;

/// The most characters of one problem: its shards and its reason.
const LONGEST: usize = 2_000;

/// `problem: worker a is cut off (worker_cut_off, began 12 s ago)`.
pub(super) fn text(problem: &v1::Problem, now_unix_ms: u64) -> String {
    let began = problem.since_unix_ms.and_then(|at| age_of(at, now_unix_ms));
    let began = began.map_or_else(String::new, |age| format!(", began {age} ago"));
    let message = printable_within(&problem.message, LONGEST);
    format!("{}: {message} ({}{began})", problem_weight(problem.weight), printable(&problem.code))
}

/// The style of a problem.
pub(super) fn style(problem: &v1::Problem, palette: Palette) -> Style {
    match problem.weight() {
        v1::ProblemWeight::Progress => palette.changing(),
        v1::ProblemWeight::Advice => palette.info(),
        v1::ProblemWeight::Problem | v1::ProblemWeight::Unspecified => palette.bad(),
    }
}

/// The text of a problem in lines of at most `width` columns.
pub(super) fn lines(problem: &v1::Problem, now_unix_ms: u64, width: usize) -> Vec<String> {
    wrapped(&text(problem, now_unix_ms), width, "  ")
}

/// How many lines all problems have.
pub(super) fn count_lines(problems: &[v1::Problem], now_unix_ms: u64, width: usize) -> usize {
    problems.iter().map(|problem| lines(problem, now_unix_ms, width).len()).sum()
}
