//! Ledgers made by hand: what each verdict is for, and that it is not passed for the wrong reason.

use super::*;
use crate::line::{End, Gap, Line, Place, Start};

const EPOCH: u64 = 100;

/// A second, in microseconds.
const S: u64 = 1_000_000;

/// Session "s1" of shard 0, with sequences 1 to `last`.
fn session(last: u64) -> Session {
    Session { id: "s1".into(), shard: 0, opened_us: S, ended_us: None, last, silent: [].into() }
}

fn place(epoch: u64, session: u64, sequence: u64) -> Place {
    Place { shard: 0, epoch, session, sequence }
}

fn start_at(at_us: u64, place: Place) -> Start {
    let ready = place.sequence == 1;
    Start {
        at_us,
        place,
        name: if ready { "READY" } else { "MESSAGE_CREATE" }.into(),
        replayed: false,
        guild: (!ready).then_some(7),
        session_id: ready.then(|| format!("s{}", place.session)),
        message: None,
    }
}

/// Starts of these sequences of session 1, one each second, from the sequence's own second on.
fn handled(epoch: u64, sequences: impl IntoIterator<Item = u64>) -> Vec<Line> {
    sequences
        .into_iter()
        .flat_map(|sequence| both(start_at(sequence * S, place(epoch, 1, sequence))))
        .collect()
}

fn both(start: Start) -> [Line; 2] {
    let end = End { at_us: start.at_us + 1, place: start.place };
    [Line::Start(start), Line::End(end)]
}

fn replayed(mut start: Start) -> Start {
    start.replayed = true;
    start
}

fn gap(at_us: u64, last_sequence: u64, since_us: u64) -> Line {
    Line::Gap(Gap {
        at_us,
        shard: 0,
        epoch: EPOCH,
        last_sequence,
        since_ms: since_us / 1_000,
        until_ms: at_us / 1_000,
        reason: "a test".into(),
    })
}

fn book(process: &str, lines: impl IntoIterator<Item = Line>) -> Book {
    Book { process: process.into(), lines: lines.into_iter().collect() }
}

fn judged(sessions: &[Session], books: &[Book]) -> Verdict {
    compare(sessions, books, Rules::default(), 1_000 * S)
}

#[test]
fn all_handled_once_is_clean() {
    let books = [book("a-0", handled(EPOCH, 1..=5))];
    let verdict = judged(&[session(5)], &books);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.dispatched, verdict.handled["a-0"].events), (5, 5));
}

#[test]
fn unstarted_events_are_lost_at_either_end_and_in_the_middle() {
    let verdict = judged(&[session(9)], &[book("a-0", handled(EPOCH, [1, 2, 5, 6]))]);
    let lost: Vec<(u64, u64)> = verdict.lost.iter().map(|loss| (loss.from, loss.to)).collect();
    assert_eq!(lost, [(3, 4), (7, 9)]);
    assert_eq!(verdict.lost_events(), 5);
    assert!(!verdict.is_clean());
    // A session of which nothing at all was handled.
    let verdict = judged(&[session(3)], &[book("a-0", [])]);
    assert_eq!(verdict.lost_events(), 3);
}

