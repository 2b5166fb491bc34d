use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What Discord's limit leaves beside heartbeats.
const FREE: u8 = 117;

fn push(queue: &mut Queue<u32>, class: CommandClass, item: u32) {
    assert!(matches!(queue.push(class, item), Ok((_, None))));
}

fn all(queue: &mut Queue<u32>, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| queue.take(now, FREE).map(|(_, item)| item)).collect()
}

#[test]
fn guilds_take_turns() {
    let mut queue = Queue::default();
    for item in 0..5 {
        push(&mut queue, CommandClass::Members(1), item);
    }
    push(&mut queue, CommandClass::Members(2), 20);
    push(&mut queue, CommandClass::Members(3), 30);
    assert_eq!(all(&mut queue, Instant::now()), [0, 20, 30, 1, 2, 3, 4]);
    assert_eq!((queue.len(), queue.turns.len(), queue.members.len()), (0, 0, 0));
}

#[test]
fn voice_goes_before_members_and_members_are_not_starved() {
    let mut queue = Queue::default();
    push(&mut queue, CommandClass::Members(1), 100);
    push(&mut queue, CommandClass::Members(1), 101);
    for guild in 0..6 {
        push(&mut queue, CommandClass::Voice(guild), guild as u32);
    }
    assert_eq!(all(&mut queue, Instant::now()), [0, 1, 2, 100, 3, 4, 5, 101]);
}

#[test]
fn newer_command_replaces_an_older_one() {
    let mut queue = Queue::default();
    push(&mut queue, CommandClass::Voice(1), 1);
    push(&mut queue, CommandClass::Voice(2), 2);
    assert_eq!(queue.push(CommandClass::Voice(1), 3).unwrap().1, Some(Displaced::Older(1)));
    push(&mut queue, CommandClass::Presence, 4);
    assert_eq!(queue.push(CommandClass::Presence, 5).unwrap().1, Some(Displaced::Older(4)));
    assert_eq!(queue.len(), 3);
    assert_eq!(all(&mut queue, Instant::now()), [5, 3, 2], "it keeps the class");
}

#[test]
fn members_leave_a_part_of_the_sends_to_others() {
    let now = Instant::now();
    let mut queue = Queue::default();
    push(&mut queue, CommandClass::Members(1), 1);
    assert_eq!(queue.next(now, KEPT_FROM_MEMBERS), NextSend::WhenFree);
    assert_eq!(queue.take(now, KEPT_FROM_MEMBERS), None);
    push(&mut queue, CommandClass::Voice(2), 2);
    assert_eq!(queue.next(now, 1), NextSend::Now);
    assert_eq!(queue.take(now, 1), Some((CommandClass::Voice(2), 2)));
    assert_eq!((queue.next(now, 1), queue.next(now, 31)), (NextSend::WhenFree, NextSend::Now));
    assert_eq!(queue.next(now, 0), NextSend::WhenFree);
    assert_eq!(queue.take(now, 0), None);
}

#[test]
fn sixth_presence_waits() {
    let start = Instant::now();
    let mut queue = Queue::default();
    for second in 0..5 {
        let now = start + Duration::from_secs(second);
        push(&mut queue, CommandClass::Presence, 0);
        assert_eq!(queue.take(now, FREE), Some((CommandClass::Presence, 0)));
    }
    push(&mut queue, CommandClass::Presence, 6);
    let now = start + Duration::from_secs(5);
    assert_eq!(queue.next(now, FREE), NextSend::At(start + PRESENCES_IN));
    push(&mut queue, CommandClass::Voice(1), 7);
    assert_eq!(queue.next(now, FREE), NextSend::Now);
    assert_eq!(all(&mut queue, now), [7], "the others are not held up");
    assert_eq!(all(&mut queue, start + PRESENCES_IN), [6]);
}

#[test]
fn full_queue_is_shared() {
    let mut queue = Queue::default();
    for item in 0..WAITING as u32 {
        push(&mut queue, CommandClass::Members(1), item);
    }
    assert_eq!(queue.push(CommandClass::Members(1), 9), Err(9), "the guild with most requests gets no more");
    assert_eq!(queue.push(CommandClass::Members(2), 9).unwrap().1, Some(Displaced::Last(WAITING as u32 - 1)));
    assert_eq!(queue.members_waiting, WAITING);
    for guild in 0..WAITING as u64 {
        push(&mut queue, CommandClass::Voice(guild), 0);
    }
    assert_eq!(queue.push(CommandClass::Voice(u64::MAX), 9), Err(9));
    assert_eq!(queue.push(CommandClass::Voice(5), 9).unwrap().1, Some(Displaced::Older(0)));
    assert_eq!(queue.drain().len(), 2 * WAITING);
    assert_eq!((queue.len(), queue.next(Instant::now(), FREE)), (0, NextSend::Nothing));
}

