use altergolden_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::{answer::LONGEST_REASON, content::MOST_SHARDS};

fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn value(shard: u32, value: &Value) -> Replied {
    Replied { shard: ShardSlot(shard), worker: Some(worker("a")), outcome: Ok(value.to_string()) }
}

fn none(shard: u32, kind: Kind, reason: &str) -> Replied {
    Replied { shard: ShardSlot(shard), worker: None, outcome: Err(ReplyFailure::new(kind, reason)) }
}

fn merged(replies: Vec<Replied>, max_bytes: usize) -> ShardReplies {
    let mut merge = Merge::of(&replies, max_bytes);
    for reply in replies {
        merge.add(reply);
    }
    merge.finish()
}

fn kinds(answer: &ShardReplies) -> Vec<Option<Kind>> {
    answer.replies.iter().map(|reply| reply.outcome.as_ref().err().map(|failure| failure.kind)).collect()
}

fn encoded_len(answer: ShardReplies) -> usize {
    let ShardReplies { complete, replies } = answer;
    v1::RequestResponse { complete, replies: replies.into_iter().map(Into::into).collect() }.encoded_len()
}

#[test]
fn complete_is_when_each_has_replied_with_a_value() {
    let all = merged(vec![value(0, &json!({"guilds": 25})), value(1, &json!(null))], USUAL_ANSWER);
    assert!(all.complete, "null is a value: {all:?}");
    assert_eq!(all.replies[0].outcome.as_ref().unwrap().value, json!({"guilds": 25}));
    assert_eq!((&all.replies[0].worker, all.replies[1].shard), (&Some(worker("a")), ShardSlot(1)));

    let some = merged(vec![value(0, &json!(1)), none(1, Kind::TooLate, "slow")], USUAL_ANSWER);
    assert!(!some.complete);
    assert_eq!(kinds(&some), [None, Some(Kind::TooLate)]);
    assert!(some.replies[1].worker.is_none());
    assert!(!merged(Vec::new(), USUAL_ANSWER).complete, "no shard has replied");
}

#[test]
fn reply_of_a_worker_is_checked() {
    let raw = |json: String| Replied { shard: ShardSlot(0), worker: Some(worker("a")), outcome: Ok(json) };
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let large = format!("\"{}\"", "x".repeat(LARGEST));
    for (json, kind, says) in [
        ("{broken".to_owned(), Kind::Failed, "not JSON"),
        (deep, Kind::Failed, "nested"),
        (large, Kind::TooLarge, "262146 bytes"),
    ] {
        let response = merged(vec![raw(json)], LARGEST_ANSWER);
        assert_eq!(kinds(&response), [Some(kind)]);
        let failure = response.replies[0].outcome.as_ref().unwrap_err();
        assert!(failure.reason.contains(says), "{failure:?}");
    }
}

#[test]
fn reply_that_does_not_fit_is_reported_and_a_smaller_later_one_is_sent() {
    let large = json!("x".repeat(LARGEST - 2));
    let mut replies: Vec<Replied> = (0..20).map(|shard| value(shard, &large)).collect();
    replies.push(value(20, &json!("small")));
    let response = merged(replies, USUAL_ANSWER);
    let fitting = USUAL_ANSWER / LARGEST - 1;
    let kinds = kinds(&response);
    assert!(kinds[..fitting].iter().all(Option::is_none), "{kinds:?}");
    assert!(kinds[fitting..20].iter().all(|kind| *kind == Some(Kind::TooLarge)), "{kinds:?}");
    assert_eq!(kinds[20], None);
    assert!(!response.complete && encoded_len(response) <= USUAL_ANSWER);
}

#[test]
fn the_answer_never_has_more_bytes_than_it_may() {
    for (asked, max_bytes) in [(10_000, USUAL_ANSWER), (MOST_SHARDS, LARGEST_ANSWER)] {
        check_room(asked, max_bytes).unwrap();
        assert!(check_room(max_bytes / FAILED_REPLY + 1, max_bytes).is_err());
        keeps_within(asked, max_bytes);
    }
}

fn keeps_within(asked: usize, max_bytes: usize) {
    let name = "w".repeat(64);
    let of = |shard, outcome| Replied { shard: ShardSlot(shard), worker: Some(worker(&name)), outcome };
    let long = "ü".repeat(2_000);
    let failures =
        (0..asked as u32).map(|shard| of(u32::MAX - shard, Err(ReplyFailure::new(Kind::Failed, &long))));
    let response = merged(failures.collect(), max_bytes);
    assert!(encoded_len(response) <= max_bytes);

    // Numbers take the most when they become protobuf's.
    let digits = format!("[{}1]", "1,".repeat(100));
    let values = (0..asked as u32).map(|shard| of(u32::MAX - shard, Ok(digits.clone())));
    let response = merged(values.collect(), max_bytes);
    let kinds = kinds(&response);
    assert!(encoded_len(response) <= max_bytes);
    assert!(kinds[0].is_none() && kinds.last() == Some(&Some(Kind::TooLarge)));
}

#[test]
fn caller_without_a_size_limit_gets_what_any_client_can_read() {
    assert_eq!(max_bytes(None), USUAL_ANSWER);
    assert_eq!(max_bytes(Some(1)), USUAL_ANSWER);
    assert_eq!(max_bytes(Some(5 << 20)), 5 << 20);
    assert_eq!(max_bytes(Some(u32::MAX)), LARGEST_ANSWER);
}

#[test]
fn reasons_are_cut_between_characters() {
    let cut = ReplyFailure::new(Kind::Failed, "ラ".repeat(200)).reason;
    assert!(cut.len() <= LONGEST_REASON && cut.ends_with("ラ…"), "{cut}");
    assert_eq!(ReplyFailure::new(Kind::Failed, "short").reason, "short");
}

#[test]
fn reply_with_integers_beyond_a_double_has_its_text() {
    for (json, has_text) in [
        ("9007199254740992", false),
        ("9007199254740993", true),
        ("-9007199254740993", true),
        ("18446744073709551615", true),
        (r#"{"ids":[800356270543470593]}"#, true),
        (r#"{"ids":["800356270543470593"],"n":0.1}"#, false),
    ] {
        let reply = Replied { shard: ShardSlot(0), worker: None, outcome: Ok(json.to_owned()) };
        let mut response = merged(vec![reply], USUAL_ANSWER);
        assert!(response.complete, "{json}");
        let reply = v1::ShardReply::from(response.replies.remove(0));
        assert_eq!(reply.value_json, if has_text { json } else { "" });
    }
}

#[test]
fn computed_lengths_are_the_encoded_lengths() {
    for (shard, json) in [(0, "9007199254740993"), (7, "null"), (200, r#"{"":[1.5,"ü",{"a":false}]}"#)] {
        let mut response = merged(vec![value(shard, &serde_json::from_str(json).unwrap())], USUAL_ANSWER);
        let reply = response.replies.remove(0);
        let (worker, outcome) = (reply.worker.clone(), reply.outcome.clone().unwrap());
        let computed = wire::reply_len(reply.shard, worker.as_ref(), &outcome);
        assert_eq!(computed, v1::ShardReply::from(reply).encoded_len(), "{json}");
    }
}