#[test]
fn resumed_is_nothing_to_lose() {
    let mut session = session(5);
    session.silent.extend([3, 5]);
    let books = [book("a-0", handled(EPOCH, [1, 2, 4]))];
    let verdict = judged(&[session], &books);
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn gap_excuses_only_the_events_that_it_names() {
    let handled = || handled(EPOCH, [1, 2, 5, 6]);
    let with = |told| judged(&[session(6)], &[book("a-0", handled().into_iter().chain([told]))]);
    let excused = with(gap(5 * S, 2, 2 * S));
    assert!(excused.is_clean(), "{excused}");
    assert_eq!(excused.gaps[0].was, GapWas::True { events: 2 });
    assert!(with(gap(5 * S, 0, 0)).is_clean(), "the start of the gap is unknown");
    // It says that 3 was seen; it ended before the hole; it began after it.
    for wrong in [gap(5 * S, 3, 2 * S), gap(S, 2, 0), gap(9 * S, 2, 7 * S)] {
        let verdict = with(wrong);
        assert_eq!(verdict.lost_events(), 2, "{verdict}");
        assert_eq!(verdict.gaps[0].was, GapWas::Harmless);
    }
    // Of another shard.
    let Line::Gap(mut other) = gap(5 * S, 2, 2 * S) else { unreachable!() };
    other.shard = 1;
    assert_eq!(with(Line::Gap(other)).lost_events(), 2);
}

/// Session 1 with five events, of which three were handled; session 2 follows at second 20, fully handled.
fn replaced(told: Option<Line>) -> Verdict {
    let old = Session { ended_us: Some(19 * S), ..session(5) };
    let new = Session { id: "s2".into(), opened_us: 20 * S, ..session(2) };
    let after = (1..=2).flat_map(|sequence| both(start_at((20 + sequence) * S, place(EPOCH, 2, sequence))));
    let lines = handled(EPOCH, 1..=3).into_iter().chain(told).chain(after);
    judged(&[old, new], &[book("a-0", lines)])
}

#[test]
fn replaced_session_needs_a_gap() {
    let silent = replaced(None);
    assert_eq!((silent.lost_events(), silent.untold.len()), (2, 1), "{silent}");
    let told = replaced(Some(gap(21 * S, 3, 3 * S)));
    assert!(told.is_clean(), "{told}");
    assert_eq!(told.gaps[0].was, GapWas::True { events: 2 });
}

#[test]
fn gap_of_a_session_without_ready_is_reported_with_the_next() {
    let later = |id: &str, opened_us, last| Session { id: id.into(), opened_us, ..session(last) };
    let sessions = [session(2), later("s2", 3 * S, 0), later("s3", 5 * S, 1)];
    let mut lines = handled(EPOCH, 1..=2);
    lines.extend(both(start_at(6 * S, place(EPOCH, 3, 1))));
    assert_eq!(judged(&sessions, &[book("a", lines.clone())]).untold.len(), 1);
    lines.push(gap(6 * S, 2, 2 * S));
    let told = judged(&sessions, &[book("a", lines)]);
    assert_eq!((told.untold.len(), told.lost_events()), (0, 0), "{told}");
}

#[test]
fn events_before_the_first_ready_were_not_promised() {
    let new = Session { id: "s2".into(), opened_us: 20 * S, ..session(1) };
    let ready = both(start_at(21 * S, place(EPOCH, 2, 1)));
    let verdict = judged(&[session(5), new.clone()], &[book("a-0", ready.clone())]);
    assert!(verdict.is_clean(), "{verdict}");
    // But when the shard was handled before, it was.
    let oldest = Session { id: "s0".into(), opened_us: S / 2, ended_us: Some(S / 2), ..session(1) };
    let before = both(start_at(S / 2, place(EPOCH, 0, 1)));
    let verdict = judged(&[oldest, session(5), new], &[book("a-0", before.into_iter().chain(ready))]);
    assert_eq!(verdict.lost_events(), 5, "{verdict}");
}

#[test]
fn replaced_session_is_reported_even_without_missing_events() {
    let old = Session { ended_us: Some(19 * S), ..session(3) };
    let new = Session { id: "s2".into(), opened_us: 20 * S, ..session(1) };
    let lines = |told: Option<Line>| {
        let ready = both(start_at(21 * S, place(EPOCH, 2, 1)));
        handled(EPOCH, 1..=3).into_iter().chain(told).chain(ready).collect::<Vec<_>>()
    };
    let verdict = judged(&[old.clone(), new.clone()], &[book("a-0", lines(None))]);
    assert_eq!((verdict.lost_events(), verdict.untold.len()), (0, 1));
    assert!(!verdict.is_clean());
    let verdict = judged(&[old, new], &[book("a-0", lines(Some(gap(21 * S, 3, 3 * S))))]);
    assert!(verdict.is_clean());
    assert_eq!(verdict.gaps[0].was, GapWas::Replacement);
}

#[test]
fn a_repeat_must_carry_the_mark() {
    let again = |start: Start| {
        let books = [book("a-0", handled(EPOCH, 1..=3)), book("b-0", both(start))];
        judged(&[session(3)], &books)
    };
    let marked = again(replayed(start_at(10 * S, place(EPOCH + 1, 1, 3))));
    assert!(marked.is_clean(), "{marked}");
    assert_eq!(marked.handled["b-0"].replayed, 1);
    let unmarked = again(start_at(10 * S, place(EPOCH + 1, 1, 3)));
    assert_eq!(unmarked.repeated.len(), 1);
    assert_eq!(
        (unmarked.repeated[0].first_by.as_str(), unmarked.repeated[0].again_by.as_str()),
        ("a-0", "b-0")
    );
    assert!(!unmarked.is_clean());
    // By the same process.
    let twice = handled(EPOCH, [1, 2, 3]).into_iter().chain(both(start_at(9 * S, place(EPOCH, 1, 2))));
    assert_eq!(judged(&[session(3)], &[book("a-0", twice)]).repeated.len(), 1);
}

#[test]
fn events_of_a_guild_take_turns() {
    let one = start_at(2 * S, place(EPOCH, 1, 2));
    let two = start_at(3 * S, place(EPOCH, 1, 3));
    let ready = both(start_at(S, place(EPOCH, 1, 1)));
    let [first, first_end] = both(one.clone());
    let [second, second_end] = both(two.clone());
    let with =
        |lines: [Line; 4]| judged(&[session(3)], &[book("a-0", ready.clone().into_iter().chain(lines))]);
    let turns = with([first.clone(), first_end.clone(), second.clone(), second_end.clone()]);
    assert!(turns.is_clean(), "{turns}");
    let overlapping = with([first.clone(), second.clone(), first_end.clone(), second_end.clone()]);
    assert_eq!(overlapping.backwards.len(), 1);
    assert_eq!((overlapping.backwards[0].before, overlapping.backwards[0].started), (one.place, two.place));
    let backwards = with([second.clone(), second_end.clone(), first.clone(), first_end.clone()]);
    assert_eq!(backwards.backwards.len(), 1);
    assert!(!backwards.is_clean());
    // Another guild's events may run beside it.
    let elsewhere = Line::Start(Start { guild: Some(8), ..two });
    assert!(with([first, elsewhere, first_end, second_end]).is_clean());
}

#[test]
fn a_lower_epoch_is_over_when_a_higher_one_has_begun() {
    // b has 3 from second 10 on; a starts 4 at second 11.
    let late = start_at(11 * S, place(EPOCH, 1, 4));
    let books = [
        book("a-0", handled(EPOCH, 1..=2).into_iter().chain(both(late))),
        book("b-0", both(start_at(10 * S, place(EPOCH + 1, 1, 3)))),
    ];
    let verdict = judged(&[session(4)], &books);
    assert_eq!(verdict.two_owners.len(), 1, "{verdict}");
    assert_eq!((verdict.two_owners[0].by.as_str(), verdict.two_owners[0].other_epoch), ("a-0", EPOCH + 1));
    assert!(!verdict.is_clean());
    // A worker that lives was reported dead: it has the time of one renewal.
    let rules = |loser_window_us| Rules { loser_window_us };
    assert!(compare(&[session(4)], &books, rules(2 * S), 1_000 * S).is_clean());
    assert!(!compare(&[session(4)], &books, rules(S / 2), 1_000 * S).is_clean());
}

#[test]
fn end_after_a_higher_epoch_is_not_a_second_owner() {
    let slow = start_at(9 * S, place(EPOCH, 1, 2));
    let slow_end = Line::End(End { at_us: 12 * S, place: slow.place });
    let a = [both(start_at(S, place(EPOCH, 1, 1))).to_vec(), vec![Line::Start(slow), slow_end]].concat();
    let books = [book("a-0", a), book("b-0", both(start_at(10 * S, place(EPOCH + 1, 1, 3))))];
    let verdict = judged(&[session(3)], &books);
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn an_epoch_has_one_process() {
    let books = [book("a-0", handled(EPOCH, 1..=2)), book("a-1", both(start_at(10 * S, place(EPOCH, 1, 3))))];
    let verdict = judged(&[session(3)], &books);
    assert_eq!(verdict.two_owners.len(), 1, "{verdict}");
    assert_eq!(verdict.two_owners[0].by, "a-1");
}

#[test]
fn a_third_epoch_rules_out_both_below() {
    let begun = |epoch, at, sequence| both(start_at(at, place(epoch, 1, sequence)));
    let books = [
        book("a-0", [handled(EPOCH, 1..=1), begun(EPOCH, 31 * S, 4).to_vec()].concat()),
        book("b-0", [begun(EPOCH + 1, 10 * S, 2), begun(EPOCH + 1, 32 * S, 5)].concat()),
        book("c-0", begun(EPOCH + 2, 30 * S, 3)),
    ];
    let verdict = judged(&[session(5)], &books);
    let late: Vec<(&str, u64)> =
        verdict.two_owners.iter().map(|found| (found.by.as_str(), found.other_epoch)).collect();
    assert_eq!(late, [("a-0", EPOCH + 1), ("b-0", EPOCH + 2)]);
}

#[test]
fn impossible_entries_are_reported() {
    let never = judged(&[session(2)], &[book("a-0", handled(EPOCH, 1..=3))]);
    assert!(matches!(
        never.unplaced[..],
        [Unplaced::NeverDispatched { place: Place { sequence: 3, .. }, .. }]
    ));
    // No worker handled the READY of session 2.
    let orphan = handled(EPOCH, 1..=2).into_iter().chain(both(start_at(9 * S, place(EPOCH, 2, 5))));
    let orphan = judged(&[session(2)], &[book("a-0", orphan)]);
    assert_eq!(orphan.unplaced, [Unplaced::NoSession { shard: 0, session: 2, events: 1 }]);
    // Two sessions under one ordinal.
    let mut other = start_at(30 * S, place(EPOCH, 1, 1));
    other.session_id = Some("s2".into());
    let second = Session { id: "s2".into(), opened_us: 29 * S, ..session(1) };
    let lines = handled(EPOCH, 1..=2).into_iter().chain(both(other));
    let twice = judged(&[session(2), second], &[book("a-0", lines)]);
    assert!(twice.unplaced.iter().any(|found| matches!(found, Unplaced::OrdinalTwice { session: 1, .. })));
    // A READY of a session that was never opened.
    let unknown = judged(&[], &[book("a-0", handled(EPOCH, 1..=1))]);
    assert!(unknown.unplaced.contains(&Unplaced::UnknownSession { shard: 0, id: "s1".into() }));
    for verdict in [never, orphan, twice, unknown] {
        assert!(!verdict.is_clean());
    }
}

#[test]
fn report_is_readable() {
    let text = judged(&[session(9)], &[book("a-0", handled(EPOCH, [1, 2]))]).to_string();
    assert!(text.contains("9 events dispatched, 2 handled"), "{text}");
    assert!(text.contains("lost without a word: 7"), "{text}");
    assert!(text.contains("from: 3, to: 9"), "{text}");
}
