//! Registers the worker with the coordinator.

use std::{collections::BTreeSet, sync::Arc};

use fleet_model::{CheckpointFormats, ClaimedShards, SessionNeeds, WorkerProfile};
use fleet_store::WorkerRecord;
use outside_text::printable;

use super::{Link, Membership, numbers, renewals::Renewing};
use crate::{
    Keep,
    clock::{BootTime, unix_ms},
    coordinator::{CoordinatorConnection, RegisterFailure, RegistrationCall},
    gateway_address::Trust,
    shard::GatewaySettings,
};

impl Link {
    /// Registers, and applies the assignment of the answer.
    pub(super) async fn register(
        &mut self,
        membership: &mut Membership,
    ) -> Result<CoordinatorConnection, RegisterFailure> {
        let unreachable = RegisterFailure::Unreachable;
        let url = self.parts.config.coordinator.as_str();
        let connection =
            CoordinatorConnection::connect(url, &self.parts.config.credentials).await.map_err(unreachable)?;
        // A worker whose lease window has closed claims nothing: its shards may run elsewhere by now.
        let running = if membership.lease.is_open(BootTime::now()) {
            self.parts.shards.running()
        } else {
            ClaimedShards::default()
        };
        let profile = self.profile();
        membership.head_keys.clone_from(&profile.head_keys);
        let call = RegistrationCall {
            worker: self.worker.clone(),
            incarnation: membership.incarnation.clone(),
            profile,
            running,
            draining: self.draining.is_some(),
        };
        let sent_at = BootTime::now();
        let answer = connection.register(call).await?;
        let (term, assignment) = (answer.term, answer.assignment);
        if term < self.term {
            let why = format!("the coordinator is of an older term: {term}, not {}", self.term);
            return Err(unreachable(why));
        }
        numbers::check(term, Some(&assignment), unix_ms()).map_err(unreachable)?;
        self.term = term;
        membership.ttl = answer.lease_ttl;
        membership.interval = answer.heartbeat_interval;
        self.set_gateway(&answer.gateway_url).map_err(unreachable)?;
        let (shards, total) = (assignment.shards.len(), assignment.shard_total);
        // Before the window opens: what is not ours any more must not go on in it.
        self.apply_assignment(membership, assignment);
        membership.lease.renewed(sent_at, membership.ttl);
        membership.renewals.renew(Renewing {
            record: WorkerRecord {
                worker: self.worker.clone(),
                incarnation: membership.incarnation.clone(),
                url: self.parts.advertise_url.clone(),
            },
            ttl: membership.ttl,
            interval: membership.interval,
        });
        self.announce(membership, connection.clone());
        tracing::info!(%term, worker.id = %self.worker, shards, total, "registered");
        Ok(connection)
    }

    /// Returns this worker's description of itself.
    fn profile(&self) -> WorkerProfile {
        let config = &self.parts.config;
        WorkerProfile {
            url: self.parts.advertise_url.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: config.capacity,
            generation: Some(config.generation.clone()),
            needs: Some(self.needs()),
            formats: CheckpointFormats {
                oldest: checkpoint::FORMAT_MIN,
                newest: config.checkpoint_format_max,
            },
            head_keys: self.parts.heads.key_ids(),
            refuses_unsigned_heads: self.parts.shards.refuses_unsigned_heads(),
        }
    }

    /// What this worker opens sessions with.
    fn needs(&self) -> SessionNeeds {
        let config = &self.parts.config;
        SessionNeeds {
            intents: config.cache.intents.bits(),
            transport: config.compression.transport().to_owned(),
            resources: match config.keep {
                Keep::Full => config.cache.resources.checkpointed().into_iter().collect(),
                Keep::Session | Keep::Off => BTreeSet::new(),
            },
        }
    }

    fn set_gateway(&mut self, told: &str) -> Result<(), String> {
        let config = &self.parts.config;
        let trust = Trust::new(config.gateway.clone(), config.api.clone());
        let gateway = trust.gateway(told).map_err(|why| {
            let told = printable(told);
            format!(
                "refusing to send the token to the coordinator's gateway URL \"{told}\": {why}; for a stand-in or \
                 a proxy set DISCORD_GATEWAY_URL for this worker"
            )
        })?;
        if self.gateway.as_ref().is_none_or(|settings| settings.gateway != gateway) {
            self.gateway = Some(Arc::new(GatewaySettings {
                token: config.token.clone(),
                intents: config.cache.intents,
                gateway,
                compression: config.compression,
            }));
        }
        Ok(())
    }
}
