//! Interactions, their answers and follow-ups.

mod answers;
mod follow_ups;

use super::call::{application, call, get, ping, somewhere};
use crate::{
    client::{Client, PATIENCE, USUAL as INTENTS, quick, start},
    http::raw,
};
use discord_sim::{Fault, NewInteraction, Sim};
use serde_json::{Value, json};

/// Starts an interaction and returns INTERACTION_CREATE as the client got it.
async fn begin(sim: &Sim, client: &mut Client, wanted: NewInteraction) -> Value {
    let outcome = sim.control().inject(Fault::Interaction(wanted)).unwrap();
    let event = client.event("INTERACTION_CREATE").await["d"].clone();
    assert_eq!(event["id"], json!(outcome.interaction_id.unwrap()));
    event
}

fn callback_of(interaction: &Value) -> String {
    let text = |field: &str| interaction[field].as_str().unwrap();
    format!("/interactions/{}/{}/callback", text("id"), text("token"))
}

fn webhook_of(interaction: &Value) -> String {
    let text = |field: &str| interaction[field].as_str().unwrap();
    format!("/webhooks/{}/{}", text("application_id"), text("token"))
}

#[tokio::test]
async fn interaction_has_all_fields_and_needs_no_intent() {
    let sim = start(quick()).await;
    let (guild, channel) = somewhere(&sim).await;
    let application = application(&sim).await;
    let options = json!([{"type": 3, "name": "text", "description": "x"},
        {"type": 6, "name": "who", "description": "x"}]);
    let command = json!({"name": "ping", "description": "Pong", "options": options});
    let command = call(&sim, "POST", &format!("/applications/{application}/commands"), command).await.json();
    let (mut client, _) = Client::open(&sim, (guild.shard(2), 2), 0).await;
    let user = get(&sim, &format!("/guilds/{guild}/members?limit=3")).await.json()[1]["user"]["id"].clone();
    let fault = json!({"kind": "interaction", "guild_id": guild, "channel_id": channel, "user_id": user,
        "command": "ping", "options": [{"name": "text", "value": "hey"}, {"name": "who", "value": user}]});
    let fault: Fault = serde_json::from_value(fault).unwrap();
    let outcome = sim.control().inject(fault).unwrap();
    assert_eq!((outcome.guild_id, outcome.dispatched.len()), (Some(guild), 1));
    let event = client.event("INTERACTION_CREATE").await["d"].clone();
    assert_eq!((&event["type"], &event["version"], &event["context"]), (&json!(2), &json!(1), &json!(0)));
    assert_eq!((&event["application_id"], &event["guild_id"]), (&json!(application), &json!(guild)));
    assert_eq!((&event["channel_id"], &event["channel"]["id"]), (&json!(channel), &json!(channel)));
    assert_eq!((&event["data"]["id"], &event["data"]["type"]), (&command["id"], &json!(1)));
    assert_eq!(event["data"]["options"][0], json!({"type": 3, "name": "text", "value": "hey"}));
    let key = user.as_str().unwrap();
    assert_eq!(event["data"]["resolved"]["users"][key]["id"], user);
    assert!(event["data"]["resolved"]["members"][key]["permissions"].is_string());
    assert_eq!((&event["member"]["user"]["id"], event.get("user")), (&user, None));
    assert!(event["member"]["permissions"].is_string() && event["app_permissions"].is_string());
    assert_eq!(event["authorizing_integration_owners"], json!({"0": guild}));
    assert_eq!((&event["entitlements"], &event["guild"]["id"]), (&json!([]), &json!(guild)));
    for field in ["token", "locale", "guild_locale"] {
        assert!(event[field].is_string(), "{field}");
    }
    assert!(event["attachment_size_limit"].is_u64());
    sim.shutdown().await;
}

#[tokio::test]
async fn interactions_in_direct_channels_go_to_shard_0() {
    let sim = start(quick()).await;
    let (mut client, _) = Client::open(&sim, (0, 4), 1 << 12).await;
    let event = begin(&sim, &mut client, NewInteraction { dm: true, ..ping() }).await;
    assert_eq!((&event["context"], &event["channel"]["type"]), (&json!(1), &json!(1)));
    assert!(
        event["user"]["id"].is_string() && event.get("member").is_none() && event.get("guild_id").is_none()
    );
    assert_eq!(event["authorizing_integration_owners"], json!({"0": "0"}));
    let answer = json!({"type": 4, "data": {"content": "pong"}});
    assert_eq!(call(&sim, "POST", &callback_of(&event), answer).await.status, 204);
    assert_eq!(client.event("MESSAGE_CREATE").await["d"]["content"], "pong");
    sim.shutdown().await;
}

