use serde_json::{Value, json};

use super::*;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// 2026-01-01.
const NOW: u64 = 1_767_225_600_000;

fn id_at(unix_ms: u64) -> u64 {
    (unix_ms - DISCORD_EPOCH_MS) << 22
}

fn rules(count: usize) -> Rules {
    Rules {
        messages_per_channel: count,
        message_lifetime_ms: Some(DAY_MS),
        sweep_interval_ms: 1_000,
        ..Rules::default()
    }
}

#[test]
fn channel_shows_only_the_newest_messages() {
    let (codec, rules, mut messages) = (Codec::new(), rules(20), Messages::default());
    for number in 0..500 {
        let id = id_at(NOW + number);
        messages.put(1, 7, id, &format!(r#"{{"id":"{id}"}}"#), &rules, &codec);
    }
    let expected: Vec<u64> = (480..500).map(|number| id_at(NOW + number)).collect();
    assert_eq!(messages.ids(7, &rules), expected);
    assert_eq!((messages.count(&rules), messages.get(7, id_at(NOW + 479), &rules, &codec)), (20, None));
    assert!(messages.get(7, id_at(NOW + 480), &rules, &codec).is_some());
    assert!(messages.channels[&7].messages.len() < 20 + PER_BLOCK);
}

#[test]
fn old_messages_go_when_a_sweep_is_due() {
    let (codec, rules, mut messages) = (Codec::new(), rules(100), Messages::default());
    for number in 0..40 {
        let id = id_at(NOW + number * 1000);
        messages.put(1, 7, id, &format!(r#"{{"id":"{id}"}}"#), &rules, &codec);
    }
    messages.seal(NOW + DAY_MS, &rules, &codec);
    assert_eq!(messages.count(&rules), 40);
    messages.seal(NOW + DAY_MS + 999, &rules, &codec);
    assert_eq!(messages.count(&rules), 40, "no sweep is due");
    messages.seal(NOW + DAY_MS + 20_000, &rules, &codec);
    assert_eq!((messages.count(&rules), messages.ids(7, &rules).first()), (20, Some(&id_at(NOW + 20_000))));
    assert_eq!(messages.get(7, id_at(NOW + 19_000), &rules, &codec), None, "its block has newer ones");
    assert!(messages.get(7, id_at(NOW + 20_000), &rules, &codec).is_some());
    assert!(messages.channels[&7].messages.len() < 20 + PER_BLOCK);
    messages.seal(NOW + DAY_MS + 60_000, &rules, &codec);
    assert_eq!((messages.count(&rules), messages.channels.len()), (0, 0));
}

#[test]
fn sweeps_continue_after_the_clock_is_set_back() {
    let (codec, rules, mut messages) = (Codec::new(), rules(100), Messages::default());
    messages.seal(NOW + 100 * DAY_MS, &rules, &codec);
    let id = id_at(NOW);
    messages.put(1, 7, id, &format!(r#"{{"id":"{id}"}}"#), &rules, &codec);
    messages.seal(NOW, &rules, &codec);
    assert_eq!(messages.count(&rules), 1);
    messages.seal(NOW + 2 * DAY_MS, &rules, &codec);
    assert_eq!((messages.count(&rules), messages.channels.len()), (0, 0));
}

#[test]
fn reactions_are_counted_by_emoji() {
    let thumb = r#"{"id":null,"name":"👍"}"#;
    let own = r#"{"id":"9","name":"x"}"#;
    let add = |message: &str, user, emoji| {
        react(message, &Reaction::Added { user, emoji, is_burst: false }, Some(1))
    };
    let message = add(&add(&add(r#"{"id":"5"}"#, 1, thumb), 2, thumb), 2, own);
    let value: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(value["reactions"][0]["count"], 2);
    assert_eq!(value["reactions"][0]["count_details"], json!({"burst": 0, "normal": 2}));
    assert_eq!((&value["reactions"][0]["me"], &value["reactions"][1]["me"]), (&json!(true), &json!(false)));
    let removed = Reaction::Removed { user: 1, emoji: r#"{"name":"👍","id":null}"#, is_burst: false };
    let message = react(&message, &removed, Some(1));
    let value: Value = serde_json::from_str(&message).unwrap();
    assert_eq!((&value["reactions"][0]["count"], &value["reactions"][0]["me"]), (&json!(1), &json!(false)));
    let message = react(&message, &Reaction::EmojiRemoved { emoji: own }, None);
    assert_eq!(elements(field(&message, "reactions").unwrap()).unwrap().len(), 1);
    assert_eq!(react(&message, &Reaction::AllRemoved, None), r#"{"id":"5"}"#);
    // When the last user removes the reaction, the emoji is removed too.
    let removed = Reaction::Removed { user: 2, emoji: thumb, is_burst: false };
    assert_eq!(react(&message, &removed, None), r#"{"id":"5"}"#);
}
