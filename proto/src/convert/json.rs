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
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_wire() {
        let there = json!({"key": "settings:*", "n": 3, "half": 0.5, "list": [null, true, {"deep": "ü"}]});
        assert_eq!(to_json(from_json(there.clone())), there);
    }
}
