//! A twilight connection made as we need it, and what its close codes mean.

use outside_text::printable;
use twilight_gateway::{ConfigBuilder, Session, Shard as Connection, ShardId};
use twilight_model::gateway::Intents;

use super::{Progress, Shard};
use crate::{gateway_address::Gateway, identify::PermitQueue};

/// What every connection of a worker needs.
#[derive(Debug)]
pub(crate) struct GatewaySettings {
    pub(crate) token: settings::Secret,
    pub(crate) intents: Intents,
    pub(crate) gateway: Gateway,
}

/// What a session is opened with here: who resumes it must speak the same.
pub(crate) const TRANSPORT: &str = if cfg!(feature = "zstd") { "json+zstd-stream" } else { "json" };

/// Opens a connection. `resume`: RESUME instead of IDENTIFY.
pub(super) fn open(
    shard: &Shard,
    settings: &GatewaySettings,
    queue: PermitQueue,
    resume: Option<&Progress>,
) -> Connection<PermitQueue> {
    let mut config = ConfigBuilder::new(settings.token.expose().to_owned(), settings.intents)
        .large_threshold(250)
        .proxy_url(settings.gateway.address().as_str().to_owned())
        .queue(queue);
    if let Some(Progress { session, read, .. }) = resume {
        config = config.session(Session::new(*read, session.id.clone()));
        match settings.gateway.resume(&session.resume_url) {
            Ok(address) => config = config.resume_url(address.as_str().to_owned()),
            Err(why) => {
                let url = printable(&session.resume_url);
                tracing::warn!(shard.id = %shard.number, %url, %why, "resume URL not used");
            }
        }
    }
    Connection::with_config(ShardId::new(shard.number.0, shard.total), config.build())
}

/// What a close code means, when it is one after which Discord takes no reconnect
/// ([codes](https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes)).
pub(super) fn fatal_meaning(code: u16) -> Option<&'static str> {
    match code {
        4004 => Some("the token was refused: check DISCORD_TOKEN"),
        4010 => Some("the shard number or total was refused: check SHARD_COUNT"),
        4011 => Some("there are too many guilds for one shard: raise SHARD_COUNT"),
        4012 => Some("the gateway version was refused"),
        4013 => Some("an intent was refused as unknown: check INTENTS"),
        4014 => Some(
            "an intent was refused: enable it for the application in Discord's developer portal, or take it out of INTENTS",
        ),
        _ => None,
    }
}
