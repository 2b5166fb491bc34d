//! Payloads in any order, spacing and spelling, and texts that are not JSON.

use proptest::prelude::*;
use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::*;

#[test]
fn envelope_is_read_in_any_order_and_spacing() {
    let whole = (Some(0), Some(7), Some("READY"));
    for (text, expected) in [
        (r#"{"t":"READY","s":7,"op":0,"d":{}}"#, whole),
        (r#"{"d":{"op":9,"s":2,"t":"X","a":[{"op":7}]},"op":0,"s":7,"t":"READY"}"#, whole),
        ("\t{ \"op\" : 0 ,\n\"s\" : 7 , \"t\" : \"READY\" , \"d\" : null }", whole),
        (r#"{"t":"READY","s":"7","op":"0","d":{}}"#, whole),
        (r#"{"t":"READY","s":7.0,"op":0e0,"d":{}}"#, whole),
        (r#"{"t":"READY","s":7,"op":0,"d":{"a":"\ud83d"},"more":[1]}"#, whole),
        (r#"{"t":"READY","s":9,"op":1,"s":7,"op":0}"#, whole),
        (r#"{"\u0074":"READY","s":7,"op":0}"#, whole),
        (r#"{"t":"\u0052EADY","s":7,"op":0}"#, whole),
        (r#"{"op":10,"d":{"heartbeat_interval":1}}"#, (Some(10), None, None)),
        (r#"{"t":null,"s":null,"op":11,"d":null}"#, (Some(11), None, None)),
        (r#"{"t":"","s":-1,"op":0.5}"#, (None, None, None)),
        (r#"{"t":["READY"],"s":[7],"op":{}}"#, (None, None, None)),
        (r#"{"op":0,"s":9007199254740991}"#, (Some(0), Some(LARGEST_SEQUENCE), None)),
        (r#"{"op":0,"s":9007199254740992}"#, (Some(0), None, None)),
        (r#"{"op":0,"s":18446744073709551616}"#, (Some(0), None, None)),
        (r#"{"op":0,"s":1e300}"#, (Some(0), None, None)),
        (r#"{"op":0,"s":"NaN"}"#, (Some(0), None, None)),
    ] {
        let Payload { op, sequence, name, .. } = Payload::read(text).unwrap();
        assert_eq!((op, sequence, name.as_deref()), expected, "{text}");
    }
    for text in ["", "{", "[]", "null", r#"{"op":0"#, r#"{"op":0} x"#] {
        assert_eq!(Payload::read(text), None, "{text}");
    }
}

#[test]
fn envelope_bounds_names_and_takes_any_depth() {
    let name = |length| format!(r#"{{"t":"{}","s":1,"op":0}}"#, "N".repeat(length));
    assert!(Payload::read(&name(LONGEST_NAME)).unwrap().name.is_some());
    assert_eq!(Payload::read(&name(LONGEST_NAME + 1)).unwrap().name, None);
    let deep = format!(r#"{{"d":{}{},"op":0}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Payload::read(&deep).unwrap().op, Some(0));
}

#[test]
fn guild_of_an_event_is_its_guild_id_or_its_own_id() {
    let guild = |text: &str| Payload::read(text).and_then(|payload| payload.guild());
    let of = |name: &str, d: &str| guild(&format!(r#"{{"t":"{name}","s":1,"op":0,"d":{d}}}"#));
    assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","guild_id":"5","author":{"id":"9"}}"#), Some(5));
    assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","message_reference":{"guild_id":"5"}}"#), None);
    assert_eq!(of("GUILD_DELETE", r#"{"id":"7","unavailable":true}"#), Some(7));
    assert_eq!(of("RESUMED", r#"{"_trace":["\u00e9"]}"#), None);
    assert_eq!(of("MESSAGE_CREATE", r#"{"guild_id":5}"#), Some(5));
    assert_eq!(of("MESSAGE_CREATE", r#"{"id":{"odd":"\ud83d"},"guild_id":"5"}"#), Some(5));
    assert_eq!(of("USER_UPDATE", r#"{"id":"7","guild_id":null}"#), None);
    for (text, expected) in [
        // The text ends like a text whose data ends with its guild.
        (r#"{"t":"X","s":1,"op":0,"d":{"message_reference":{"guild_id":"5"}}"#, None),
        (r#"{"t":"X","s":1,"op":0,"d":{"message_reference":{"guild_id":"5"}}}"#, None),
        (r#"{"t":"X","s":1,"op":0,"d":{},"more":{"guild_id":"5"}}"#, None),
        (r#"{"t":"X","s":1,"op":0,"d":{"content":"\",\"guild_id\":\"5\"}}"}}"#, None),
        (r#"{"t":"X","s":1,"op":0,"d":{"guild_id":"5"},"more":{"guild_id":"6"}}"#, Some(5)),
        (r#"{"t":"X","s":1,"op":0,"d":{"guild_id":"4","guild_id":"5"}}"#, Some(5)),
        (r#"{"t":"X","s":1,"op":0,"d":{"guild_id":"4"},"d":{"guild_id":"5"}}"#, Some(5)),
        (r#"{"t":"X","s":1,"op":0,"d":{"guild_id":"4"},"d":{}}"#, None),
        (r#"{"t":"X","s":1,"op":0,"d":{"guild_\u0069d":"5"}}"#, Some(5)),
        (r#"{"d":{"guild_id":"5"}}"#, Some(5)),
    ] {
        assert_eq!(guild(text), expected, "{text}");
    }
}

#[test]
fn parse_error_quotes_nothing() {
    for text in [r#"{"a":"marker"}"#, "marker", r#"["marker"#, r#""marker""#] {
        let error = serde_json::from_str::<u64>(text).unwrap_err();
        let said = Misplaced::from(&error).to_string();
        assert!(said.contains("line 1") && !said.contains("marker"), "{said}");
    }
}

#[test]
fn interaction_is_as_old_as_its_id() {
    let id = 1_000_000_000_u64 << 22;
    let made_at = 1_000_000_000 + DISCORD_EPOCH_MS;
    let age = interaction_age;
    assert_eq!(age("INTERACTION_CREATE", Some(id), made_at + 3_001), Duration::from_millis(3_001));
    assert_eq!(age("INTERACTION_CREATE", Some(id), made_at - 5), Duration::ZERO);
    assert_eq!(age("MESSAGE_CREATE", Some(id), made_at + 3_001), Duration::ZERO);
    assert_eq!(age("INTERACTION_CREATE", None, made_at), Duration::ZERO);
}

/// Reads the payload with serde, slowly.
fn read_by_serde(text: &str) -> Option<Payload> {
    let mut payload = Payload::default();
    for (key, raw) in fields(text)? {
        match key.as_str() {
            "t" => {
                payload.name = serde_json::from_str::<String>(raw)
                    .ok()
                    .filter(|name| (1..=100).contains(&name.len()))
                    .map(Into::into);
            }
            "s" => payload.sequence = integer(raw),
            "op" => payload.op = integer(raw),
            "d" => {
                let from = raw.as_ptr() as usize - text.as_ptr() as usize;
                let last = |name: &str| {
                    fields(raw)?.into_iter().rev().find(|(key, _)| key == name).and_then(|(_, raw)| id(raw))
                };
                (payload.data, payload.id, payload.guild_id) =
                    (from..from + raw.len(), last("id"), last("guild_id"));
            }
            _ => {}
        }
    }
    Some(payload)
}

/// The fields of an object, in order; `None` if the text is not an object.
fn fields(text: &str) -> Option<Vec<(String, &str)>> {
    struct Fields<'a>(Vec<(String, &'a str)>);
    impl<'de> Deserialize<'de> for Fields<'de> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct AllFields;
            impl<'de> Visitor<'de> for AllFields {
                type Value = Fields<'de>;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                    let mut fields = Vec::new();
                    while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                        fields.push((key, value.get()));
                    }
                    Ok(Fields(fields))
                }
            }
            deserializer.deserialize_map(AllFields)
        }
    }
    serde_json::from_str(text).ok().map(|Fields(fields)| fields)
}

/// A key or a string, some of them with escapes or with text that looks like a payload's end.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "t",
            "s",
            "op",
            "d",
            "id",
            "guild_id",
            "x",
            "",
            "guild_\\u0069d",
            "\\u0064",
            "\\\"guild_id\\\":\\\"5\\\"}}",
            "a\\\\",
            "MESSAGE_CREATE",
            "GUILD_CREATE",
            "7",
            "12345678901234567890123",
        ])
        .prop_map(|word| format!("\"{word}\"")),
        "[a-z]{0,20}".prop_map(|word| format!("\"{word}\"")),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n\t"])
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        word(),
        prop::sample::select(vec!["null", "true", "0", "7", "-1.5e3", "9007199254740993", "1e400"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            object(word(), inner.clone()),
            prop::collection::vec((space(), inner), 0..4).prop_map(|elements| {
                let elements: Vec<String> =
                    elements.into_iter().map(|(space, value)| format!("{space}{value}{space}")).collect();
                format!("[{}]", elements.join(","))
            }),
        ]
    })
}

fn object(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    prop::collection::vec((key, space(), value, space()), 0..6).prop_map(|fields| {
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(key, before, value, after)| format!("{before}{key}{after}:{before}{value}{after}"))
            .collect();
        format!("{{{}}}", fields.join(","))
    })
}

/// A payload as Discord sends it, or with any fields in any order.
fn payload() -> impl Strategy<Value = String> {
    let plain =
        (prop::sample::select(vec!["MESSAGE_CREATE", "GUILD_CREATE"]), 0_u64..100, object(word(), value()));
    prop_oneof![
        plain.prop_map(|(name, sequence, d)| format!(r#"{{"t":"{name}","s":{sequence},"op":0,"d":{d}}}"#)),
        object(
            prop::sample::select(vec!["t", "s", "op", "d", "x", "\\u0074"])
                .prop_map(|key| format!("\"{key}\"")),
            value()
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn payload_is_read_as_serde_reads_it(text in payload(), cut in 0_usize..400, put in "[\\[\\]{}\",:0-9a-z\\\\ \n\u{1}]{0,2}", take in 0_usize..3) {
        prop_assert_eq!(Payload::read(&text), read_by_serde(&text), "{}", text);
        // Changes the text somewhere, so that most texts are no longer JSON.
        let at = text.floor_char_boundary(cut % (text.len() + 1));
        let end = text.floor_char_boundary((at + take).min(text.len()));
        // serde reads no key with half a surrogate pair.
        for changed in [format!("{}{put}{}", &text[..at], &text[end..]), text[..at].to_owned(), format!("{text}{put}")] {
            prop_assume!(!changed.contains("\\ud"));
            prop_assert_eq!(Payload::read(&changed), read_by_serde(&changed), "{}", changed);
        }
    }
}
