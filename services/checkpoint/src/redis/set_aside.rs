//! The rules of [`SetAsideStore`] over Redis. A payload is kept as the record of a pending event is, in the oldest format, which
//! every worker reads; all else about it is a line of text, so that a list need not read payloads.

use async_trait::async_trait;
use fleet_model::{Epoch, ShardKey, ShardSlot};
use redis_link::{Script, ScriptAnswer};

use super::{CheckpointRedisStore, keys::ShardKeys, millis, scripts};
use crate::{
    CheckpointStoreError, FORMAT_MIN, Fenced, KEPT, MOST_SET_ASIDE, MOST_SET_ASIDE_BYTES, NoteAnswer,
    PendingEvent, Position, Record, RecordKey, SET_ASIDE_KEPT, SetAside, SetAsideStore, SetAsideSummary,
    decode_record, encode_record,
};

impl CheckpointRedisStore {
    async fn run_aside<'a>(
        &self,
        script: &Script,
        keys: &'a ShardKeys,
        args: &[&[u8]],
    ) -> Result<ScriptAnswer<'a>, CheckpointStoreError> {
        let ShardKeys { owner, checkpoint, claim: _, notes, aside, payloads } = keys;
        let all = [owner.as_str(), checkpoint, notes, aside, payloads];
        Ok(self.link.record_script(script, aside, &all, args).await?)
    }
}

fn field(at: Position) -> String {
    format!("{}:{}", at.session, at.sequence)
}

/// All about an event but its payload, its position and when the store took it; the name last, as it is from outside.
fn line(summary: &SetAsideSummary) -> String {
    let SetAsideSummary { at: _, name, received_at_unix_ms, set_aside_at_unix_ms, noted } = summary;
    format!("{received_at_unix_ms} {set_aside_at_unix_ms} {noted} {name}")
}

/// A line with when the store took it before it.
fn summary(field: &str, line: &[u8]) -> Option<SetAsideSummary> {
    let (session, sequence) = field.split_once(':')?;
    let at = Position { session: session.parse().ok()?, sequence: sequence.parse().ok()? };
    let mut words = std::str::from_utf8(line).ok()?.splitn(5, ' ').skip(1);
    Some(SetAsideSummary {
        at,
        received_at_unix_ms: words.next()?.parse().ok()?,
        set_aside_at_unix_ms: words.next()?.parse().ok()?,
        noted: words.next()?.parse().ok()?,
        name: words.next()?.to_owned(),
    })
}

fn fenced(answer: &ScriptAnswer<'_>) -> Result<Fenced, CheckpointStoreError> {
    match answer.verdict() {
        "DONE" => Ok(Fenced::Done { forgotten: answer.parse(1)? }),
        "OUTRANKED" => Ok(Fenced::Outranked(Epoch(answer.parse(1)?))),
        _ => Err(answer.unexpected()),
    }
}

#[async_trait]
impl SetAsideStore for CheckpointRedisStore {
    async fn note(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Position,
        below: u32,
    ) -> Result<NoteAnswer, CheckpointStoreError> {
        let keys = self.keys(shard);
        let args = [epoch.to_string(), field(at), below.to_string(), millis(KEPT)];
        let answer = self.run_aside(&scripts::NOTE, &keys, &args.each_ref().map(String::as_bytes)).await?;
        match answer.verdict() {
            "YES" => Ok(NoteAnswer::Yes { before: answer.parse(1)? }),
            "NO" => Ok(NoteAnswer::No { before: answer.parse(1)? }),
            "OUTRANKED" => Ok(NoteAnswer::Outranked(Epoch(answer.parse(1)?))),
            _ => Err(answer.unexpected()),
        }
    }

    async fn void_notes(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Option<Position>,
        owners: &[Epoch],
    ) -> Result<Fenced, CheckpointStoreError> {
        let keys = self.keys(shard);
        let mut args = vec![epoch.to_string(), at.map(field).unwrap_or_default()];
        args.extend(owners.iter().map(ToString::to_string));
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        fenced(&self.run_aside(&scripts::VOID_NOTES, &keys, &args).await?)
    }

    async fn take_back(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Position,
    ) -> Result<Fenced, CheckpointStoreError> {
        let keys = self.keys(shard);
        let args = [epoch.to_string(), field(at)];
        let args = args.each_ref().map(String::as_bytes);
        fenced(&self.run_aside(&scripts::TAKE_BACK, &keys, &args).await?)
    }

    async fn set_aside(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        event: &SetAside,
    ) -> Result<Fenced, CheckpointStoreError> {
        let keys = self.keys(shard);
        let SetAside { summary, text } = event;
        let pending = PendingEvent {
            position: summary.at,
            started: true,
            handled: false,
            received_at_unix_ms: summary.received_at_unix_ms,
            text: text.clone(),
        };
        let payload = encode_record(&Record::Pending(pending), FORMAT_MIN)
            .map_err(|error| CheckpointStoreError::Unexpected(format!("{}: {error}", field(summary.at))))?;
        let args = [
            epoch.to_string(),
            field(summary.at),
            line(summary),
            MOST_SET_ASIDE.to_string(),
            millis(SET_ASIDE_KEPT),
            MOST_SET_ASIDE_BYTES.to_string(),
        ];
        let mut args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        args.push(&payload);
        fenced(&self.run_aside(&scripts::SET_ASIDE, &keys, &args).await?)
    }

    async fn list_aside(&self, shard: ShardSlot) -> Result<Vec<SetAsideSummary>, CheckpointStoreError> {
        let keys = self.keys(shard);
        let kept = millis(SET_ASIDE_KEPT);
        let answer = self.run_aside(&scripts::LIST_ASIDE, &keys, &[kept.as_bytes()]).await?;
        if answer.verdict() != "LIST" {
            return Err(answer.unexpected());
        }
        let unexpected: CheckpointStoreError = answer.unexpected();
        let lines = answer.pairs(1).into_iter().map(|(field, line)| summary(&field, &line));
        let mut list: Vec<_> = lines.collect::<Option<_>>().ok_or(unexpected)?;
        list.sort_by_key(|summary: &SetAsideSummary| summary.at);
        Ok(list)
    }

    async fn get_aside(
        &self,
        shard: ShardSlot,
        at: Position,
    ) -> Result<Option<SetAside>, CheckpointStoreError> {
        let keys = self.keys(shard);
        let args = [millis(SET_ASIDE_KEPT), field(at)];
        let args = args.each_ref().map(String::as_bytes);
        let mut answer = self.run_aside(&scripts::GET_ASIDE, &keys, &args).await?;
        match answer.verdict() {
            "NONE" => Ok(None),
            "EVENT" => {
                let (line, payload) = (answer.take_bytes(1), answer.take_bytes(2));
                let read = line.zip(payload).and_then(|(line, payload)| {
                    let summary = summary(&field(at), &line)?;
                    let key = RecordKey::Pending(at);
                    match decode_record(key, &payload) {
                        Ok(Record::Pending(PendingEvent { text, .. })) => Some(SetAside { summary, text }),
                        _ => None,
                    }
                });
                read.map(Some).ok_or_else(|| answer.unexpected())
            }
            _ => Err(answer.unexpected()),
        }
    }

    async fn drop_aside(&self, shard: ShardSlot, at: Position) -> Result<bool, CheckpointStoreError> {
        let keys = self.keys(shard);
        let at = field(at);
        let answer = self.run_aside(&scripts::DROP_ASIDE, &keys, &[at.as_bytes()]).await?;
        match answer.verdict() {
            "DROPPED" => Ok(answer.parse::<u32>(1)? > 0),
            _ => Err(answer.unexpected()),
        }
    }
}
