//! The history as a stream.

use async_trait::async_trait;
use fleet_model::Incarnation;
use redis_link::RecordError;

use super::{FleetRedisStore, scripts};
use crate::{
    FleetStoreError, HISTORY_BYTES, HISTORY_ENTRIES, HistoryId, HistoryStore, HistoryText, StoredHistory,
    history::LOOKED_BACK,
};

/// An entry as the script answers: its id, its writer, its number, its text.
type Row = (String, String, String, String);

#[async_trait]
impl HistoryStore for FleetRedisStore {
    async fn append_history(
        &self,
        writer: &Incarnation,
        repeated: bool,
        entries: &[HistoryText],
    ) -> Result<(), FleetStoreError> {
        let key = self.keys.history();
        let looked_back = if repeated { LOOKED_BACK } else { 0 };
        let bounds = [HISTORY_ENTRIES, HISTORY_BYTES, looked_back].map(|bound| bound.to_string());
        let numbers: Vec<String> = entries.iter().map(|entry| entry.number.to_string()).collect();
        let mut args = vec![writer.as_str()];
        args.extend(bounds.iter().map(String::as_str));
        for (number, entry) in numbers.iter().zip(entries) {
            args.extend([number.as_str(), entry.text.as_str()]);
        }
        let answer = self.run(&scripts::APPEND_HISTORY, &key, &args).await?;
        match answer.verdict() {
            "WRITTEN" => Ok(()),
            _ => Err(answer.unexpected()),
        }
    }

    async fn read_history(
        &self,
        before: Option<HistoryId>,
        most: usize,
    ) -> Result<Vec<StoredHistory>, FleetStoreError> {
        let key = self.keys.history();
        let newest = before.map_or_else(|| "+".to_owned(), |before| format!("({before}"));
        let args = [newest, most.to_string()];
        let rows: Vec<Row> = self
            .link
            .script(&scripts::READ_HISTORY, &[&key], &args)
            .await
            .map_err(|error| RecordError::of(&key, error))?;
        let invalid = || FleetStoreError::InvalidRecord(key.clone());
        let stored = rows.into_iter().map(|(id, writer, number, text)| {
            let id = id.parse().map_err(|_| invalid())?;
            // What another program has appended has no number; its text is for the reader to judge.
            let number = number.parse().unwrap_or_default();
            Ok(StoredHistory { id, writer, entry: HistoryText { number, text } })
        });
        stored.collect()
    }
}
