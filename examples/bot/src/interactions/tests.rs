use serde_json::{Value, json};

use super::*;

fn command(name: &str, options: &Value) -> CommandData {
    serde_json::from_value(json!({ "id": "1", "name": name, "type": 1, "options": options })).unwrap()
}

fn find(what: &str, id: &str) -> Result<Question, Misread> {
    let options = json!([{ "name": "id", "type": 3, "value": id }]);
    read(&command("find", &json!([{ "name": what, "type": 1, "options": options }])))
}

fn interaction(kind: u8) -> Interaction {
    serde_json::from_value(json!({
        "id": "241494935408313594", "application_id": "2", "type": kind, "token": "t", "version": 1,
        "data": { "id": "1", "name": "ping", "type": 1 }, "channel_id": "3", "locale": "en-US",
        "entitlements": [], "authorizing_integration_owners": {}, "attachment_size_limit": 0,
    }))
    .unwrap()
}

#[test]
fn commands_become_questions() {
    assert_eq!(read(&command("ping", &json!([]))), Ok(Question::Ping));
    assert_eq!(read(&command("shards", &json!([]))), Ok(Question::Shards));
    assert_eq!(find("guild", "241494935408313594"), Ok(Question::Guild(241_494_935_408_313_594)));
    assert_eq!(find("user", " 7 "), Ok(Question::User(7)));
}

#[test]
fn what_is_no_question_says_why() {
    for id in ["", "0", "-1", "ada", "99999999999999999999"] {
        assert_eq!(find("guild", id), Err(Misread::NotAnId), "{id}");
    }
    assert_eq!(find("channel", "7"), Err(Misread::Unknown));
    assert_eq!(read(&command("find", &json!([]))), Err(Misread::Unknown));
    assert_eq!(read(&command("pong", &json!([]))), Err(Misread::Unknown));
    let no_id = json!([{ "name": "guild", "type": 1, "options": [] }]);
    assert_eq!(read(&command("find", &no_id)), Err(Misread::NotAnId));
}

#[test]
fn every_command_is_read() {
    for known in commands::all() {
        assert!(read(&command(&known.name, &json!([]))) != Err(Misread::Unknown) || known.name == "find");
        for subcommand in known.options {
            assert!(find(&subcommand.name, "7").is_ok(), "{}", subcommand.name);
        }
    }
}

#[test]
fn an_autocompletion_is_no_command() {
    assert!(slash_command(&interaction(2)).is_some());
    assert!(slash_command(&interaction(4)).is_none());
}

#[test]
fn an_id_tells_the_age() {
    let interaction = interaction(2);
    let began = UNIX_EPOCH + Duration::from_millis(interaction.id.timestamp() as u64);
    assert_eq!(age(&interaction, began + Duration::from_millis(2_500)), Duration::from_millis(2_500));
    assert_eq!(age(&interaction, began - Duration::from_secs(9)), Duration::ZERO);
}

#[test]
fn answers_ping_no_one() {
    let data = message("@everyone".to_owned(), true).data.unwrap();
    assert_eq!(data.allowed_mentions, Some(AllowedMentions::default()));
    assert_eq!(data.flags, Some(MessageFlags::EPHEMERAL));
}

#[test]
fn who_waited_for_its_turn_asks_shortly() {
    let now = UNIX_EPOCH + Duration::from_secs(1_000);
    let left = |waited_ms| left(now - Duration::from_millis(waited_ms), now).as_millis();
    assert_eq!([0, 600, 1_450, 9_000].map(left), [1_500, 900, 100, 100]);
}
