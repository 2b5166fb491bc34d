//! Commands of bots on their way to the shard that sends them.

use std::sync::Arc;

use fleet_model::{ShardSlot, ShardStatus};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use shard_bridge::{CommandKind, CommandRefused, GatewayCommand};
use tokio::time::Instant;
use twilight_model::gateway::Intents;

use super::{RunningShard, RunningShards};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    kind: &'static str,
    reason: &'static str,
}

/// What became of commands; clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandMetrics {
    sent: Family<KindLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
}

impl CommandMetrics {
    /// Registers them. All labels are there from the start, at 0: a rate needs a first value.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for kind in CommandKind::NAMES {
            drop(self.sent.get_or_create(&KindLabels { kind }));
            for reason in CommandRefused::NAMES {
                drop(self.refused.get_or_create(&RefusedLabels { kind, reason }));
            }
        }
        registry.register("gateway_commands", "Commands of bots that went out, by kind", self.sent.clone());
        registry.register(
            "gateway_commands_refused",
            "Commands of bots that did not go out, by kind and reason",
            self.refused.clone(),
        );
    }
}

impl RunningShards {
    /// What became of commands.
    pub(crate) fn command_metrics(&self) -> &CommandMetrics {
        &self.commands
    }

    /// Sends a command on a shard's connection; ends when it has gone out.
    pub(super) async fn send(
        &self,
        slot: ShardSlot,
        command: GatewayCommand,
        until: Instant,
    ) -> Result<(), CommandRefused> {
        let kind = command.kind();
        let outcome = match self.get(slot) {
            Some(shard) => send_on(&shard, command, until).await,
            None => Err(CommandRefused::NotMine),
        };
        match &outcome {
            Ok(()) => self.commands.sent.get_or_create(&KindLabels { kind: kind.name() }).inc(),
            Err(refused) => {
                let labels = RefusedLabels { kind: kind.name(), reason: refused.name() };
                self.commands.refused.get_or_create(&labels).inc()
            }
        };
        outcome
    }
}

async fn send_on(
    shard: &Arc<RunningShard>,
    command: GatewayCommand,
    until: Instant,
) -> Result<(), CommandRefused> {
    if let CommandKind::Members { all, presences, .. } = command.kind() {
        let intents = shard.cache().intents();
        let missing = |intent: Intents, what: &str| {
            CommandRefused::MissingIntent(format!("{what} need the intent {intent:?} (INTENTS)"))
        };
        if all && !intents.contains(Intents::GUILD_MEMBERS) {
            return Err(missing(Intents::GUILD_MEMBERS, "all members of a guild"));
        }
        if presences && !intents.contains(Intents::GUILD_PRESENCES) {
            return Err(missing(Intents::GUILD_PRESENCES, "presences"));
        }
    }
    let too_late = |waiting: usize| match shard.status() {
        ShardStatus::Ready | ShardStatus::Identifying => CommandRefused::TooMany(format!(
            "Discord's limits did not allow it by the deadline; {waiting} other commands wait on the shard"
        )),
        _ => CommandRefused::NotConnected(shard.in_words()),
    };
    shard.commands().send(command, until, too_late).await
}
