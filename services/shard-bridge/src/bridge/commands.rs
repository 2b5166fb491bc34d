//! What the bot tells Discord's gateway, from whichever process it says it in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fleet_model::{ShardKey, ShardSlot, WorkerId};
use futures_util::{
    future::BoxFuture,
    stream::{self, StreamExt as _},
};
use serde_json::Value;
use tokio::time::Instant;
use tonic::Status;

use super::{Bridge, owner::OwnerQuestion};
use crate::{
    answer::{BridgeError, PresenceReceipt},
    command::{CommandRefused, GatewayCommand},
    deadline::margin,
    local::LocalShards,
    peers::PeerLane,
    worker_client::WorkerClient,
};

/// Shards that are told at once.
const SHARDS_AT_ONCE: usize = 128;

/// A command on its way to a shard's owner.
struct Sending<'a> {
    shard: ShardSlot,
    command: &'a GatewayCommand,
}

impl OwnerQuestion for Sending<'_> {
    type Answer = ();

    /// It may have gone out.
    const ASKED_AGAIN: bool = false;

    fn lane(&self) -> PeerLane {
        PeerLane::of(self.command.kind())
    }

    fn local<'a>(
        &'a self,
        local: &'a dyn LocalShards,
        until: Instant,
    ) -> BoxFuture<'a, Result<Option<()>, BridgeError>> {
        Box::pin(async move {
            match local.send_command(self.shard, self.command.clone(), until).await {
                Ok(()) => Ok(Some(())),
                Err(CommandRefused::NotMine) => Ok(None),
                Err(refused) => Err(refused.into()),
            }
        })
    }

    fn remote(&self, client: WorkerClient, left: Duration) -> BoxFuture<'_, Result<Option<()>, Status>> {
        // The worker must report in time that it could not send.
        let wait = left.saturating_sub(margin(left));
        Box::pin(client.send_command(self.shard, self.command, wait, left))
    }
}

impl Bridge {
    /// Sends a payload to Discord on a shard's connection, as bots write it: `op` 3 (presence), 4 (voice state), 8 (guild members),
    /// 31 (soundboard sounds) or 43 (channel info), and `d`. Ends when it has gone out.
    ///
    /// # Errors
    /// `InvalidInput`: Discord would not take it, or not on this shard. `NotFound`: the bot has no such shard. `Unavailable`: the shard
    /// was not connected by `until`, or no worker runs it. `TooBusy`: too many commands wait. `Superseded`: a newer one took its
    /// place. `NotPermitted`: an intent is missing.
    pub async fn send_gateway_payload(
        &self,
        shard: impl Into<ShardSlot>,
        payload: Value,
        until: Instant,
    ) -> Result<(), BridgeError> {
        self.send_command(shard, &GatewayCommand::parse(payload)?, until).await
    }

    /// Sends a command on a shard's connection. Ends when it has gone out.
    ///
    /// # Errors
    /// As [`Bridge::send_gateway_payload`].
    pub async fn send_command(
        &self,
        shard: impl Into<ShardSlot>,
        command: &GatewayCommand,
        until: Instant,
    ) -> Result<(), BridgeError> {
        let shard = shard.into();
        self.first_table(until).await;
        for guild in command.guilds() {
            let total = self.shard_total()?;
            if shard.in_total(total).is_some_and(|shard| !shard.has_guild(guild)) {
                return Err(BridgeError::invalid(format!("guild {guild} is not on shard {shard}")));
            }
        }
        self.ask_owner_of(shard, &Sending { shard, command }, until, until).await
    }

    /// Sends a command on the shard that its guild lives on, and says which that is.
    ///
    /// # Errors
    /// As [`Bridge::send_gateway_payload`]; `InvalidInput` for one that is about no guild.
    pub async fn send_to_guild(
        &self,
        command: &GatewayCommand,
        until: Instant,
    ) -> Result<ShardKey, BridgeError> {
        self.first_table(until).await;
        let Some(guild) = command.kind().guild() else {
            return Err(BridgeError::invalid("the command is about no guild"));
        };
        let shard = self.shard_of(guild)?;
        self.send_command(shard, command, until).await?;
        Ok(shard)
    }

    /// Sends a request for soundboard sounds to the shards of its guilds, to each with its own guilds.
    ///
    /// # Errors
    /// As [`Bridge::send_gateway_payload`]: of one shard. The others have been asked all the same.
    pub async fn send_to_guilds(&self, command: &GatewayCommand, until: Instant) -> Result<(), BridgeError> {
        self.first_table(until).await;
        let mut by_shard: BTreeMap<ShardSlot, Vec<u64>> = BTreeMap::new();
        for guild in command.guilds() {
            by_shard.entry(self.shard_of(guild)?.slot()).or_default().push(guild);
        }
        let asking = by_shard.into_iter().map(async |(shard, guilds)| {
            self.send_command(shard, &GatewayCommand::sounds(&guilds), until).await
        });
        let asked: Vec<_> = stream::iter(asking).buffer_unordered(SHARDS_AT_ONCE).collect().await;
        asked.into_iter().collect()
    }

    /// Sets the bot's presence on these shards; on all when there are none.
    ///
    /// # Errors
    /// `InvalidInput`: Discord would not take it. `NotFound`: the bot has no such shard. `Unavailable`: no shard runs yet. What
    /// became of each shard is in the answer.
    pub async fn update_presence(
        &self,
        shards: &[ShardSlot],
        presence: &GatewayCommand,
        until: Instant,
    ) -> Result<PresenceReceipt, BridgeError> {
        self.first_table(until).await;
        let total = self.shard_total()?;
        if let Some(none) = shards.iter().find(|shard| shard.0 >= total) {
            return Err(BridgeError::not_found(format!("the bot has {total} shards, and no shard {none}")));
        }
        let shards: BTreeSet<ShardSlot> = match shards {
            [] => ShardKey::all(total).map(ShardKey::slot).collect(),
            some => some.iter().copied().collect(),
        };
        let tell = async |shard: ShardSlot| {
            let told = self.send_command(shard, presence, until).await;
            told.err().map(|error| (shard, error.to_string()))
        };
        // By owner: shards that can't be told now hold up none of another worker's.
        let routes = self.routes();
        let mut by_owner: BTreeMap<Option<WorkerId>, Vec<ShardSlot>> = BTreeMap::new();
        for shard in shards {
            let owner = routes.owner(shard).map(|owner| owner.worker.clone());
            by_owner.entry(owner).or_default().push(shard);
        }
        let telling = by_owner.into_values().map(|shards| {
            stream::iter(shards).map(tell).buffer_unordered(SHARDS_AT_ONCE).collect::<Vec<_>>()
        });
        let told = futures_util::future::join_all(telling).await;
        let mut failures: Vec<_> = told.into_iter().flatten().flatten().collect();
        failures.sort_unstable_by_key(|(shard, _)| *shard);
        Ok(PresenceReceipt { failures })
    }
}
