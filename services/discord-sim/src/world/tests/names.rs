//! Unusual names and their JSON.

use super::*;
use serde_json::Value;

/// Collects every string of a JSON value.
fn strings<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => all.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, all)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, all)),
        _ => {}
    }
}

#[test]
fn unusual_names_survive_json() {
    let world = World::new(1, 200);
    let (mut quotes, mut backslashes, mut joined, mut combining, mut arabic) = (0, 0, 0, 0, 0);
    for guild in 0..200 {
        let made = body(&world, guild, ALL);
        let text = serde_json::to_string(&world.guild(guild, ALL, false, &VoiceChanges::default())).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), made);
        assert_eq!(made["name"], world.guild_name(guild));
        let mut all = Vec::new();
        strings(&made, &mut all);
        let having = |letter: fn(char) -> bool| all.iter().filter(|text| text.contains(letter)).count();
        quotes += having(|letter| letter == '"');
        backslashes += having(|letter| letter == '\\');
        joined += having(|letter| letter == '\u{200d}');
        combining += having(|letter| ('\u{300}'..='\u{36f}').contains(&letter));
        arabic += having(|letter| ('\u{600}'..='\u{6ff}').contains(&letter));
    }
    for seen in [quotes, backslashes, joined, combining, arabic] {
        assert!(seen > 20, "{quotes} {backslashes} {joined} {combining} {arabic}");
    }
}

#[test]
fn names_are_no_longer_than_discord_allows() {
    let world = World::new(1, 300);
    let mut longest = [0; 4];
    for guild in 0..300 {
        let body = body(&world, guild, ALL);
        let length = |name: &Value| name.as_str().map_or(0, |name| name.encode_utf16().count());
        let most = |list: &str, key: &str| {
            body[list].as_array().unwrap().iter().map(|item| length(&item[key])).max().unwrap_or(0)
        };
        let global = body["members"].as_array().unwrap().iter().map(|member| &member["user"]["global_name"]);
        let people = global.map(length).max().unwrap_or(0).max(most("members", "nick"));
        let here = [length(&body["name"]), people, most("channels", "name"), most("roles", "name")];
        longest = [0, 1, 2, 3].map(|kind: usize| longest[kind].max(here[kind]));
    }
    assert_eq!(longest, [100, 32, 100, 100]);
}

#[test]
fn about_one_guild_in_twelve_has_an_unusual_name() {
    let world = World::new(2, 3_000);
    let usual = |guild| super::super::names::guild(&mut Draw::new(2, &[13, u64::from(guild)]));
    let unusual = (0..3_000).filter(|guild| world.guild_name(*guild) != usual(*guild)).count();
    assert!((200..300).contains(&unusual), "{unusual}");
}
