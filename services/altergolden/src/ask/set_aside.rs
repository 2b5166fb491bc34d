//! Events that were set aside: shown, dropped, replayed.

use std::time::{SystemTime, UNIX_EPOCH};

use altergolden_proto::v1;
use clap::Subcommand;
use serde_json::{Value, json};
use shard_bridge::ClientError;

use super::ServerArgs;
use crate::{
    exit::CommandOutcome,
    json,
    screen::{SafeText, Screen},
    table,
    value_text::set_aside_id,
};

#[derive(Debug, Subcommand)]
pub(crate) enum SetAsideCommand {
    /// List all of them
    List,
    /// Show one of them, with its payload
    ///
    /// Exit code 1 when it does not exist.
    Show(SetAsideArgs),
    /// Delete one of them for good
    ///
    /// Exit code 1 when it does not exist.
    Drop(SetAsideArgs),
    /// Run the handler of one of them again
    ///
    /// The event stays set aside until the handler has finished.
    Replay(SetAsideArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetAsideArgs {
    /// Id of the event, as `set-aside list` shows it
    #[arg(value_name = "SHARD/SESSION/SEQUENCE", value_parser = parse_id)]
    id: v1::SetAsideId,
}

fn parse_id(text: &str) -> Result<v1::SetAsideId, String> {
    let mut parts = text.split('/');
    let id = (|| {
        let shard_id = parts.next()?.parse().ok()?;
        let session = parts.next()?.parse().ok()?;
        let sequence = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(v1::SetAsideId { shard_id, session, sequence })
    })();
    id.ok_or_else(|| "expected SHARD/SESSION/SEQUENCE, as `altergolden set-aside list` shows it".to_owned())
}

pub(super) async fn answer(
    command: SetAsideCommand,
    server: &ServerArgs,
) -> Result<CommandOutcome, ClientError> {
    match command {
        SetAsideCommand::List => {
            let events = server.connect().await?.set_asides().await?;
            server.show(|screen| table::set_asides(&events, unix_ms(), screen), || json::set_asides(&events));
        }
        SetAsideCommand::Show(SetAsideArgs { id }) => {
            let event = server.connect().await?.set_aside(id).await?;
            server.show(|screen| event_text(&event, screen), || json::set_aside(&event));
        }
        SetAsideCommand::Drop(SetAsideArgs { id }) => {
            server.connect().await?.drop_set_aside(id).await?;
            let id = set_aside_id(Some(id));
            server.show(|_| format!("{id}: dropped"), || json!({ "id": id, "dropped": true }));
        }
        SetAsideCommand::Replay(SetAsideArgs { id }) => {
            let worker = server.connect().await?.replay_set_aside(id).await?;
            let id = set_aside_id(Some(id));
            server.show(
                |_| format!("{id}: queued for its handler on {worker}"),
                || json!({ "id": id, "worker_id": worker }),
            );
        }
    }
    Ok(CommandOutcome::success())
}

fn event_text(event: &v1::SetAside, screen: Screen) -> SafeText {
    let payload = serde_json::from_str(&event.payload)
        .and_then(|payload: Value| serde_json::to_string_pretty(&payload))
        .unwrap_or_else(|_| event.payload.clone());
    table::set_asides(std::slice::from_ref(event), unix_ms(), screen) + format!("\n{payload}").into()
}

pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_as_shown() {
        let id = v1::SetAsideId { shard_id: 3, session: 1_760_000_000_000, sequence: 42 };
        assert_eq!(parse_id(&set_aside_id(Some(id))), Ok(id));
        for wrong in ["", "3", "3/1", "3/1/", "3/1/2/4", "-3/1/2", "a/1/2", "3//2"] {
            assert!(parse_id(wrong).is_err(), "{wrong}");
        }
    }
}
