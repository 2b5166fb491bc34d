//! Converts JSON text to MessagePack directly, without values in memory. The length of a list or object is written when its end is reached.

use std::{fmt, io};

use rmp::encode::{ValueWriteError, write_bool, write_f64, write_nil, write_sint, write_str, write_uint};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Appends the MessagePack of a JSON text. If a field comes twice, both are written.
///
/// # Errors
/// The text is not JSON, nested too deep, or has half a surrogate pair.
pub(crate) fn json(text: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    Pack(out).deserialize(&mut json)?;
    json.end()
}

/// Writes the next value.
struct Pack<'a>(&'a mut Vec<u8>);

/// The bytes that begin a list or an object: with up to 15 elements, with up to 2^16 - 1, and with more.
struct Heads(u8, u8, u8);

const LIST: Heads = Heads(0x90, 0xdc, 0xdd);
const OBJECT: Heads = Heads(0x80, 0xde, 0xdf);

impl Pack<'_> {
    /// Writes the head of a list or object of `count` elements: into the byte that was reserved at `at`, and after it if the head is longer.
    fn begin(&mut self, Heads(short, medium, long): Heads, at: usize, count: usize) {
        let rest = at + 1..at + 1;
        if count < 16 {
            self.0[at] = short | count as u8;
        } else if let Ok(count) = u16::try_from(count) {
            self.0[at] = medium;
            drop(self.0.splice(rest, count.to_be_bytes()));
        } else {
            self.0[at] = long;
            drop(self.0.splice(rest, (count as u32).to_be_bytes()));
        }
    }

    fn keep_byte(&mut self) -> usize {
        self.0.push(0);
        self.0.len() - 1
    }
}

fn written<T, E: de::Error>(outcome: Result<T, impl Into<ValueWriteError<io::Error>>>) -> Result<(), E> {
    outcome.map(drop).map_err(|error| E::custom(error.into()))
}

impl<'de> DeserializeSeed<'de> for Pack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        written(write_nil(self.0).map_err(ValueWriteError::InvalidMarkerWrite))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        written(write_bool(self.0, value).map_err(ValueWriteError::InvalidMarkerWrite))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        written(write_uint(self.0, value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        written(write_sint(self.0, value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        written(write_f64(self.0, value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        written(write_str(self.0, value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let (at, mut count) = (self.keep_byte(), 0);
        while list.next_element_seed(Pack(self.0))?.is_some() {
            count += 1;
        }
        self.begin(LIST, at, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let (at, mut count) = (self.keep_byte(), 0);
        while object.next_key_seed(Pack(self.0))?.is_some() {
            object.next_value_seed(Pack(self.0))?;
            count += 1;
        }
        self.begin(OBJECT, at, count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        json(text, &mut out).ok().map(|()| out)
    }

    /// Converts with serde's general transcoder.
    fn transcoded(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut json = serde_json::Deserializer::from_str(text);
        serde_transcode::transcode(&mut json, &mut rmp_serde::Serializer::new(&mut out)).ok()?;
        json.end().ok().map(|()| out)
    }

    #[test]
    fn lengths_of_every_size_equal_the_transcoders() {
        for count in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let list = format!("[{}]", vec!["[]"; count].join(","));
            let fields: Vec<String> = (0..count).map(|field| format!(r#""{field}":[0]"#)).collect();
            let object = format!("{{{}}}", fields.join(","));
            let string = format!(r#""{}""#, "s".repeat(count));
            for text in [list, object, string] {
                assert!(packed(&text).is_some() && packed(&text) == transcoded(&text), "{count}");
            }
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
            prop::sample::select(vec![
                "null",
                "true",
                "false",
                "-0",
                "0.0",
                "1e400",
                "18446744073709551616",
                "[",
                "}",
                "\"\\ud83d\"",
                "\"\\ud83d\\ude00\"",
            ])
            .prop_map(str::to_owned),
            ".{0,40}".prop_map(|text| serde_json::Value::from(text).to_string()),
        ];
        leaf.prop_recursive(5, 80, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(|list| format!("[{}]", list.join(" ,"))),
                prop::collection::vec(("[a-c\u{e9}]{0,3}", inner), 0..20).prop_map(|fields| {
                    let fields: Vec<String> =
                        fields.into_iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn packed_bytes_equal_the_transcoders(text in value()) {
            prop_assert_eq!(packed(&text), transcoded(&text), "{}", text);
        }
    }
}
