use altergolden_proto::{convert, v1};
use prost::Message as _;
use serde_json::json;

use super::*;

fn nested(levels: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(json!(1), |value, _| wrap(value))
}

#[test]
fn nesting_limit_matches_protobuf() {
    for wrap in [|value| json!([value]), |value| json!({ "k": value })] {
        assert!(nests_too_deep(&nested(DEEPEST + 1, wrap)));
        let deepest = nested(DEEPEST, wrap);
        assert!(!nests_too_deep(&deepest));
        // The two messages in which it is nested deepest: a reply, and one that was subscribed to.
        let value = || convert::from_json(deepest.clone());
        let reply = v1::ShardReply {
            outcome: Some(v1::shard_reply::Outcome::Value(value())),
            ..v1::ShardReply::default()
        };
        let response = v1::RequestResponse { complete: true, replies: vec![reply] };
        assert_eq!(v1::RequestResponse::decode(&*response.encode_to_vec()).unwrap(), response);
        let message = v1::BroadcastMessage { data: Some(value()), ..v1::BroadcastMessage::default() };
        let item = Some(v1::subscribe_response::Item::Message(message));
        let response = v1::SubscribeResponse { item };
        assert_eq!(v1::SubscribeResponse::decode(&*response.encode_to_vec()).unwrap(), response);
    }
    assert!(nests_too_deep(&nested(100, |value| json!([value]))));
}

#[test]
fn types_and_sizes_have_their_limits() {
    assert_eq!(checked("", &json!(1)), Err(InvalidContent::Type));
    assert_eq!(checked(&"ü".repeat(100), &json!(1)), Ok("1".to_owned()));
    assert_eq!(checked(&"ü".repeat(101), &json!(1)), Err(InvalidContent::Type));
    let text = |length: usize| json!("x".repeat(length));
    assert!(checked("k", &text(LARGEST - 2)).is_ok());
    assert_eq!(checked("k", &text(LARGEST - 1)), Err(InvalidContent::Size(LARGEST + 1)));
}

#[test]
fn checks_apply_to_the_text() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (text, expected) in [
        ("1e400", Ok(())),
        (r#" {"a" : [1, -0, 0.10], "a": "]]]]"} "#, Ok(())),
        (&deep(DEEPEST), Ok(())),
        (&deep(DEEPEST + 1), Err("nested")),
        (&deep(100_000), Err("nested")),
        (&format!("[{}]", vec!["[]"; 1_000].join(",")), Ok(())),
        (&format!("\"{}\"", "x".repeat(LARGEST - 2)), Ok(())),
        (&format!(" \"{}\"", "x".repeat(LARGEST - 2)), Err("over the limit")),
        ("", Err("invalid JSON")),
        ("01", Err("invalid JSON")),
        ("[1,]", Err("invalid JSON")),
        ("{\"a\":1}}", Err("invalid JSON")),
        ("\"\n\"", Err("invalid JSON")),
        ("\u{e9}", Err("invalid JSON")),
    ] {
        let checked = check("k", text).map_err(|misfit| misfit.to_string());
        let start: String = text.chars().take(40).collect();
        match (checked, expected) {
            (Ok(()), Ok(())) => {}
            (Err(why), Err(expected)) if why.contains(expected) => {}
            (checked, expected) => panic!("{start}: {checked:?}, not {expected:?}"),
        }
    }
}

#[test]
fn values_for_bot_code_are_exact_or_refused() {
    for (text, exact) in [
        ("9223372036854775808", true),
        ("18446744073709551615", true),
        ("-9223372036854775808", true),
        ("18446744073709551616", false),
        ("-9223372036854775809", false),
        (r#"{"18446744073709551616":["18446744073709551616",1]}"#, true),
        (r#"["\"",18446744073709551616]"#, false),
        (r#"["\\",18446744073709551616]"#, false),
        ("1e400", false),
        ("1.5e308", true),
        ("0.1", true),
        ("-0", true),
    ] {
        let value = exact_value(text);
        assert_eq!(value.is_ok(), exact, "{text}: {value:?}");
        if let Ok(value) = value
            && !text.contains(['e', '.'])
            && text != "-0"
        {
            assert_eq!(value.to_string(), text);
        }
    }
}

#[test]
fn text_wins_over_the_value_beside_it() {
    let value = |json: Value| Some(convert::from_json(json));
    for (json, beside, expected) in [
        ("9007199254740993", value(json!(9_007_199_254_740_992_u64)), "9007199254740993"),
        ("1e400", value(json!(null)), "1e400"),
        ("", value(json!({"a": 1})), r#"{"a":1}"#),
        ("", None, "null"),
    ] {
        assert_eq!(received(json.to_owned(), beside), expected);
    }
    // Peers that do not know the text can read the value.
    for (text, read) in [
        ("800356270543470593", json!(8.003_562_705_434_706e17)),
        ("[1,\"a\",null]", json!([1, "a", null])),
        ("1e400", json!(null)),
    ] {
        let data = Data::from_text(text).unwrap();
        assert_eq!((data.json.as_str(), convert::to_json(data.value)), (text, read));
    }
}

#[test]
fn one_line_keeps_the_meaning() {
    for (text, expected) in [
        ("{ \"a b\" :\n[ 1 ,\t-0.10 ] }\r\n", r#"{"a b":[1,-0.10]}"#),
        (r#"" \" \\""#, r#"" \" \\""#),
        (" 12 ", "12"),
    ] {
        assert_eq!(one_line(text), expected);
    }
}
