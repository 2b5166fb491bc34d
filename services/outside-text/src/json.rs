//! Repairs the escapes of JSON text.

use std::borrow::Cow;

/// Replaces each lone half of a surrogate pair (`\ud83d`), such as an emoji cut by a length limit, by U+FFFD: serde_json rejects
/// text that contains one. All else stays, at the same byte offsets.
pub fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += found;
        match unit(bytes, at) {
            Some(0xd800..=0xdbff) if matches!(unit(bytes, at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                lone.push(at);
                at += 6;
            }
            Some(_) => at += 6,
            // A two-character escape, such as an escaped backslash.
            None => at += 2,
        }
    }
    if lone.is_empty() {
        return Cow::Borrowed(json);
    }
    let mut text = json.to_owned();
    for at in lone {
        text.replace_range(at..at + 6, "\\ufffd");
    }
    Cow::Owned(text)
}

/// The UTF-16 unit of the escape `\uXXXX` at `at`, if there is one.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at.checked_add(6)?)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | digit as u16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_halves_are_replaced() {
        for (text, clean) in [
            (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00x""#, r#""\ufffdx""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n""#, r#""\ufffd\n""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""é\ud83d日""#, r#""é\ufffd日""#),
            (r#""\u00e9\ud8"#, r#""\u00e9\ud8"#),
            ("\\", "\\"),
            (r"\ué", r"\ué"),
        ] {
            assert_eq!(without_lone_surrogates(text), clean);
        }
    }
}
