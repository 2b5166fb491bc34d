//! Whether a worker's advertised address leads back to that worker.

use std::time::Duration;

use altergolden_proto::v1::{IdentityRequest, gateway_worker_client::GatewayWorkerClient};
use fleet_model::{Incarnation, WorkerId};
use tonic::{Status, transport::Endpoint};

/// How long the whole call may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the address who it is.
///
/// # Errors
/// FAILED_PRECONDITION, with what to set.
pub(super) async fn check(url: &str, worker: &WorkerId, incarnation: &Incarnation) -> Result<(), Status> {
    let refuse = |why: String| {
        Err(Status::failed_precondition(format!(
            "the advertised address {url} {why}: set WORKER_ADVERTISE to where the coordinator and the other workers \
             reach this worker"
        )))
    };
    let Ok(endpoint) = Endpoint::from_shared(url.to_owned()) else {
        return refuse("is no URL".to_owned());
    };
    let asking = async {
        let channel =
            endpoint.connect_timeout(PATIENCE).connect().await.map_err(|_| "can't be reached".to_owned())?;
        let answer = GatewayWorkerClient::new(channel).identity(IdentityRequest {}).await;
        answer.map_err(|status| format!("answers {:?}", status.code())).map(tonic::Response::into_inner)
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Err(_) => refuse("does not answer".to_owned()),
        Ok(Err(why)) => refuse(why),
        Ok(Ok(found)) if found.worker_id == worker.as_str() && found.incarnation == incarnation.as_str() => {
            Ok(())
        }
        Ok(Ok(found)) => refuse(format!("leads to worker {} ({})", found.worker_id, found.incarnation)),
    }
}
