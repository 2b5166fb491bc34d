//! What a message, a question or a reply may hold: how much, and how deeply nested. Pure.

use serde_json::Value;
use tonic::Status;

/// The largest data and the largest reply, in bytes of JSON text.
pub const LARGEST: usize = event_bus::MAX_BODY;

/// The most shards that one question may go to.
pub const MOST_SHARDS: usize = 10_000;

/// The longest type, in characters.
const LONGEST_TYPE: usize = 100;

/// The deepest nesting of lists and objects. Protobuf's readers take 100 messages within each other, and an object takes three
/// (`Value`, `Struct`, the entry); what is around it takes some too.
const DEEPEST: usize = 30;

/// A message or a question is not as it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The type is empty or too long.
    #[error("type takes 1 to {LONGEST_TYPE} characters")]
    Type,
    /// The data is too large.
    #[error("data of {0} bytes is over the limit of {LARGEST}")]
    Size(usize),
    /// It is nested too deeply.
    #[error("data is nested deeper than {DEEPEST} levels")]
    Depth,
}

impl From<Misfit> for Status {
    fn from(misfit: Misfit) -> Self {
        Self::invalid_argument(misfit.to_string())
    }
}

/// The data as JSON text.
pub(crate) fn checked(kind: &str, data: &Value) -> Result<String, Misfit> {
    if kind.is_empty() || kind.chars().count() > LONGEST_TYPE {
        return Err(Misfit::Type);
    }
    if nests_too_deep(data) {
        return Err(Misfit::Depth);
    }
    let json = data.to_string();
    if json.len() > LARGEST { Err(Misfit::Size(json.len())) } else { Ok(json) }
}

/// Whether it can't be sent, as protobuf's readers would not take it.
pub fn nests_too_deep(value: &Value) -> bool {
    deeper_than(value, DEEPEST)
}

/// Never looks further than it has to: bot code may make values of any depth.
fn deeper_than(value: &Value, levels: usize) -> bool {
    let mut inner: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => return false,
    };
    levels == 0 || inner.any(|value| deeper_than(value, levels - 1))
}

#[cfg(test)]
mod tests {
    use altergolden_proto::{convert, v1};
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    fn nested(levels: usize, wrap: impl Fn(Value) -> Value) -> Value {
        (0..levels).fold(json!(1), |value, _| wrap(value))
    }

    #[test]
    fn what_may_be_nested_is_what_protobuf_s_readers_take() {
        for wrap in [|value| json!([value]), |value| json!({ "k": value })] {
            assert!(nests_too_deep(&nested(DEEPEST + 1, wrap)));
            let deepest = nested(DEEPEST, wrap);
            assert!(!nests_too_deep(&deepest));
            // Where it is deepest in: a reply, and a message that was subscribed to.
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
        assert_eq!(checked("", &json!(1)), Err(Misfit::Type));
        assert_eq!(checked(&"ü".repeat(100), &json!(1)), Ok("1".to_owned()));
        assert_eq!(checked(&"ü".repeat(101), &json!(1)), Err(Misfit::Type));
        let text = |length: usize| json!("x".repeat(length));
        assert!(checked("k", &text(LARGEST - 2)).is_ok());
        assert_eq!(checked("k", &text(LARGEST - 1)), Err(Misfit::Size(LARGEST + 1)));
    }
}
