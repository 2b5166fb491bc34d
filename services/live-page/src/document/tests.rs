use std::time::Duration;

use fleet_model::{ProblemCode, ShardSlot};

use super::*;
use crate::ShardData;

fn shard(number: u32, status: ShardStatus) -> ShardData {
    ShardData {
        number,
        worker: Some(0),
        status,
        guilds: 7,
        latency_ms: Some(41.6),
        sequence: 0,
        reported_at: None,
        since_unix_ms: None,
        detail: String::new(),
    }
}

fn fleet(shards: u32) -> FleetData {
    FleetData {
        shards: (0..shards).map(|number| shard(number, ShardStatus::Ready)).collect(),
        shard_total: shards,
        acting: true,
        age: Duration::from_millis(250),
        ..FleetData::default()
    }
}

fn document(fleet: &FleetData) -> Document {
    Document::new(fleet, &Rates::default(), 1_000)
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn full_document_has_a_number_for_each_shard() {
    let mut fleet = fleet(3);
    fleet.shards[1].latency_ms = None;
    fleet.shards[2].worker = None;
    let full = read(&document(&fleet).full(7));
    assert_eq!((&full["seq"], &full["age"], &full["now"]), (&json!(7), &json!(250), &json!(1_000)));
    let expected = json!({
        "number": [], "status": [4, 4, 4], "worker": [0, 0, -1], "guilds": [7, 7, 7], "latency": [42, -1, 42],
        "rate": [-1, -1, -1],
    });
    assert_eq!(full["all"], expected);
    fleet.shards[0].number = 9;
    assert_eq!(read(&document(&fleet).full(1))["all"]["number"], json!([9, 1, 2]), "numbers with holes");
}

#[test]
fn standby_knows_no_states() {
    let standby = FleetData { acting: false, ..fleet(2) };
    let full = read(&document(&standby).full(1));
    assert_eq!((&full["all"]["status"], &full["unready"]), (&json!([-1, -1]), &json!([])));
}

#[test]
fn changes_are_what_differs() {
    let before = fleet(100);
    let mut after = before.clone();
    after.shards[40].status = ShardStatus::Resuming;
    after.shards[41].guilds = 8;
    let changes = read(&document(&after).changes(2, &document(&before)));
    assert_eq!(changes["set"], json!({ "status": [40, 3], "guilds": [41, 8] }));
    let names: Vec<&str> = changes.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["age", "now", "seq", "set", "unready"], "other sections are the same");
    for shard in &mut after.shards {
        shard.latency_ms = Some(9.0);
    }
    let changes = read(&document(&after).changes(2, &document(&before)));
    assert_eq!(changes["all"]["latency"], json!(vec![9; 100]), "many changes are sent as the whole column");
    let changes = read(&document(&fleet(5)).changes(2, &document(&before)));
    assert_eq!(changes["all"]["status"], json!([4, 4, 4, 4, 4]), "another number of shards");
    let same = document(&before).changes(2, &document(&before));
    assert_eq!(same, r#"{"seq":2,"age":250,"now":1000}"#);
}

#[test]
fn figures_from_outside_stay_in_their_columns() {
    let mut fleet = fleet(1);
    fleet.shards[0].guilds = u32::MAX;
    fleet.shards[0].latency_ms = Some(f64::NAN);
    let all = read(&document(&fleet).full(1))["all"].clone();
    assert_eq!((&all["guilds"], &all["latency"]), (&json!([i32::MAX]), &json!([0])));
    fleet.shards[0].latency_ms = Some(f64::INFINITY);
    assert_eq!(read(&document(&fleet).full(1))["all"]["latency"], json!([i32::MAX]));
    assert_eq!([tenths(0.04), tenths(9.94), tenths(512.4), tenths(f64::MAX)], [0, 99, 5_120, i32::MAX]);
}

#[test]
fn long_lists_and_texts_are_cut() {
    let mut fleet = fleet(0);
    let text = "x".repeat(5_000);
    let problem = || Problem::of_shard(ProblemCode::ShardNotReady, ShardSlot(3), text.clone());
    fleet.problems = (0..1_000).map(|_| problem()).collect();
    fleet.shards = (0..1_000).map(|number| shard(number, ShardStatus::Queued)).collect();
    fleet.shards[0].detail = "é".repeat(5_000);
    let full = read(&document(&fleet).full(1));
    assert_eq!(full["problems"]["count"], 1_000);
    assert_eq!(full["problems"]["shown"].as_array().unwrap().len(), PROBLEMS);
    assert!(full["problems"]["shown"][0]["text"].as_str().unwrap().chars().count() <= LONGEST + 1);
    assert_eq!(full["unready"].as_array().unwrap().len(), UNREADY);
    assert!(full["unready"][0][2].as_str().unwrap().ends_with('…'));
}

#[test]
fn large_fleet_is_less_than_a_megabyte() {
    let mut fleet = fleet(25_000);
    for (shard, number) in fleet.shards.iter_mut().zip(0..) {
        (shard.worker, shard.guilds, shard.latency_ms) = (Some(number / 25), 2_400, Some(123.0));
    }
    let size = document(&fleet).full(1).len();
    assert!(size < 700_000, "{size}");
}
