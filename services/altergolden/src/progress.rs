//! Progress of long work: a bar with an estimate on standard error where that is a terminal, otherwise a line on standard output for
//! each change.
//!
//! Owns how progress looks. Its callers count: [`Progress::show`] takes what is done of what there is, and a note.

use std::{
    env, fmt,
    io::{IsTerminal as _, stderr, stdout},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use outside_text::printable;

use crate::{screen::is_colour_wanted, status_line::StatusLine};

/// Width of the bar, in characters.
const BAR: usize = 24;

/// How often the bar is drawn again, so that its time moves on.
const TICK: Duration = Duration::from_millis(100);

/// One piece of long work.
///
/// Dropping it removes the bar.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    lines: StatusLine,
    unit: &'static str,
    counts: (u64, u64),
}

impl Progress {
    /// Work that counts `unit`, such as `shards`. `expected`: how long all of it takes, if that is known. With `wanted` false nothing is
    /// shown.
    pub(crate) fn new(unit: &'static str, expected: Option<Duration>, wanted: bool) -> Self {
        let is_dumb = env::var_os("TERM").is_none_or(|value| value == "dumb");
        let has_bar = wanted && stderr().is_terminal() && !is_dumb;
        let bar = has_bar.then(|| bar(unit, expected));
        // A file gets its lines, even if the terminal shows a bar.
        let lines = StatusLine::new(wanted && (!has_bar || !stdout().is_terminal()));
        Self { bar, lines, unit, counts: (0, 0) }
    }

    /// Shows that `done` of `all` are done. `note` is about the present state, and may be empty.
    pub(crate) fn show(&mut self, done: u64, all: u64, note: &str) {
        self.counts = (done, all);
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done.min(all));
            bar.set_message(printable(note).to_string());
        }
        self.lines.show(&line(done, all, self.unit, note));
    }

    /// Shows another note beside the counts.
    pub(crate) fn note(&mut self, note: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(printable(note).to_string()),
            None => self.lines.show(note),
        }
    }

    /// Ends the work: the bar disappears, so that the result stands in its place.
    pub(crate) fn end(mut self) {
        self.lines.end();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `⠹ ████████████░░░░░░░░░░░░ 6 of 12 shards, 2 s, about 2 s left  paused: ...`.
fn bar(unit: &'static str, expected: Option<Duration>) -> ProgressBar {
    let colour = if is_colour_wanted() { ".green" } else { "" };
    let template = format!("{{spinner}} {{bar:{BAR}{colour}}} {{counts}}{{time}}  {{wide_msg}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style
        .progress_chars("█░")
        .with_key("counts", move |state: &ProgressState, out: &mut dyn fmt::Write| {
            // Nothing is counted before the first call of `show`.
            if let Some(all) = state.len() {
                let _ = write!(out, "{} of {all} {unit}, ", state.pos());
            }
        })
        .with_key("time", move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&time(state.pos(), state.len().unwrap_or(0), state.elapsed(), expected));
        });
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

/// The time so far, and what is left of it: `2 s, about 2 s left`.
fn time(done: u64, all: u64, elapsed: Duration, expected: Option<Duration>) -> String {
    let left = time_left(done, all, elapsed, expected);
    let left = left.map_or_else(String::new, |left| format!(", about {} left", span(left)));
    span(elapsed) + &left
}

/// What is left: by the speed so far; before the first is done by what was expected. `None` when that can't be told.
pub(crate) fn time_left(
    done: u64,
    all: u64,
    elapsed: Duration,
    expected: Option<Duration>,
) -> Option<Duration> {
    if done >= all && all > 0 {
        return Some(Duration::ZERO);
    }
    if done == 0 {
        return expected?.checked_sub(elapsed).filter(|left| !left.is_zero());
    }
    let left = elapsed.as_secs_f64() * (all - done) as f64 / done as f64;
    Duration::try_from_secs_f64(left).ok()
}

/// A length of time in one or two units: `41 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_millis() >= 500));
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// ############------------] 6/12 shards: note`.
fn line(done: u64, all: u64, unit: &str, note: &str) -> String {
    let filled = match usize::try_from(u128::from(done) * BAR as u128 / u128::from(all.max(1))) {
        Ok(filled) if all > 0 => filled.min(BAR),
        _ => BAR,
    };
    let bar = format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR - filled));
    let note = if note.is_empty() { String::new() } else { format!(", {note}") };
    format!("{bar} {done}/{all} {unit}{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimate_follows_the_speed_once_something_is_done() {
        let seconds = Duration::from_secs;
        let left = |done, elapsed, expected| time_left(done, 12, seconds(elapsed), expected);
        assert_eq!(left(0, 1, None), None, "nothing to judge by");
        assert_eq!(left(0, 1, Some(seconds(10))), Some(seconds(9)));
        assert_eq!(left(0, 11, Some(seconds(10))), None, "it takes longer than expected");
        assert_eq!(
            left(3, 6, Some(seconds(10))),
            Some(seconds(18)),
            "the speed counts, not what was expected"
        );
        assert_eq!(left(12, 6, None), Some(seconds(0)));
        assert_eq!(time_left(0, 0, seconds(3), None), None);
        assert_eq!(time_left(1, u64::MAX, Duration::MAX, None), None, "no overflow");
    }

    #[test]
    fn spans_have_at_most_two_units() {
        let shown = [0, 41, 119, 120, 200, 7_199, 7_200, 90_061].map(|s| span(Duration::from_secs(s)));
        assert_eq!(
            shown,
            ["0 s", "41 s", "119 s", "2 min", "3 min 20 s", "119 min 59 s", "2 h 0 min", "25 h 1 min"]
        );
        assert_eq!(span(Duration::from_millis(1_600)), "2 s");
    }

    #[test]
    fn lines_show_counts_and_notes() {
        assert_eq!(line(6, 12, "shards", ""), "[############------------] 6/12 shards");
        assert_eq!(
            line(0, 4, "workers", "paused: the store is away"),
            "[------------------------] 0/4 workers, paused: the store is away"
        );
        assert_eq!(line(0, 0, "shards", ""), "[########################] 0/0 shards");
        assert_eq!(line(9, 4, "shards", ""), "[########################] 9/4 shards");
        assert_eq!(line(u64::MAX, u64::MAX, "x", "").matches('#').count(), 24);
    }

    #[test]
    fn bar_shows_counts_time_and_estimate() {
        assert_eq!(time(6, 12, Duration::from_secs(2), None), "2 s, about 2 s left");
        assert_eq!(time(0, 12, Duration::from_secs(2), None), "2 s");
    }
}
