//! The effect of each preset on a client, one row per preset.

mod connections;
mod events;
mod rest;

use crate::{
    client::{Client, quick, start},
    http,
};
use discord_sim::{Action, Control, Fault, FaultError, Moment, NewPreset, Script, Sim};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn preset(sim: &Sim, name: &str) {
    let wanted = NewPreset { name: name.into(), ..NewPreset::default() };
    sim.control().inject(Fault::Preset(wanted)).unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn every_preset_has_a_test_row() {
    let presets: BTreeSet<String> = Control::presets().into_iter().map(|preset| preset.name).collect();
    let rows = connections::names().chain(events::names()).chain(rest::names());
    let rows: BTreeSet<String> = rows.map(ToOwned::to_owned).collect();
    assert_eq!(rows, presets);
}

#[tokio::test]
async fn oddities_are_added_listed_and_cleared_over_http() {
    let sim = start(quick()).await;
    let http = async |method: &str, path: &str, body: Value| {
        http::http(&sim, method, path, "Content-Type: application/json\r\n", &body.to_string()).await
    };
    let (_, presets) = http("GET", "/sim/presets", Value::Null).await;
    assert_eq!(presets.as_array().unwrap().len(), Control::presets().len());
    let made =
        http("POST", "/sim/faults", json!({"kind": "preset", "name": "hello_then_close", "times": 1})).await;
    assert_eq!(made.0, 200, "{made:?}");
    let script = json!({
        "kind": "script", "name": "mine", "at": "ready", "shards": [0], "actions": [
            {"do": "wait", "ms": 1}, {"do": "text", "text": "hi"}, {"do": "close", "code": 4000}
        ]
    });
    assert_eq!(http("POST", "/sim/faults", script).await.0, 200);
    let mut client = Client::connect(&sim).await;
    assert_eq!(client.close_code().await, 1011, "applied once");
    let mut client = Client::connect(&sim).await;
    client.identify((0, 1), 0).await;
    assert_eq!(client.see().await, "READY");
    assert_eq!((client.see().await, client.see().await), ("text".into(), "closed 4000".into()));
    assert_eq!(sim.control().sessions().dials, 2);
    let (_, oddities) = http("GET", "/sim/oddities", Value::Null).await;
    let listed = oddities.as_array().unwrap();
    assert_eq!(listed.len(), 2, "{oddities}");
    assert_eq!((&listed[0]["applied"], &listed[0]["left"]), (&json!(1), &json!(0)));
    assert_eq!((&listed[1]["applied"], &listed[1]["left"]), (&json!(1), &Value::Null));
    assert_eq!(http("POST", "/sim/faults", json!({"kind": "clear_oddities", "name": "mine"})).await.0, 200);
    assert_eq!(http("GET", "/sim/oddities", Value::Null).await.1, json!([]));
    let unknown = http("POST", "/sim/faults", json!({"kind": "preset", "name": "nonsense"})).await;
    assert_eq!(unknown.0, 400);
    sim.shutdown().await;
}

#[tokio::test]
async fn scripts_affect_only_their_shards() {
    let sim = start(quick()).await;
    let script = Script {
        name: None,
        at: Moment::Ready,
        address: None,
        shards: Some(vec![1]),
        times: None,
        instead: false,
        actions: vec![Action::Reset],
    };
    sim.control().inject(Fault::Script(script.clone())).unwrap();
    let (mut zero, ..) = Client::open_all(&sim, (0, 2), 1).await;
    let mut one = Client::connect(&sim).await;
    one.identify((1, 2), 0).await;
    assert_eq!((one.see().await, one.see().await), ("READY".into(), "reset".into()));
    zero.send(json!({"op": 1, "d": null})).await;
    assert_eq!(zero.see().await, "op 11");
    let early = Script { at: Moment::AfterHello, ..script };
    assert!(matches!(sim.control().inject(Fault::Script(early)), Err(FaultError::BadOddity(_))));
    sim.shutdown().await;
}
