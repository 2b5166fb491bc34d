//! Finds and removes records of broadcasts that no program of the fleet can have written: nothing could be published until then.

use redis_link::{FieldRule, FieldValue, InvalidPart, KeyPrefix, LinkError, RecordRule, RedisLink};

use super::wire::Names;

const STREAM: RecordRule = RecordRule { kind: "stream", fields: &[], whole: false };

/// Without its state the stream gets a new generation, and readers are told.
const STATE: RecordRule = RecordRule {
    kind: "hash",
    fields: &[
        FieldRule::alone("sequence", FieldValue::Number(15)),
        FieldRule::alone("bytes", FieldValue::Number(15)),
    ],
    whole: true,
};

/// Returns the keys of invalid records and what is invalid of them; with `remove` these are removed.
///
/// # Errors
/// Redis does not answer.
pub async fn repair_broadcasts(
    link: &RedisLink,
    prefix: &KeyPrefix,
    remove: bool,
) -> Result<Vec<(String, InvalidPart)>, LinkError> {
    let Names { stream, state, .. } = Names::new(prefix, "");
    let mut found = Vec::new();
    for (key, rule) in [(stream, STREAM), (state, STATE)] {
        found.extend(link.repair_record(&key, rule, remove).await?.map(|part| (key, part)));
    }
    Ok(found)
}