#[tokio::test]
async fn context_menus_have_a_target() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let application = application(&sim).await;
    let menus = json!([{"name": "Look up", "type": 2}, {"name": "Report", "type": 3}]);
    call(&sim, "PUT", &format!("/applications/{application}/commands"), menus).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let named = |name: &str| NewInteraction { command: Some(name.into()), ..NewInteraction::default() };
    let data = begin(&sim, &mut client, named("Look up")).await["data"].clone();
    let target = data["target_id"].as_str().unwrap();
    assert_eq!((&data["type"], data["resolved"]["users"][target]["id"].as_str()), (&json!(2), Some(target)));
    assert!(data["resolved"]["members"][target]["permissions"].is_string());
    let message = call(&sim, "POST", &format!("/channels/{channel}/messages"), json!({"content": "x"})).await;
    let message_id = serde_json::from_value(message.json()["id"].clone()).unwrap();
    let about = NewInteraction { message_id, ..named("Report") };
    let event = begin(&sim, &mut client, about).await;
    let (data, target) = (&event["data"], event["data"]["target_id"].as_str().unwrap());
    assert_eq!((&data["type"], &data["resolved"]["messages"][target]["content"]), (&json!(3), &json!("x")));
    let path = format!("{}?with_response=true", callback_of(&event));
    let answer = call(&sim, "POST", &path, json!({"type": 4, "data": {"content": "noted"}})).await;
    assert_eq!(answer.json()["resource"]["message"]["type"], 23);
    sim.shutdown().await;
}

#[tokio::test]
async fn control_api_reports_rest() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    call(&sim, "POST", &format!("/channels/{channel}/messages"), json!({"content": "x"})).await;
    let fault = json!({"kind": "interaction", "command": "ping", "dm": true}).to_string();
    let json = "Content-Type: application/json\r\n";
    let outcome = raw(&sim, "POST", "/sim/faults", json, fault.as_bytes()).await.json();
    let look = async |path: &str| raw(&sim, "GET", path, "", b"").await.json();
    let interactions = look("/sim/interactions").await;
    assert_eq!(interactions[0]["id"], outcome["interaction_id"]);
    assert_eq!((&interactions[0]["state"], &interactions[0]["name"]), (&json!("pending"), &json!("ping")));
    assert_eq!(look("/sim/messages").await[0]["content"], "x");
    assert_eq!(look("/sim/commands").await, json!([]));
    let counts = look("/sim/requests").await["counts"].clone();
    let sent = json!({"method": "POST", "route": "/channels/{channel}/messages", "status": 200, "count": 1});
    assert!(counts.as_array().unwrap().contains(&sent), "{counts}");
    let wrong = br#"{"kind":"interaction","command":"ping","colour":"red"}"#;
    assert_eq!(raw(&sim, "POST", "/sim/faults", json, wrong).await.status, 400);
    sim.shutdown().await;
}

#[tokio::test]
async fn options_must_be_objects() {
    let sim = start(quick()).await;
    let json = "Content-Type: application/json\r\n";
    for options in [
        json!(["x"]),
        json!([7]),
        json!([null]),
        json!([{"name": "a", "value": "b"}, []]),
        json!([{"name": "a", "options": ["x"]}]),
        json!([{"name": "a", "options": [{"name": "b", "options": [true]}]}]),
    ] {
        let fault = json!({"kind": "interaction", "command": "ping", "options": options}).to_string();
        let answer = raw(&sim, "POST", "/sim/faults", json, fault.as_bytes()).await;
        assert_eq!(answer.status, 400, "{fault}");
        assert!(answer.json()["error"].is_string(), "{fault}");
    }
    assert!(sim.control().interactions().is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn invalid_interactions_say_why() {
    let sim = start(quick()).await;
    let refused =
        |wanted: NewInteraction| sim.control().inject(Fault::Interaction(wanted)).unwrap_err().to_string();
    let one = Some(discord_sim::Snowflake(1));
    assert!(refused(NewInteraction::default()).contains("one of command"));
    assert!(refused(NewInteraction { guild_id: one, ..ping() }).contains("no guild 1"));
    assert!(refused(NewInteraction { channel_id: one, ..ping() }).contains("no channel 1"));
    assert!(refused(NewInteraction { user_id: one, ..ping() }).contains("no user 1"));
    let strange =
        NewInteraction { component: Some("b".into()), message_id: one, ..NewInteraction::default() };
    assert!(refused(strange).contains("no message 1"));
    assert!(sim.control().wait_until(PATIENCE, |control| control.interactions().is_empty()).await);
    sim.shutdown().await;
}
