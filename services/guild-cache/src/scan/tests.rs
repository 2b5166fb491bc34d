use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn whole(text: &str) -> Result<Raw<'_>, Broken> {
    let mut scan = Scan::new(text);
    let value = scan.value()?;
    scan.end()?;
    Ok(value)
}

#[test]
fn value_is_returned_as_it_was_written() {
    for text in [r#""\ud83d""#, "1e400", "-0.0", r#"{ "a" : [ 1 , { } ] }"#, "null", "[]", r#""é\u0000""#] {
        assert_eq!(whole(&format!("\n {text} \t")).unwrap().text, text);
    }
}

#[test]
fn invalid_text_is_refused() {
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        "-",
        "+1",
        ".5",
        "1e",
        "nul",
        "tru",
        "'a'",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\u{1}\"",
        "\"\n\"",
        "\"abc",
        "[1 2]",
        "{\"a\" 1}",
        "[1}",
        "{\"a\":1]",
        "1 2",
        "\u{1e}",
        "[\u{1e}1]",
        "\"\u{1f}\"",
    ] {
        assert!(whole(text).is_err(), "{text:?}");
    }
}

#[test]
fn deep_nesting_uses_no_stack_and_is_reported() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(!whole(&nested(DEEPEST as usize)).unwrap().is_deep);
    assert!(whole(&nested(DEEPEST as usize + 1)).unwrap().is_deep);
    assert!(whole(&nested(500_000)).unwrap().is_deep);
    let mixed = format!("{}1{}", "[{\"a\":".repeat(200), "}]".repeat(200));
    assert!(whole(&mixed).unwrap().is_deep);
    assert!(whole(&mixed.replacen("}]", "]}", 1)).is_err());
}

proptest! {
    #[test]
    fn accepts_what_serde_accepts(text in r#"[\[\]{}",:0-9eE.+\-truefalsn\\u \n]{0,24}"#) {
        prop_assert_eq!(whole(&text).is_ok(), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn strings_end_where_they_end(inner in "[a-zé\\\\\"/]{0,40}", pad in 0_usize..9) {
        let text = serde_json::to_string(&format!("{}{inner}", "x".repeat(pad))).unwrap();
        prop_assert_eq!(whole(&text).unwrap().text, &text);
        prop_assert!(whole(&text[..text.len() - 1]).is_err());
    }
}
