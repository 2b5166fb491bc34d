//! Follow-ups after the first answer.

use super::{begin, callback_of, webhook_of};
use crate::{
    client::{Client, USUAL as INTENTS, first_guild, quick, start},
    rest::call::{call, get, ping, violations},
};
use discord_sim::{Fault, InteractionState, NewInteraction, SimConfig};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn first_follow_up_fills_a_deferred_answer() {
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
async fn expired_and_unknown_tokens_are_rejected() {
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
async fn ephemeral_answers_are_dispatched_like_direct_messages() {
    let sim = start(quick()).await;
    let guild = first_guild(&sim.control());
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
    assert_eq!(get(&sim, &one).await.code(), (404, 10008), "not visible in the channel");
    assert_eq!(get(&sim, &format!("{}/messages/@original", webhook_of(&event))).await.status, 200);
    sim.control().inject(Fault::Message { guild_id: guild, content: None }).unwrap();
    assert!(without.event("MESSAGE_CREATE").await["d"]["nonce"].is_string(), "no other message before");
    assert!(sim.control().interactions()[0].ephemeral && sim.control().messages()[0].ephemeral);
    sim.shutdown().await;
}

#[tokio::test]
async fn deleted_placeholder_is_not_filled() {
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
