//! No group is split, nothing is lost or put out of order, and steps are as few as greed makes them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn head(bytes: usize) -> HeadWrite {
    HeadWrite { bytes: vec![b'h'; bytes].into(), total: 1 }
}

fn setting(key: u64, bytes: usize) -> Group {
    Group { set: vec![(RecordKey::Core(key), vec![b'x'; bytes].into())], ..Group::default() }
}

fn weight(step: &WriteStep) -> usize {
    Group { remove: step.remove.clone(), set: step.set.clone() }.weight()
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let remove = prop::collection::vec((0u64..30).prop_map(|at| RecordKey::Pending(1, at)), 0..3);
    let set = prop::collection::vec((0u64..30, 0usize..300), 0..4).prop_map(|set| {
        set.into_iter()
            .map(|(key, bytes)| (RecordKey::Pending(1, key), Bytes::from(vec![bytes as u8; bytes])))
            .collect()
    });
    let group = (remove, set).prop_map(|(remove, set)| Group { remove, set });
    prop::collection::vec(group, 0..20)
}

/// What a store holds after these, each removing first.
fn written<'a>(
    parts: impl IntoIterator<Item = (&'a Vec<RecordKey>, &'a Vec<(RecordKey, Bytes)>)>,
) -> BTreeMap<RecordKey, Bytes> {
    let mut records = BTreeMap::new();
    for (remove, set) in parts {
        records.retain(|key, _| !remove.contains(key));
        records.extend(set.iter().cloned());
    }
    records
}

proptest! {
    #[test]
    fn the_steps_write_what_the_groups_say(
        groups in groups(),
        fresh in any::<bool>(),
        with_head in prop::option::of(0usize..500),
        max_bytes in 0usize..1000,
    ) {
        let steps = pack(fresh, groups.clone(), with_head.map(head), max_bytes);
        let by_groups = written(groups.iter().map(|group| (&group.remove, &group.set)));
        let by_steps = written(steps.iter().map(|step| (&step.remove, &step.set)));
        prop_assert_eq!(by_groups, by_steps);
        let freshes: Vec<_> = steps.iter().map(|step| step.fresh).collect();
        prop_assert!(freshes.iter().enumerate().all(|(at, is)| *is == (fresh && at == 0)), "{:?}", freshes);
        let heads: Vec<_> = steps.iter().map(|step| step.head.clone()).collect();
        prop_assert_eq!(heads.last().cloned().flatten(), with_head.map(head));
        prop_assert!(heads.iter().rev().skip(1).all(Option::is_none), "{:?}", heads);
        // Every group is whole in one step. Its keys may have been set again or removed by a later one there.
        let mut at = 0;
        for group in groups.iter().filter(|group| group.weight() > 0) {
            let holds = |step: &WriteStep| {
                let named = |key: &RecordKey| {
                    step.remove.contains(key) || step.set.iter().any(|(set, _)| set == key)
                };
                group.remove.iter().chain(group.set.iter().map(|(key, _)| key)).all(named)
            };
            let found = steps[at..].iter().position(holds);
            prop_assert!(found.is_some(), "{:?} is not whole in {:?}", group, steps);
            at += found.unwrap_or_default();
        }
    }
}

#[test]
fn groups_are_packed_greedily() {
    let groups = vec![setting(1, 68), setting(2, 68), setting(3, 500), setting(4, 0), setting(5, 68)];
    let steps = pack(false, groups, Some(head(60)), 200);
    let keys: Vec<Vec<_>> =
        steps.iter().map(|step| step.set.iter().map(|(key, _)| key.guild().unwrap()).collect()).collect();
    assert_eq!(keys, [vec![1, 2], vec![3], vec![4, 5]], "the third is larger than a step, so it is alone");
    assert_eq!(steps.iter().map(weight).collect::<Vec<_>>(), [200, 532, 132]);
    assert_eq!(steps[2].head, Some(head(60)));
    let steps = pack(false, vec![setting(1, 168)], Some(head(1)), 200);
    assert_eq!(steps.len(), 2, "a head that does not fit comes after");
    assert!(steps[0].head.is_none() && steps[1].set.is_empty() && steps[1].head.is_some());
}

#[test]
fn nothing_to_write_makes_no_step() {
    assert_eq!(pack(false, vec![Group::default()], None, CHUNK), []);
    let fresh = pack(true, Vec::new(), None, CHUNK);
    assert_eq!(fresh, [WriteStep { fresh: true, ..WriteStep::default() }]);
    let head_alone = pack(false, Vec::new(), Some(head(2 * CHUNK)), CHUNK);
    assert_eq!(head_alone.len(), 1);
}
