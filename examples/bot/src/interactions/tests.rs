use serde_json::{Value, json};

use super::*;

fn command(name: &str, options: &Value) -> CommandData {
    serde_json::from_value(json!({ "id": "1", "name": name, "type": 1, "options": options })).unwrap()
}

fn find(what: &str, id: &str) -> Result<Question, InvalidCommand> {
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
fn commands_are_parsed() {
    assert_eq!(read(&command("ping", &json!([]))), Ok(Question::Ping));
    assert_eq!(read(&command("shards", &json!([]))), Ok(Question::Shards));
    assert_eq!(find("guild", "241494935408313594"), Ok(Question::Guild(241_494_935_408_313_594)));
    assert_eq!(find("user", " 7 "), Ok(Question::User(7)));
}

#[test]
fn invalid_commands_say_why() {
    for id in ["", "0", "-1", "ada", "99999999999999999999"] {
        assert_eq!(find("guild", id), Err(InvalidCommand::NotAnId), "{id}");
    }
    assert_eq!(find("channel", "7"), Err(InvalidCommand::Unknown));
    assert_eq!(read(&command("find", &json!([]))), Err(InvalidCommand::Unknown));
    assert_eq!(read(&command("pong", &json!([]))), Err(InvalidCommand::Unknown));
    let no_id = json!([{ "name": "guild", "type": 1, "options": [] }]);
    assert_eq!(read(&command("find", &no_id)), Err(InvalidCommand::NotAnId));
}

#[test]
fn every_registered_command_is_parsed() {
    for known in commands::all() {
        assert!(
            read(&command(&known.name, &json!([]))) != Err(InvalidCommand::Unknown) || known.name == "find"
        );
        for subcommand in known.options {
            assert!(find(&subcommand.name, "7").is_ok(), "{}", subcommand.name);
        }
    }
}

#[test]
fn autocompletion_is_ignored() {
    assert!(slash_command(&interaction(2)).is_some());
    assert!(slash_command(&interaction(4)).is_none());
}

#[test]
fn age_comes_from_the_id() {
    let interaction = interaction(2);
    let began = UNIX_EPOCH + Duration::from_millis(interaction.id.timestamp() as u64);
    assert_eq!(age(&interaction, began + Duration::from_millis(2_500)), Duration::from_millis(2_500));
    assert_eq!(age(&interaction, began - Duration::from_secs(9)), Duration::ZERO);
}

#[test]
fn answers_mention_no_one() {
    let data = message("@everyone".to_owned(), true).data.unwrap();
    assert_eq!(data.allowed_mentions, Some(AllowedMentions::default()));
    assert_eq!(data.flags, Some(MessageFlags::EPHEMERAL));
}

#[test]
fn long_wait_shortens_the_bridge_deadline() {
    let now = UNIX_EPOCH + Duration::from_secs(1_000);
    let left = |waited_ms| left(now - Duration::from_millis(waited_ms), now).as_millis();
    assert_eq!([0, 600, 1_450, 9_000].map(left), [1_500, 900, 100, 100]);
}
