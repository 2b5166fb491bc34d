use serde_json::{Value, json};

use super::*;

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn dropped_fields_are_removed_at_any_position() {
    for (text, left) in [
        (r#"{"d":1}"#, "{}"),
        (r#"{ "d" : 1 , "a" : 2 }"#, r#"{"a":2}"#),
        (r#"{"a":2,"d":1}"#, r#"{"a":2}"#),
        (r#"{"a":2,"d":1,"b":[3],"d":4,"c":null}"#, r#"{"a":2,"b":[3],"c":null}"#),
        (r#"{"a":2,"\u0064":1}"#, r#"{"a":2}"#),
        (r#"{ "a":2 }"#, r#"{ "a":2 }"#),
    ] {
        let object = read_all(text, ["a", "d"], &["d"]).unwrap();
        assert_eq!(value(&object.text), value(left), "{text}");
        assert_eq!(
            object.found[1].is_some(),
            text.contains('d') || text.contains("64"),
            "a dropped field is found: {text}"
        );
    }
}

#[test]
fn too_deep_field_is_left_out_alone() {
    let text = format!(r#"{{"a":1,"deep":{}{},"b":2}}"#, "[".repeat(100), "]".repeat(100));
    let object = read_all(&text, ["deep", "b"], &[]).unwrap();
    assert_eq!((value(&object.text), object.lost), (json!({"a": 1, "b": 2}), 1));
    assert_eq!(object.found, [None, Some("2")]);
}

#[test]
fn merge_is_by_key() {
    let base = r#"{"a":1,"b":{"x":1},"h":"\ud83d","\u0063":5}"#;
    assert_eq!(merge(base, r#"{"b":{"y":2},"c":null}"#), r#"{"a":1,"h":"\ud83d","b":{"y":2},"c":null}"#);
    assert_eq!(merge("{}", "{}"), "{}");
    assert_eq!(merge("{}", r#"{"a":1}"#), r#"{"a":1}"#);
}

#[test]
fn single_fields_are_set_and_removed() {
    assert_eq!(with_field(r#"{"a":1,"b":2,"a":3}"#, "a", "4"), r#"{"a":4,"b":2}"#);
    assert_eq!(with_field("{}", "a", "4"), r#"{"a":4}"#);
    assert_eq!(with_new_field("{ } ".to_owned(), "a", "4"), r#"{"a":4}"#);
    assert_eq!(with_new_field(r#"{"b":1 }"#.to_owned(), "a", "4"), r#"{"b":1,"a":4}"#);
    assert_eq!(without_field(r#"{"a":1}"#, "a"), "{}");
}

#[test]
fn ids_are_texts_or_numbers_and_nothing_else() {
    assert_eq!(
        [id("\"12\""), id("12"), id("\"18446744073709551615\"")],
        [Some(12), Some(12), Some(u64::MAX)]
    );
    for raw in
        ["\"0\"", "0", "\"\"", "\"+1\"", "-1", "1.0", "\"1", "null", "\"18446744073709551616\"", "\" 1\""]
    {
        assert_eq!(id(raw), None, "{raw}");
    }
}

#[test]
fn last_of_repeated_fields_counts() {
    assert_eq!(field(r#"{"a":1,"a":2}"#, "a"), Some("2"));
    assert_eq!(string(r#""\ud83d""#), None);
}