#[test]
fn withdrawn_command_is_removed() {
    let mut queue = Queue::default();
    let (one, _) = queue.push(CommandClass::Members(1), 1).unwrap();
    let (two, _) = queue.push(CommandClass::Members(1), 2).unwrap();
    let (voice, _) = queue.push(CommandClass::Voice(1), 3).unwrap();
    let (older, _) = queue.push(CommandClass::Presence, 4).unwrap();
    queue.push(CommandClass::Presence, 5).unwrap();
    assert_eq!(queue.remove(CommandClass::Presence, older), None, "a newer one is there");
    assert_eq!(queue.remove(CommandClass::Members(1), one), Some(1));
    assert_eq!(queue.remove(CommandClass::Members(1), one), None);
    assert_eq!(queue.remove(CommandClass::Voice(1), voice), Some(3));
    assert_eq!(queue.remove(CommandClass::Members(1), two), Some(2));
    assert!(queue.turns.is_empty() && queue.members.is_empty());
    assert_eq!(all(&mut queue, Instant::now()), [5]);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, u64),
    Take(u8),
    Remove(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..3, 0u64..5).prop_map(|(kind, guild)| Step::Push(kind, guild)),
        3 => (0u8..60).prop_map(Step::Take),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => (0u64..15_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    /// Each command comes out once, or gave way, or was withdrawn. A guild's requests stay in order, no guild comes
    /// again before the others that wait have had their turn, presences keep Discord's limit, and `next` tells the truth.
    #[test]
    fn no_command_is_lost_and_no_guild_is_skipped(steps in steps()) {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let mut waiting: BTreeMap<u64, CommandClass> = BTreeMap::new();
        let mut presences: Vec<Instant> = Vec::new();
        // By guild: how many requests of others went out while it waited.
        let mut passed: BTreeMap<u64, usize> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Push(kind, guild) => {
                    let class = [CommandClass::Presence, CommandClass::Voice(guild), CommandClass::Members(guild)][usize::from(kind)];
                    let item = queue.next_ticket;
                    let (ticket, displaced) = queue.push(class, item).unwrap();
                    prop_assert_eq!(ticket, item);
                    waiting.insert(item, class);
                    if let Some(Displaced::Older(older) | Displaced::Last(older)) = displaced {
                        prop_assert_eq!(waiting.remove(&older), Some(class));
                    }
                    if let CommandClass::Members(guild) = class {
                        passed.entry(guild).or_default();
                    }
                }
                Step::Take(free) => {
                    let next = queue.next(now, free);
                    let taken = queue.take(now, free);
                    prop_assert_eq!(next == NextSend::Now, taken.is_some(), "{:?}", next);
                    let Some((class, item)) = taken else { continue };
                    prop_assert_eq!(waiting.remove(&item), Some(class));
                    prop_assert!(!waiting.iter().any(|(older, other)| *older < item && *other == class));
                    match class {
                        CommandClass::Presence => {
                            presences.push(now);
                            let lately = presences.iter().filter(|at| now - **at < Duration::from_secs(20));
                            prop_assert!(lately.count() <= 5);
                        }
                        CommandClass::Members(guild) => {
                            prop_assert!(free > KEPT_FROM_MEMBERS);
                            passed.remove(&guild);
                            if waiting.values().any(|class| *class == CommandClass::Members(guild)) {
                                passed.insert(guild, 0);
                            }
                            for count in passed.iter_mut().filter(|(other, _)| **other != guild) {
                                *count.1 += 1;
                                prop_assert!(*count.1 <= 4, "guild {} was passed over", count.0);
                            }
                        }
                        CommandClass::Voice(_) => {}
                    }
                }
                Step::Remove(which) => {
                    let ids: Vec<u64> = waiting.keys().copied().collect();
                    let Some(item) = ids.get(which % ids.len().max(1)).copied() else { continue };
                    let class = waiting.remove(&item).unwrap();
                    prop_assert_eq!(queue.remove(class, item), Some(item));
                    if let CommandClass::Members(guild) = class
                        && !waiting.values().any(|class| *class == CommandClass::Members(guild))
                    {
                        passed.remove(&guild);
                    }
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
            prop_assert_eq!(queue.len(), waiting.len());
        }
    }
}
