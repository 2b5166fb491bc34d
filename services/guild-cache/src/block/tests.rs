use super::*;

#[test]
fn own_id_is_restored_at_any_position() {
    let codec = Codec::new();
    let entries = [
        (5, r#"{"id":"5","x":"5"}"#),
        (6, r#"{"id":6}"#),
        (7, r#"{"user":{"id":"7"},"other":"77"}"#),
        (8, r#"{"name":"8"}"#),
    ];
    let mut block = Block::pack(0, entries.into_iter(), &codec);
    for _ in 0..2 {
        for (id, text) in entries {
            assert_eq!(block.get(id, &codec).as_deref(), Some(text));
        }
        assert_eq!(block.get(9, &codec), None);
        let mut all = Vec::new();
        block.each(&codec, |id, text| all.push((id, text.to_owned())));
        assert_eq!(all, entries.map(|(id, text)| (id, text.to_owned())));
        assert_eq!(block.ids().collect::<Vec<_>>(), [5, 6, 7, 8]);
        block.open(&codec);
    }
    block.seal(&codec);
    assert!(block.check(&codec, |id, text| entries.contains(&(id, text))));
}

#[test]
fn ids_without_text_are_only_counted() {
    let codec = Codec::new();
    let mut block = Block::pack(0, [(1, ""), (2, "")].into_iter(), &codec);
    assert_eq!((block.count(), block.memory(), block.contains(2)), (2, 16, true));
    assert_eq!(block.get(2, &codec), None);
    block.open(&codec).0.put(3, "");
    block.seal(&codec);
    assert_eq!((block.count(), block.memory()), (3, 24));
    block.each(&codec, |id, _| panic!("{id} has no text"));
}

#[test]
fn invalid_block_is_refused() {
    let codec = Codec::new();
    let block = Block::pack(0, [(1, r#"{"id":"1"}"#), (2, r#"{"id":"2"}"#)].into_iter(), &codec);
    let packed = block.packed().unwrap();
    let is_right = |packed: Packed<'_>| Block::from_packed(0, &packed).check(&codec, |_, _| true);
    assert!(is_right(Packed { ..packed }));
    for (count, size, bytes) in [
        (3, packed.size, packed.bytes),
        (1, packed.size, packed.bytes),
        (u32::MAX, packed.size, packed.bytes),
        (2, packed.size + 1, packed.bytes),
        (2, packed.size, &packed.bytes[..packed.bytes.len() - 1]),
        (2, packed.size, &packed.bytes[..10]),
    ] {
        assert!(!is_right(Packed { count, size, bytes }), "{count} {size}");
    }
}
