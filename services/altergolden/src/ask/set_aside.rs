//! Events that were set aside: looked at, dropped, handled again.

use std::time::{SystemTime, UNIX_EPOCH};

use altergolden_proto::v1;
use clap::Subcommand;
use serde_json::{Value, json};
use shard_bridge::ClientError;

use super::Server;
use crate::{exit::Outcome, json, table};

#[derive(Debug, Subcommand)]
pub(crate) enum SetAsideCommand {
    /// All of them
    List(Server),
    /// One of them, with its payload: exit 1 when there is none
    Show(One),
    /// Forget one for good: exit 1 when there is none
    Drop(One),
    /// Give one to its handler again; it stays set aside until that has come to its end
    Replay(One),
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// Which, as `setaside list` shows it
    #[arg(value_name = "SHARD/SESSION/SEQUENCE", value_parser = parse_id)]
    id: v1::SetAsideId,
    #[command(flatten)]
    server: Server,
}

fn parse_id(text: &str) -> Result<v1::SetAsideId, String> {
    let mut parts = text.split('/');
    let id = (|| {
        let shard_id = parts.next()?.parse().ok()?;
        let session = parts.next()?.parse().ok()?;
        let sequence = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(v1::SetAsideId { shard_id, session, sequence })
    })();
    id.ok_or_else(|| "it takes SHARD/SESSION/SEQUENCE, as `altergolden setaside list` shows it".to_owned())
}

pub(super) async fn answer(command: SetAsideCommand) -> Result<Outcome, ClientError> {
    match command {
        SetAsideCommand::List(server) => {
            let events = server.connect().await?.set_asides().await?;
            server.show(|| table::set_asides(&events, unix_ms()), || json::set_asides(&events));
        }
        SetAsideCommand::Show(One { id, server }) => {
            let event = server.connect().await?.set_aside(id).await?;
            server.show(|| in_words(&event), || json::set_aside(&event));
        }
        SetAsideCommand::Drop(One { id, server }) => {
            server.connect().await?.drop_set_aside(id).await?;
            let id = table::set_aside_id(Some(id));
            server.show(|| format!("{id}: dropped"), || json!({ "id": id, "dropped": true }));
        }
        SetAsideCommand::Replay(One { id, server }) => {
            let worker = server.connect().await?.replay_set_aside(id).await?;
            let id = table::set_aside_id(Some(id));
            server.show(
                || format!("{id}: waits for its handler on {worker}"),
                || json!({ "id": id, "worker_id": worker }),
            );
        }
    }
    Ok(Outcome::yes())
}

fn in_words(event: &v1::SetAside) -> String {
    let payload = serde_json::from_str(&event.payload)
        .and_then(|payload: Value| serde_json::to_string_pretty(&payload))
        .unwrap_or_else(|_| event.payload.clone());
    format!("{}\n{payload}", table::set_asides(std::slice::from_ref(event), unix_ms()))
}

pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_shown() {
        let id = v1::SetAsideId { shard_id: 3, session: 1_760_000_000_000, sequence: 42 };
        assert_eq!(parse_id(&table::set_aside_id(Some(id))), Ok(id));
        for wrong in ["", "3", "3/1", "3/1/", "3/1/2/4", "-3/1/2", "a/1/2", "3//2"] {
            assert!(parse_id(wrong).is_err(), "{wrong}");
        }
    }
}
