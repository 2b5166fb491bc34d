//! Registers the worker with the coordinator.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use altergolden_proto::{
    LEASE_TTL_MS, PROTOCOL_MAX, PROTOCOL_MIN,
    convert::{self, for_people},
    v1::{self, coordinator_client::CoordinatorClient},
};
use fleet_model::{Assignment, SessionNeeds, Term};
use fleet_store::WorkerRecord;
use outside_text::printable;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{Link, Membership, numbers, renewals::Renewing};
use crate::{
    Keep,
    clock::{BootTime, unix_ms},
    gateway_address::Trust,
    shard::{GatewaySettings, TRANSPORT},
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a registration may take: the coordinator dials back.
const REGISTER: Duration = Duration::from_secs(5);

/// How long to wait for a name whose holder's lease is unknown.
const NAME_PATIENCE: Duration = Duration::from_secs(5);

/// The longest lease that is accepted from a coordinator.
pub(super) const LONGEST_TTL: Duration = Duration::from_hours(1);

/// The longest time between two reports; a coordinator asks for at most a second.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

/// A registration that failed.
pub(super) enum RegisterFailure {
    /// The coordinator cannot be reached, or does not accept the worker now.
    Unreachable(String),
    /// Another worker has our name.
    NameTaken { why: String, patience: Duration },
    /// This incarnation's lease was revoked.
    Revoked,
}

impl Link {
    /// Registers, and applies the assignment of the answer.
    pub(super) async fn register(&mut self, membership: &mut Membership) -> Result<Channel, RegisterFailure> {
        let unreachable = |why: String| RegisterFailure::Unreachable(why);
        let endpoint = Endpoint::from_shared(self.parts.config.coordinator.as_str().to_owned())
            .map_err(|error| unreachable(error.to_string()))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let channel = endpoint
            .connect()
            .await
            .map_err(|_| unreachable("the coordinator can't be reached".to_owned()))?;
        // A worker whose lease window has closed claims nothing: its shards may run elsewhere by now.
        let (running, running_total) = if membership.lease.is_open(BootTime::now()) {
            self.parts.shards.running()
        } else {
            Default::default()
        };
        let mut request = tonic::Request::new(v1::RegisterRequest {
            worker_id: self.worker.to_string(),
            incarnation: membership.incarnation.to_string(),
            advertise_url: self.parts.advertise_url.clone(),
            capacity: self.parts.config.capacity.unwrap_or(0),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: convert::running_ranges(&running),
            running_total,
            draining: self.draining.is_some(),
            generation: self.parts.config.generation.to_string(),
            checkpoint_format_min: checkpoint::FORMAT_MIN.into(),
            checkpoint_format_max: self.parts.config.checkpoint_format_max.into(),
            needs: Some(self.needs().into()),
        });
        request.set_timeout(REGISTER);
        let sent_at = BootTime::now();
        let asking = CoordinatorClient::new(channel.clone());
        let answer = { asking }.register(request).await.map_err(|status| failure(&status))?.into_inner();

        let term = Term(answer.term);
        if term < self.term {
            return Err(unreachable(format!(
                "the coordinator is of an older term: {term}, not {}",
                self.term
            )));
        }
        let assignment = answer.assignment.map(Assignment::try_from).transpose();
        let assignment = assignment.map_err(|error| unreachable(error.to_string()))?.unwrap_or_default();
        numbers::check(term, Some(&assignment), unix_ms()).map_err(unreachable)?;
        self.term = term;
        membership.ttl = Duration::from_millis(answer.lease_ttl_ms).min(LONGEST_TTL);
        membership.interval = Duration::from_millis(answer.heartbeat_interval_ms)
            .clamp(Duration::from_millis(10), LONGEST_INTERVAL);
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
        self.announce(membership, channel.clone());
        tracing::info!(%term, worker.id = %self.worker, shards, total, "registered");
        Ok(channel)
    }

    /// What this worker opens sessions with.
    fn needs(&self) -> SessionNeeds {
        let config = &self.parts.config;
        SessionNeeds {
            intents: config.cache.intents.bits(),
            transport: TRANSPORT.to_owned(),
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
            }));
        }
        Ok(())
    }
}

fn failure(status: &Status) -> RegisterFailure {
    let said = for_people(status.message());
    match status.code() {
        Code::AlreadyExists => {
            // A crashed holder's lease lapses within its TTL; one that outlives it twice is alive.
            let ttl_ms = status.metadata().get(LEASE_TTL_MS).and_then(|ms| ms.to_str().ok()?.parse().ok());
            let ttl = ttl_ms.map_or(NAME_PATIENCE, Duration::from_millis).min(LONGEST_TTL);
            RegisterFailure::NameTaken { why: said, patience: ttl * 2 + Duration::from_secs(1) }
        }
        Code::Aborted => RegisterFailure::Revoked,
        Code::FailedPrecondition | Code::InvalidArgument => {
            RegisterFailure::Unreachable(format!("not registered: {said}"))
        }
        code => RegisterFailure::Unreachable(format!("not registered: {code:?} {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinators_answer_is_shown_safely_and_its_wait_is_bounded() {
        for (ttl_ms, seconds) in [(None, 11), (Some(1_000), 3), (Some(u64::MAX), 7_201)] {
            let mut status = Status::already_exists(format!("taken\u{1b}[2J{}", "x".repeat(4_000)));
            if let Some(ttl_ms) = ttl_ms {
                status.metadata_mut().insert(LEASE_TTL_MS, ttl_ms.into());
            }
            let RegisterFailure::NameTaken { why, patience } = failure(&status) else { panic!("{status}") };
            assert!(why.starts_with("taken\\u{1b}[2Jx") && why.len() < 400, "{why}");
            assert_eq!(patience, Duration::from_secs(seconds));
        }
    }
}
