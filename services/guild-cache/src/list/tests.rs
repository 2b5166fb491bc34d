use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn contents(list: &List, codec: &Codec) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    list.each(codec, |id, text| drop(all.insert(id, text.to_owned())));
    all
}

fn text(id: u64, size: usize) -> String {
    format!(r#"{{"id":"{id}","x":"{}"}}"#, "x".repeat(size))
}

proptest! {
    #[test]
    fn list_is_a_map_in_small_blocks(
        built in 0_u64..60,
        changes in proptest::collection::vec((0_u64..300, 0_u8..4, 0_usize..9_000), 0..200),
    ) {
        let codec = Codec::new();
        let texts: Vec<(u64, String)> = (1..=built).map(|id| (id * 5, text(id * 5, 3))).collect();
        let entries: Vec<(u64, &str)> = texts.iter().map(|(id, text)| (*id, text.as_str())).collect();
        let mut list = List::build(&entries, 8, &codec);
        let mut map: BTreeMap<u64, String> = texts.iter().cloned().collect();
        let mut touched = Touched::default();
        for (id, what, size) in changes {
            match what {
                0 | 1 => {
                    let text = text(id, if size > 8_000 { size } else { size / 100 });
                    let is_new = map.insert(id, text.clone()).is_none();
                    prop_assert_eq!(list.put(id, &text, 8, &codec, &mut touched), is_new);
                }
                2 => prop_assert_eq!(list.remove(id, &codec, &mut touched), map.remove(&id).is_some()),
                _ => {
                    for low in std::mem::take(&mut touched.opened) {
                        list.seal(low, 8, &codec, &mut touched);
                    }
                }
            }
            prop_assert_eq!(list.len(), map.len());
        }
        prop_assert_eq!(&contents(&list, &codec), &map);
        for low in std::mem::take(&mut touched.opened) {
            list.seal(low, 8, &codec, &mut touched);
        }
        prop_assert_eq!(contents(&list, &codec), map);
        prop_assert!(list.lows().is_sorted_by(|one, next| one < next));
        for block in &list.blocks {
            prop_assert!(!block.is_open() && block.count() <= 8);
            prop_assert!(block.count() <= 1 || block.size() <= LARGEST_TEXT);
        }
    }
}

#[test]
fn memory_follows_the_number_after_hours_of_joins_and_leaves() {
    let codec = Codec::new();
    let mut list = List::default();
    let (mut touched, mut ids, mut seed) = (Touched::default(), Vec::new(), 7_u64);
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 8
    };
    let mut most = 0;
    for round in 0..40_000_u64 {
        let id = random();
        list.put(id, &text(id, 40), 16, &codec, &mut touched);
        ids.push(id);
        if round >= 2_000 {
            let gone = ids.swap_remove((random() % ids.len() as u64) as usize);
            assert!(list.remove(gone, &codec, &mut touched));
        }
        if round % 50 == 0 {
            for low in std::mem::take(&mut touched.opened) {
                list.seal(low, 16, &codec, &mut touched);
            }
            touched = Touched::default();
            if round == 3_000 {
                most = list.memory();
            }
        }
    }
    for low in std::mem::take(&mut touched.opened) {
        list.seal(low, 16, &codec, &mut touched);
    }
    assert!(list.memory() < most * 3 / 2, "{} after {most}", list.memory());
    let blocks = list.blocks.len();
    assert!(blocks < 2_000 / 4, "{blocks} blocks of 2,000 members");
    for id in ids {
        list.remove(id, &codec, &mut touched);
    }
    for low in std::mem::take(&mut touched.opened) {
        list.seal(low, 16, &codec, &mut touched);
    }
    assert_eq!((list.len(), list.memory()), (0, 0));
}

#[test]
fn ids_that_grow_fill_their_blocks() {
    let codec = Codec::new();
    let (mut list, mut touched) = (List::default(), Touched::default());
    for id in 1..=160 {
        list.put(id, &text(id, 3), 16, &codec, &mut touched);
    }
    assert_eq!(list.blocks.len(), 10);
    list.keep_newest(40);
    assert!((40..56).contains(&list.len()) && list.contains(160) && list.is_among_newest(121, 40));
    assert!(!list.is_among_newest(120, 40));
    list.remove_below(150);
    assert_eq!(
        (list.len(), list.ids().next()),
        (16, Some(145)),
        "a block is removed when all its ids are older"
    );
    list.remove_below(161);
    assert_eq!((list.len(), list.memory()), (0, 0));
}
