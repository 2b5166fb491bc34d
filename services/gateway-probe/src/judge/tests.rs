//! Each verdict both ways.

use super::*;
use CheckResult::{AsAssumed, Differs, NotObserved};

fn dispatch(id: u32, bytes: u8) -> Dispatch {
    named("MESSAGE_CREATE", id, bytes)
}

fn named(name: &str, id: u32, bytes: u8) -> Dispatch {
    let text = format!(r#"{{"t":"{name}","s":1,"op":0,"d":{{"id":"{id}","x":{bytes},"guild_id":"5"}}}}"#);
    Dispatch::of(&Frame::read(&text).unwrap(), Instant::now()).unwrap()
}

fn resume(reply: Reply) -> ResumeTry {
    ResumeTry { reply, after: Duration::from_millis(80), replayed: Vec::new() }
}

#[test]
fn key_order_and_guild_place_are_judged_over_all_dispatches() {
    let good = vec![dispatch(1, 0), dispatch(2, 0)];
    assert_eq!(key_order(&good).result, AsAssumed);
    assert_eq!(guild_last(&good, false).result, AsAssumed);
    let text = r#"{"op":0,"t":"X","s":1,"d":{"guild_id":"5","id":"1"}}"#;
    let odd = Dispatch::of(&Frame::read(text).unwrap(), Instant::now()).unwrap();
    let mixed = [good, vec![odd]].concat();
    assert_eq!(key_order(&mixed).result, Differs);
    assert_eq!(guild_last(&mixed, false).result, Differs);
    assert!(guild_last(&mixed, false).found.contains("last in 2 of 3"));
    assert!(!guild_last(&mixed, false).detail.to_string().contains("guilds"));
    assert_eq!(guild_last(&mixed, true).detail["guilds"][0], "5");
    assert_eq!(key_order(&[]).result, NotObserved);
    assert_eq!(guild_last(&[], false).result, NotObserved);
}

#[test]
fn sessions_are_compared_between_their_common_events() {
    let ids = |ids: &[u32]| ids.iter().map(|id| dispatch(*id, 0)).collect::<Vec<_>>();
    let of = |a: &[u32], b: &[u32]| compare(&ids(a), &ids(b));
    // One began later and ended earlier.
    let same = of(&[1, 2, 3, 4, 5], &[2, 3, 4]);
    assert_eq!((same.common, same.reordered, same.only_first, same.only_second), (3, 0, 0, 0));
    assert_eq!(same_order(&same).result, AsAssumed);
    assert_eq!(same_bytes(&same).result, AsAssumed);
    let swapped = of(&[1, 2, 3], &[1, 3, 2]);
    assert_eq!((swapped.common, swapped.reordered), (3, 1));
    assert_eq!(same_order(&swapped).result, Differs);
    let missing = of(&[1, 2, 3], &[1, 3]);
    assert_eq!((missing.only_first, missing.only_second), (1, 0));
    assert_eq!(same_order(&missing).result, Differs);
    assert_eq!(same_order(&of(&[1], &[2])).result, NotObserved);
    assert_eq!(same_bytes(&of(&[], &[])).result, NotObserved);
    // The same id twice: the n-th belongs to the n-th.
    let repeated = of(&[1, 1, 2], &[1, 1, 2]);
    assert_eq!((repeated.common, repeated.reordered), (3, 0));
}

#[test]
fn bytes_differ_by_event_and_answers_to_one_session_do_not_count() {
    let first =
        vec![named("READY", 9, 0), dispatch(1, 0), dispatch(2, 0), named("GUILD_MEMBERS_CHUNK", 3, 0)];
    let second = vec![dispatch(1, 0), dispatch(2, 7), named("GUILD_CREATE", 4, 0)];
    let comparison = compare(&first, &second);
    assert_eq!((comparison.common, comparison.only_first, comparison.only_second), (2, 0, 0));
    assert_eq!(same_bytes(&comparison).result, Differs);
    assert_eq!(comparison.different["MESSAGE_CREATE"], 1);
}

#[test]
fn resume_while_open_names_each_outcome() {
    let of = |reply, old_end, new_events, old_events| {
        let check = while_open(&WhileOpen { new: resume(reply), old_end, new_events, old_events });
        (check.result, check.detail["kind"].as_str().unwrap().to_owned())
    };
    let closed = Some(Reply::Closed(Some(4000)));
    let kind = |result, kind: &str| (result, kind.to_owned());
    assert_eq!(of(Reply::Accepted, closed.clone(), 3, 0), kind(AsAssumed, "takeover"));
    assert_eq!(of(Reply::Accepted, None, 3, 3), kind(Differs, "both get events"));
    assert_eq!(of(Reply::Accepted, None, 3, 0), kind(Differs, "the new socket alone gets events"));
    assert_eq!(of(Reply::Accepted, None, 0, 3), kind(Differs, "the old socket alone gets events"));
    assert_eq!(of(Reply::InvalidSession(false), None, 0, 3), kind(Differs, "refused"));
    assert_eq!(of(Reply::InvalidSession(true), None, 0, 3), kind(Differs, "refused for now"));
    assert_eq!(
        of(Reply::InvalidSession(false), closed, 0, 0),
        kind(Differs, "refused, and the old socket ends too")
    );
    assert_eq!(of(Reply::Silent, None, 0, 0).0, NotObserved);
}

#[test]
fn resume_after_break_needs_acceptance_order_and_bytes() {
    let none = Comparison::default();
    assert_eq!(after_break(&resume(Reply::Accepted), &none).result, AsAssumed);
    assert_eq!(after_break(&resume(Reply::InvalidSession(false)), &none).result, Differs);
    for wrong in [
        Comparison { reordered: 1, ..Comparison::default() },
        Comparison { only_second: 1, ..Comparison::default() },
        Comparison { different: [("X".to_owned(), 1)].into(), ..Comparison::default() },
    ] {
        assert_eq!(after_break(&resume(Reply::Accepted), &wrong).result, Differs);
    }
    let wait = Duration::from_mins(10);
    assert_eq!(after_wait(wait, &resume(Reply::Accepted)).result, AsAssumed);
    assert!(after_wait(wait, &resume(Reply::InvalidSession(false))).found.contains("after 600 s"));
    assert_eq!(after_wait(wait, &resume(Reply::InvalidSession(false))).result, Differs);
}

#[test]
fn spacing_needs_every_early_identify_to_be_refused() {
    let spaced = |reply| Spaced { gap: Duration::from_secs(1), reply, after: Duration::from_millis(3) };
    let interval = Duration::from_secs(5);
    let refused = spaced(Reply::InvalidSession(false));
    assert_eq!(spacing(&[refused.clone(), refused.clone()], interval).result, AsAssumed);
    assert_eq!(spacing(&[refused, spaced(Reply::Accepted)], interval).result, Differs);
    assert_eq!(spacing(&[], interval).result, NotObserved);
}
