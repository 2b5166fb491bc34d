//! What a supervisor of workers asks the coordinator.

use altergolden_proto::v1;
use tonic::{Code, Streaming};

use super::{BridgeClient, ClientError};

/// The fleet in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetGlance {
    /// The coordinator that answered acts.
    pub acting: bool,
    /// Shards of the bot; 0 before that is known.
    pub shard_total: u32,
    /// Shards that are ready.
    pub shards_ready: u32,
    /// Workers whose connection to the coordinator is open.
    pub connected: Vec<ConnectedWorker>,
}

/// A worker that is connected to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedWorker {
    /// Its name.
    pub name: String,
    /// Its incarnation.
    pub incarnation: String,
}

/// The fleet now, and whenever it changes.
#[derive(Debug)]
pub struct FleetGlances(Streaming<v1::FleetStatus>);

impl FleetGlances {
    /// Returns the next change. `None` when the stream has ended.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<FleetGlance>, ClientError> {
        Ok(self.0.message().await?.map(glance))
    }
}

fn glance(status: v1::FleetStatus) -> FleetGlance {
    let ready = status.shards.iter().filter(|shard| shard.status() == v1::ShardStatus::Ready).count();
    let connected = status.workers.into_iter().filter(|worker| worker.connected);
    FleetGlance {
        acting: status.acting,
        shard_total: status.shard_total,
        shards_ready: ready as u32,
        connected: connected
            .map(|worker| ConnectedWorker { name: worker.worker_id, incarnation: worker.incarnation })
            .collect(),
    }
}

impl BridgeClient {
    /// The fleet in short, now and whenever it changes.
    ///
    /// # Errors
    /// The call failed; only a coordinator serves it.
    pub async fn glances(&mut self) -> Result<FleetGlances, ClientError> {
        Ok(FleetGlances(self.watch().await?))
    }

    /// Reports that the process of a worker has ended, and how: the exit code or the signal. To be called only by the process that saw
    /// the exit itself. False: no such worker is in the fleet, or it is another incarnation by now.
    ///
    /// # Errors
    /// The call failed.
    pub async fn report_exit(
        &mut self,
        worker: &str,
        incarnation: &str,
        reason: &str,
    ) -> Result<bool, ClientError> {
        let request = self.request(v1::ReportExitRequest {
            worker_id: worker.to_owned(),
            incarnation: incarnation.to_owned(),
            reason: reason.to_owned(),
        });
        match self.coordinator.report_exit(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }
}
