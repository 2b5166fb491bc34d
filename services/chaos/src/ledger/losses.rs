//! What no handler ever started, and whether a gap was told for it.

use std::collections::BTreeSet;

use super::{GapTold, GapWas, Loss, Session, Verdict, placed::Placed};
use crate::line::{Book, Gap, Line};

/// A handler's clock readings and a gap's times are taken at different moments of one process.
const SLACK_US: u64 = 100_000;

/// A run of sequences of a session for which no handler started.
struct Hole {
    from: u64,
    to: u64,
    /// The first start of the nearest sequence below, else when the session opened.
    since_us: u64,
    /// The first start of the nearest sequence above, else when the next session opened, else now.
    until_us: u64,
    /// Nothing of the session was ever handled.
    whole: bool,
}

/// A gap, who told it, and what it was found to be good for.
struct Told<'a> {
    by: &'a str,
    gap: &'a Gap,
    lost: u64,
    replaced: bool,
}

/// Adds losses and gaps to the verdict.
pub(super) fn judge(
    sessions: &[Session],
    books: &[Book],
    placed: &Placed,
    now_us: u64,
    verdict: &mut Verdict,
) {
    let mut told: Vec<Told<'_>> = books
        .iter()
        .flat_map(|book| book.lines.iter().map(|line| (book.process.as_str(), line)))
        .filter_map(|(by, line)| match line {
            Line::Gap(gap) => Some(Told { by, gap, lost: 0, replaced: false }),
            Line::Start(_) | Line::End(_) | Line::Death(_) => None,
        })
        .collect();
    for (at, session) in sessions.iter().enumerate() {
        if is_before_the_beginning(at, sessions, placed) {
            continue;
        }
        let next = successor(sessions, session);
        if let Some(next) = next
            && !placed.first_starts(at).is_empty()
        {
            judge_replacement(session, next, sessions, placed, &mut told, verdict);
        }
        for hole in holes(session, next, placed, at, now_us) {
            let events = hole.to - hole.from + 1;
            match told.iter_mut().find(|told| excuses(told.gap, session.shard, &hole)) {
                Some(gap) => gap.lost += events,
                None => verdict.lost.push(Loss {
                    shard: session.shard,
                    session_id: session.id.clone(),
                    from: hole.from,
                    to: hole.to,
                }),
            }
        }
    }
    verdict.gaps = told.into_iter().map(Told::judged).collect();
}

/// A session that was handled gave way to another: events in between were lost, and a gap must report that.
fn judge_replacement(
    session: &Session,
    next: &Session,
    sessions: &[Session],
    placed: &Placed,
    told: &mut [Told<'_>],
    verdict: &mut Verdict,
) {
    // A gap in a session without READY is reported with the next session that has one.
    let is_handled = |session: &&Session| {
        let at = sessions.iter().position(|other| other.id == session.id);
        at.is_some_and(|at| !placed.first_starts(at).is_empty())
    };
    let arrived = std::iter::successors(Some(next), |session| successor(sessions, session)).find(is_handled);
    let over = successor(sessions, arrived.unwrap_or(next)).map_or(u64::MAX, |later| later.opened_us);
    let telling = told.iter_mut().find(|told| {
        told.gap.shard == session.shard
            && told.gap.at_us.saturating_add(SLACK_US) >= next.opened_us
            && told.gap.at_us < over
    });
    match telling {
        Some(telling) => telling.replaced = true,
        None => verdict.untold.push((session.shard, session.id.clone(), next.id.clone())),
    }
}

/// No event was promised yet: its READY never came to the first worker that the shard had, and another session began.
fn is_before_the_beginning(at: usize, sessions: &[Session], placed: &Placed) -> bool {
    let session = &sessions[at];
    let is_handled = |at: usize| !placed.first_starts(at).is_empty();
    let others = || sessions.iter().enumerate().filter(|(_, other)| other.shard == session.shard);
    let mut until_here = others().filter(|(_, other)| other.opened_us <= session.opened_us);
    let mut after = others().filter(|(_, other)| other.opened_us > session.opened_us);
    !until_here.any(|(at, _)| is_handled(at)) && after.any(|(at, _)| is_handled(at))
}

fn successor<'a>(sessions: &'a [Session], session: &Session) -> Option<&'a Session> {
    sessions
        .iter()
        .filter(|other| other.shard == session.shard && other.opened_us > session.opened_us)
        .min_by_key(|other| other.opened_us)
}

fn holes(session: &Session, next: Option<&Session>, placed: &Placed, at: usize, now_us: u64) -> Vec<Hole> {
    let starts = placed.first_starts(at);
    let whole = starts.is_empty();
    let end = next.map_or(now_us, |next| next.opened_us);
    let present: BTreeSet<u64> = starts.keys().chain(&session.silent).copied().collect();
    let mut holes = Vec::new();
    let mut expected = 1;
    for sequence in present.into_iter().chain([session.last + 1]) {
        if sequence > expected {
            let below = starts.range(..expected).next_back();
            let above = starts.range(expected..).next();
            holes.push(Hole {
                from: expected,
                to: sequence - 1,
                since_us: below.map_or(session.opened_us, |(_, at)| *at),
                until_us: above.map_or(end, |(_, at)| *at),
                whole,
            });
        }
        expected = sequence + 1;
    }
    holes
}

/// The gap was told of this shard, begins no later than the hole, and is about the same time.
fn excuses(gap: &Gap, shard: u32, hole: &Hole) -> bool {
    let from = hole.whole || gap.last_sequence < hole.from;
    let (since_us, until_us) = (gap.since_ms * 1_000, gap.until_ms * 1_000);
    gap.shard == shard
        && from
        && since_us <= hole.until_us.saturating_add(SLACK_US)
        && hole.since_us <= until_us.saturating_add(SLACK_US)
}

impl Told<'_> {
    fn judged(self) -> GapTold {
        let was = match (self.lost, self.replaced) {
            (0, false) => GapWas::Harmless,
            (0, true) => GapWas::Replacement,
            (events, _) => GapWas::True { events },
        };
        GapTold { by: self.by.to_owned(), gap: self.gap.clone(), was }
    }
}
