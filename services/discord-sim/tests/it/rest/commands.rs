//! The bot's commands.

use super::call::{application, call, get};
use crate::client::{first_guild, quick, start};
use discord_sim::Fault;
use serde_json::{Value, json};

fn ping() -> Value {
    json!({"name": "ping", "description": "Pong", "description_localizations": {"de": "Peng"}})
}

#[tokio::test]
async fn commands_are_created_replaced_changed_and_deleted() {
    let sim = start(quick()).await;
    let application = application(&sim).await;
    let guild = first_guild(&sim.control());
    for base in [
        format!("/applications/{application}/commands"),
        format!("/applications/{application}/guilds/{guild}/commands"),
    ] {
        let made = call(&sim, "POST", &base, ping()).await;
        assert_eq!(made.status, 201);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        let again = call(&sim, "POST", &base, json!({"name": "ping", "description": "New"})).await;
        assert_eq!((again.status, &again.json()["id"]), (200, &json!(id)));
        let one = format!("{base}/{id}");
        let changed = call(&sim, "PATCH", &one, json!({"description": "Newer"})).await.json();
        assert_eq!((&changed["name"], &changed["description"]), (&json!("ping"), &json!("Newer")));
        assert_eq!(changed["application_id"], json!(application));
        assert_eq!(get(&sim, &one).await.json(), changed);
        let all = json!([{"name": "look", "type": 2}, ping()]);
        let replaced = call(&sim, "PUT", &base, all).await;
        assert_eq!((replaced.status, replaced.json().as_array().unwrap().len()), (200, 2));
        let listed = get(&sim, &base).await.json();
        assert!(listed[1].get("description_localizations").is_none());
        let whole = get(&sim, &format!("{base}?with_localizations=true")).await.json();
        assert_eq!(whole[1]["description_localizations"]["de"], "Peng");
        assert_eq!(call(&sim, "DELETE", &one, Value::Null).await.status, 204);
        assert_eq!(get(&sim, &one).await.code(), (404, 10063));
    }
    let reports = sim.control().commands();
    assert_eq!(reports.len(), 2);
    assert_eq!((reports[0].guild_id, reports[1].guild_id), (None, Some(guild)));
    sim.shutdown().await;
}

#[tokio::test]
async fn mistakes_in_commands_name_their_field() {
    let sim = start(quick()).await;
    let base = format!("/applications/{}/commands", application(&sim).await);
    let answer = call(&sim, "POST", &base, json!({"name": "Two Words", "description": "x"})).await;
    assert_eq!(answer.code(), (400, 50035));
    assert_eq!(answer.json()["message"], "Invalid Form Body");
    assert_eq!(answer.json()["errors"]["name"]["_errors"][0]["code"], "APPLICATION_COMMAND_INVALID_NAME");
    let answer = call(&sim, "PUT", &base, json!([ping(), {"name": "x"}])).await;
    assert_eq!(answer.json()["errors"]["1"]["description"]["_errors"][0]["code"], "BASE_TYPE_REQUIRED");
    assert_eq!(call(&sim, "PUT", &base, json!([ping(), ping()])).await.code(), (400, 50035));
    let many = |count: usize| -> Value {
        (0..count).map(|number| json!({"name": format!("c{number}"), "description": "x"})).collect()
    };
    assert_eq!(call(&sim, "PUT", &base, many(101)).await.code(), (400, 30032));
    for (from, answer) in [(0, 200), (100, 200), (200, 400)] {
        let names =
            (from..from + 100).map(|number| json!({"name": format!("c{number}"), "description": "x"}));
        let put = call(&sim, "PUT", &base, names.collect()).await;
        assert_eq!(put.status, answer);
        if answer == 400 {
            assert_eq!(put.code(), (400, 30034));
        }
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn commands_of_other_applications_are_rejected() {
    let sim = start(quick()).await;
    let application = application(&sim).await;
    assert_eq!(get(&sim, "/applications/1/commands").await.code(), (403, 20012));
    let nowhere = format!("/applications/{application}/guilds/1/commands");
    assert_eq!(get(&sim, &nowhere).await.code(), (403, 50001));
    let guild = first_guild(&sim.control());
    sim.control().inject(Fault::GuildLeave { guild_id: guild }).unwrap();
    let left = format!("/applications/{application}/guilds/{guild}/commands");
    assert_eq!(call(&sim, "PUT", &left, json!([])).await.code(), (403, 50001));
    sim.shutdown().await;
}
