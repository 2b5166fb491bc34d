//! Interactions, their answers, and what follows.

use super::call::{application, call, get, ping, raw, somewhere, violations};
use crate::client::{Client, PATIENCE, USUAL as INTENTS, quick, start};
use discord_sim::{Fault, InteractionState, NewInteraction, Sim, SimConfig};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Lets it happen and returns INTERACTION_CREATE as the client got it.
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
async fn an_interaction_has_all_its_fields_and_needs_no_intent() {
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

/// Callers of the control API act as soon as they see an answer.
#[tokio::test(flavor = "multi_thread")]
async fn answer_is_seen_with_its_message_or_not_at_all() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (control, stop) = (sim.control(), is_over.clone());
    let watching = std::thread::spawn(move || {
        let mut seen = 0;
        while !stop.load(Ordering::Relaxed) {
            for one in control.interactions().iter().filter(|one| one.state == InteractionState::Answered) {
                assert_eq!(one.content.as_deref(), Some("pong"), "{one:?}");
                seen += 1;
            }
        }
        seen
    });
    for _ in 0..50 {
        let event = begin(&sim, &mut client, ping()).await;
        let answer = json!({"type": 4, "data": {"content": "pong"}});
        assert_eq!(call(&sim, "POST", &callback_of(&event), answer).await.status, 204);
    }
    is_over.store(true, Ordering::Relaxed);
    let seen = tokio::task::spawn_blocking(|| watching.join()).await.unwrap();
    assert!(seen.expect("an answer was seen without its message") > 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn an_answer_becomes_a_message() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let event = begin(&sim, &mut client, ping()).await;
    assert_eq!(sim.control().interactions()[0].state, InteractionState::Pending);
    let body = json!({"type": 4, "data": {"content": "pong"}}).to_string();
    let headers = "User-Agent: x\r\nContent-Type: application/json\r\n";
    let path = format!("/api/v10{}?with_response=true", callback_of(&event));
    let answer = raw(&sim, "POST", &path, headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "without a token: {answer:?}");
    let response = answer.json();
    assert_eq!((&response["interaction"]["id"], &response["interaction"]["type"]), (&event["id"], &json!(2)));
    assert_eq!(response["interaction"]["response_message_loading"], false);
    let message = &response["resource"]["message"];
    assert_eq!((&response["resource"]["type"], &message["content"]), (&json!(4), &json!("pong")));
    assert_eq!(response["interaction"]["response_message_id"], message["id"]);
    assert_eq!((&message["type"], &message["webhook_id"]), (&json!(20), &event["application_id"]));
    assert_eq!(message["interaction_metadata"]["id"], event["id"]);
    let dispatched = client.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!((&dispatched["id"], &dispatched["guild_id"]), (&message["id"], &event["guild_id"]));

    let report = &sim.control().interactions()[0];
    assert_eq!((report.state, report.callback), (InteractionState::Answered, Some(4)));
    assert_eq!((report.content.as_deref(), report.answered_after_ms.is_some()), (Some("pong"), true));
    let again = call(&sim, "POST", &callback_of(&event), json!({"type": 5})).await;
    assert_eq!(again.code(), (400, 40060));
    assert_eq!(violations(&sim.control()), ["interaction_answered_twice"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_late_or_unknown_answer_is_refused() {
    let deadline = Duration::from_millis(50);
    let sim = start(SimConfig { interaction_deadline: deadline, ..quick() }).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let event = begin(&sim, &mut client, ping()).await;
    tokio::time::sleep(deadline * 2).await;
    let late = call(&sim, "POST", &callback_of(&event), json!({"type": 5})).await;
    assert_eq!(late.code(), (404, 10062));
    assert_eq!(sim.control().interactions()[0].state, InteractionState::Expired);
    assert_eq!(violations(&sim.control()), ["interaction_late"]);
    let other = format!("/interactions/{}/other/callback", event["id"].as_str().unwrap());
    assert_eq!(call(&sim, "POST", &other, json!({"type": 5})).await.code(), (404, 10062));
    assert_eq!(get(&sim, &format!("{}/messages/@original", webhook_of(&event))).await.code(), (404, 10015));
    sim.shutdown().await;
}

#[tokio::test]
async fn only_answers_of_the_right_type_are_taken() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let command = begin(&sim, &mut client, ping()).await;
    for (body, code) in [
        (json!({}), (400, 50035)),
        (json!({"type": 1}), (400, 50035)),
        (json!({"type": 7, "data": {"content": "x"}}), (400, 50035)),
        (json!({"type": 4, "data": {}}), (400, 50006)),
        (json!({"type": 9, "data": {}}), (400, 50035)),
    ] {
        assert_eq!(call(&sim, "POST", &callback_of(&command), body).await.code(), code);
    }
    let modal = json!({"type": 9, "data": {"custom_id": "m", "title": "M", "components": [{"type": 1}]}});
    assert_eq!(call(&sim, "POST", &callback_of(&command), modal).await.status, 204, "it is still open");
    assert_eq!(get(&sim, &format!("{}/messages/@original", webhook_of(&command))).await.code(), (404, 10008));

    let options = vec![json!({"name": "text", "value": "he"})];
    let typing = begin(&sim, &mut client, NewInteraction { autocomplete: true, options, ..ping() }).await;
    assert_eq!((&typing["type"], &typing["data"]["options"][0]["focused"]), (&json!(4), &json!(true)));
    let choices = json!({"type": 8, "data": {"choices": [{"name": "hello", "value": "hello"}]}});
    assert_eq!(call(&sim, "POST", &callback_of(&typing), choices).await.status, 204);
    let sent = NewInteraction { modal: Some("m".into()), ..NewInteraction::default() };
    let modal = begin(&sim, &mut client, sent).await;
    assert_eq!((&modal["type"], &modal["data"]["custom_id"]), (&json!(5), &json!("m")));
    let thanks = json!({"type": 4, "data": {"content": "thanks"}});
    assert_eq!(call(&sim, "POST", &callback_of(&modal), thanks).await.status, 204);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_deferred_answer_is_filled_by_the_first_follow_up() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let event = begin(&sim, &mut client, ping()).await;
    let webhook = webhook_of(&event);
    let early = call(&sim, "POST", &webhook, json!({"content": "early"})).await;
    assert_eq!(early.code(), (404, 10015));
    let path = format!("{}?with_response=true", callback_of(&event));
    let deferred = call(&sim, "POST", &path, json!({"type": 5})).await.json();
    assert_eq!(deferred["interaction"]["response_message_loading"], true);
    assert_eq!(deferred["resource"], json!({"type": 5}));
    assert_eq!(client.event("MESSAGE_CREATE").await["d"]["flags"], 128);
    assert_eq!(sim.control().interactions()[0].state, InteractionState::Deferred);

    let filled = call(&sim, "POST", &webhook, json!({"content": "pong"})).await.json();
    assert_eq!(filled["id"], deferred["interaction"]["response_message_id"]);
    assert_eq!((&filled["flags"], &filled["edited_timestamp"]), (&json!(0), &Value::Null));
    assert_eq!(client.event("MESSAGE_UPDATE").await["d"]["content"], "pong");
    let more = call(&sim, "POST", &webhook, json!({"content": "more"})).await.json();
    assert_ne!(more["id"], filled["id"]);
    assert_eq!(more["message_reference"]["message_id"], filled["id"]);

    let original = format!("{webhook}/messages/%40original");
    let edited = call(&sim, "PATCH", &original, json!({"content": "pong!"})).await.json();
    assert_eq!((&edited["id"], &edited["content"]), (&filled["id"], &json!("pong!")));
    assert_eq!(get(&sim, &original).await.json(), edited);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = format!("{webhook}/messages/{}", more["id"].as_str().unwrap());
    assert_eq!(get(&sim, &second).await.json()["content"], "more");
    assert_eq!(call(&sim, "DELETE", &second, Value::Null).await.status, 204);
    assert_eq!(get(&sim, &second).await.code(), (404, 10008));
    assert_eq!(call(&sim, "DELETE", &original, Value::Null).await.status, 204);
    assert_eq!(get(&sim, &original).await.code(), (404, 10008));
    let report = &sim.control().interactions()[0];
    assert_eq!((report.state, report.follow_ups.len()), (InteractionState::Answered, 1));
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn tokens_end_and_strange_ones_are_refused() {
    let sim = start(SimConfig { interaction_life: Duration::from_millis(600), ..quick() }).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let event = begin(&sim, &mut client, ping()).await;
    call(&sim, "POST", &callback_of(&event), json!({"type": 4, "data": {"content": "x"}})).await;
    let application = event["application_id"].as_str().unwrap();
    let strange = format!("/webhooks/{application}/strange/messages/@original");
    assert_eq!(get(&sim, &strange).await.code(), (404, 10015));
    let token = event["token"].as_str().unwrap();
    assert_eq!(get(&sim, &format!("/webhooks/1/{token}/messages/@original")).await.code(), (404, 10015));
    tokio::time::sleep(Duration::from_millis(700)).await;
    let late = call(&sim, "POST", &webhook_of(&event), json!({"content": "x"})).await;
    assert_eq!(late.code(), (401, 50027));
    assert_eq!(violations(&sim.control()), ["interaction_late"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn ephemeral_answers_travel_like_direct_messages() {
    let sim = start(quick()).await;
    let guild = sim.control().guilds(1, 1)[0].id;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS | 1 << 12).await;
    let (mut without, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let wanted = NewInteraction { guild_id: Some(guild), ..ping() };
    let event = begin(&sim, &mut client, wanted).await;
    without.event("INTERACTION_CREATE").await;
    let answer = json!({"type": 4, "data": {"content": "secret", "flags": 64}});
    call(&sim, "POST", &callback_of(&event), answer).await;
    let message = client.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!((&message["flags"], message.get("guild_id"), message.get("member")), (&json!(64), None, None));
    let channel = event["channel_id"].as_str().unwrap();
    let one = format!("/channels/{channel}/messages/{}", message["id"].as_str().unwrap());
    assert_eq!(get(&sim, &one).await.code(), (404, 10008), "not for the channel");
    assert_eq!(get(&sim, &format!("{}/messages/@original", webhook_of(&event))).await.status, 200);
    sim.control().inject(Fault::Message { guild_id: guild, content: None }).unwrap();
    assert!(without.event("MESSAGE_CREATE").await["d"]["nonce"].is_string(), "it got no other before");
    assert!(sim.control().interactions()[0].ephemeral && sim.control().messages()[0].ephemeral);
    sim.shutdown().await;
}

#[tokio::test]
async fn components_update_their_message() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let row = json!([{"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "b"}]}]);
    let body = json!({"content": "press", "components": row});
    let message = call(&sim, "POST", &format!("/channels/{channel}/messages"), body).await.json();
    let pressed = || NewInteraction {
        component: Some("b".into()),
        message_id: serde_json::from_value(message["id"].clone()).unwrap(),
        ..NewInteraction::default()
    };
    let event = begin(&sim, &mut client, pressed()).await;
    assert_eq!((&event["type"], &event["channel_id"]), (&json!(3), &json!(channel)));
    assert_eq!((&event["message"]["id"], &event["data"]["custom_id"]), (&message["id"], &json!("b")));
    let path = format!("{}?with_response=true", callback_of(&event));
    let updated = call(&sim, "POST", &path, json!({"type": 7, "data": {"content": "pressed"}})).await.json();
    assert_eq!(updated["resource"]["message"]["content"], "pressed");
    assert_eq!(client.event("MESSAGE_UPDATE").await["d"]["id"], message["id"]);
    let event = begin(&sim, &mut client, pressed()).await;
    assert_eq!(call(&sim, "POST", &callback_of(&event), json!({"type": 6})).await.status, 204);
    let original = format!("{}/messages/@original", webhook_of(&event));
    assert_eq!(get(&sim, &original).await.json()["id"], message["id"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn an_update_that_is_refused_is_no_answer() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let path = format!("/channels/{channel}/messages");
    let message = call(&sim, "POST", &path, json!({"content": "press"})).await.json();
    let pressed = || NewInteraction {
        component: Some("b".into()),
        message_id: serde_json::from_value(message["id"].clone()).unwrap(),
        ..NewInteraction::default()
    };
    let update = |content: &str| json!({"type": 7, "data": {"content": content}});
    let event = begin(&sim, &mut client, pressed()).await;
    assert_eq!(call(&sim, "POST", &callback_of(&event), update("")).await.code(), (400, 50006));
    assert_eq!(sim.control().interactions()[0].state, InteractionState::Pending);
    let original = format!("{}/messages/@original", webhook_of(&event));
    assert_eq!(get(&sim, &original).await.code(), (404, 10015), "not answered yet");
    assert_eq!(call(&sim, "POST", &callback_of(&event), update("pressed")).await.status, 204);
    assert_eq!(get(&sim, &original).await.json()["content"], "pressed");

    let event = begin(&sim, &mut client, pressed()).await;
    let one = format!("{path}/{}", message["id"].as_str().unwrap());
    assert_eq!(call(&sim, "DELETE", &one, Value::Null).await.status, 204);
    assert_eq!(call(&sim, "POST", &callback_of(&event), update("gone")).await.code(), (404, 10008));
    assert_eq!(sim.control().interactions()[1].state, InteractionState::Pending);
    let answer = json!({"type": 4, "data": {"content": "gone"}});
    assert_eq!(call(&sim, "POST", &callback_of(&event), answer).await.status, 204);
    let again = call(&sim, "POST", &callback_of(&event), update("again")).await;
    assert_eq!(again.code(), (400, 40060), "before its message is looked for");
    assert_eq!(violations(&sim.control()), ["interaction_answered_twice"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_placeholder_that_is_deleted_is_filled_by_nothing() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    for by_channel in [false, true] {
        let event = begin(&sim, &mut client, ping()).await;
        let webhook = webhook_of(&event);
        let path = format!("{}?with_response=true", callback_of(&event));
        let deferred = call(&sim, "POST", &path, json!({"type": 5})).await.json();
        let placeholder = deferred["interaction"]["response_message_id"].as_str().unwrap();
        let channel = event["channel_id"].as_str().unwrap();
        let one = if by_channel {
            format!("/channels/{channel}/messages/{placeholder}")
        } else {
            format!("{webhook}/messages/@original")
        };
        assert_eq!(call(&sim, "DELETE", &one, Value::Null).await.status, 204);
        assert_eq!(sim.control().interactions().last().unwrap().state, InteractionState::Answered);
        let more = call(&sim, "POST", &webhook, json!({"content": "more"})).await;
        assert_eq!(more.status, 200, "{more:?}");
        let more = more.json();
        assert_ne!(more["id"], placeholder);
        assert_eq!((&more["content"], more.get("message_reference")), (&json!("more"), None));
        let original = get(&sim, &format!("{webhook}/messages/@original")).await;
        assert_eq!(original.code(), (404, 10008));
        assert_eq!(sim.control().interactions().last().unwrap().follow_ups.len(), 1);
    }
    assert!(sim.control().violations().items.is_empty());
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
async fn the_control_api_tells_of_rest() {
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
async fn interactions_that_cannot_be_are_named() {
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
