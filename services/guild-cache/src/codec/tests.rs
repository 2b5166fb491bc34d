use super::*;

#[test]
fn text_round_trips_only_with_its_size() {
    let codec = Codec::new();
    let text = r#"{"id":"1","permission_overwrites":[],"name":"general","topic":null}"#.repeat(20);
    for text in ["x", "", &text] {
        let packed = codec.pack(text, <[u8]>::to_vec);
        assert_eq!(codec.unpack(&packed, text.len()).as_deref(), Some(text));
        for size in [text.len() + 1, text.len().wrapping_sub(1).min(1 << 20)] {
            assert_eq!(codec.unpack(&packed, size), None);
        }
    }
    assert!(codec.pack(&text, <[u8]>::len) < text.len() / 10);
}

#[test]
fn typical_object_shrinks_to_a_third_alone() {
    let codec = Codec::new();
    let channel = r#"{"version":1700000000001,"type":0,"topic":null,"theme_color":null,"rate_limit_per_user":0,"position":12,"permission_overwrites":[],"parent_id":"612341234123412341","nsfw":false,"name":"general","last_message_id":"912341234123412341","id":"112341234123412341","flags":0}"#;
    let size = codec.pack(channel, <[u8]>::len);
    assert!(size < channel.len() / 3, "{size} of {}", channel.len());
}

#[test]
fn contexts_are_few_and_large_ones_are_freed() {
    let codec = Codec::new();
    let text = "abcdefghijklmnop".repeat(100_000);
    let packed = codec.pack(&text, <[u8]>::to_vec);
    assert!(codec.unpack(&packed, text.len()).is_some());
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| codec.pack("some text", <[u8]>::to_vec));
        }
    });
    assert!(codec.memory() < 4 << 20, "{}", codec.memory());
    assert!(codec.compressors.lock().unwrap().len() <= MOST_IDLE);
}
