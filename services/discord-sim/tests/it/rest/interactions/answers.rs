//! First answers to interactions.

use super::{begin, callback_of, webhook_of};
use crate::{
    client::{Client, USUAL as INTENTS, quick, start},
    http::raw,
    rest::call::{call, get, ping, somewhere, violations},
};
use discord_sim::{InteractionState, NewInteraction, SimConfig};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// A press of button `b` of a message.
fn press(message: &Value) -> NewInteraction {
    NewInteraction {
        component: Some("b".into()),
        message_id: serde_json::from_value(message["id"].clone()).unwrap(),
        ..NewInteraction::default()
    }
}

/// Callers of the control API act as soon as they see an answer, so it must have its message.
#[tokio::test(flavor = "multi_thread")]
async fn answer_and_its_message_appear_together() {
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
async fn answer_becomes_a_message() {
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
async fn late_and_unknown_answers_are_rejected() {
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
async fn answers_of_a_wrong_type_are_rejected() {
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
    assert_eq!(
        call(&sim, "POST", &callback_of(&command), modal).await.status,
        204,
        "rejected callbacks leave it unanswered"
    );
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
async fn components_update_their_message() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let row = json!([{"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "b"}]}]);
    let body = json!({"content": "press", "components": row});
    let message = call(&sim, "POST", &format!("/channels/{channel}/messages"), body).await.json();
    let pressed = || press(&message);
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
async fn rejected_update_leaves_interaction_unanswered() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    let path = format!("/channels/{channel}/messages");
    let message = call(&sim, "POST", &path, json!({"content": "press"})).await.json();
    let pressed = || press(&message);
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
    assert_eq!(again.code(), (400, 40060), "checked before its message");
    assert_eq!(violations(&sim.control()), ["interaction_answered_twice"]);
    sim.shutdown().await;
}
