//! `google.protobuf.Value` and JSON text's values.

use prost_types::{ListValue, Struct, Value, value::Kind};

/// A protobuf value as JSON. A number that JSON has no form for (an infinity) becomes null, as `google.protobuf.Value`
/// forbids it.
pub fn to_json(value: Value) -> serde_json::Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(truth)) => truth.into(),
        Some(Kind::NumberValue(number)) => number_to_json(number),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(to_json).collect(),
        Some(Kind::StructValue(fields)) => {
            fields.fields.into_iter().map(|(key, value)| (key, to_json(value))).collect()
        }
    }
}

/// JSON as a protobuf value. Numbers become doubles, as the protobuf type has no other.
pub fn from_json(json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(truth) => Kind::BoolValue(truth),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(from_json).collect() })
        }
        serde_json::Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(key, value)| (key, from_json(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

/// Returns the encoded length of [`from_json`]'s value, in bytes.
pub fn encoded_len(json: &serde_json::Value) -> usize {
    // All fields have numbers below 16, so each tag is one byte.
    match json {
        serde_json::Value::Null | serde_json::Value::Bool(_) => 2,
        serde_json::Value::Number(_) => 9,
        serde_json::Value::String(text) => delimited(text.len()),
        serde_json::Value::Array(items) => {
            delimited(items.iter().map(|item| delimited(encoded_len(item))).sum())
        }
        serde_json::Value::Object(fields) => {
            let field = |(key, value): (&String, &serde_json::Value)| {
                // An empty key is the default of its field, which is not written.
                let key = if key.is_empty() { 0 } else { delimited(key.len()) };
                delimited(key + delimited(encoded_len(value)))
            };
            delimited(fields.iter().map(field).sum())
        }
    }
}

/// The length of a field with its tag and its own length.
fn delimited(bytes: usize) -> usize {
    1 + prost::length_delimiter_len(bytes) + bytes
}

/// Whether all integers stay exact as protobuf values, whose numbers are doubles.
pub fn is_exact(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (None, None) => true,
            (unsigned, signed) => {
                let size = unsigned.unwrap_or_else(|| signed.unwrap_or_default().unsigned_abs());
                size <= 1 << 53
            }
        },
        serde_json::Value::Array(items) => items.iter().all(is_exact),
        serde_json::Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

/// Whole numbers are written without a fraction, as people wrote them.
fn number_to_json(number: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        (number as i64).into()
    } else {
        serde_json::Number::from_f64(number).map_or(serde_json::Value::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_wire() {
        let there = json!({"key": "settings:*", "n": 3, "half": 0.5, "list": [null, true, {"deep": "ü"}]});
        assert_eq!(to_json(from_json(there.clone())), there);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,200}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(".{0,4}", inner, 0..8)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn computed_length_is_the_encoded_length(json in any_json()) {
            prop_assert_eq!(encoded_len(&json), from_json(json).encoded_len());
        }
    }
}
