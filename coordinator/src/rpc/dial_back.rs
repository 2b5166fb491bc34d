//! Whether a worker is where it says: when it registers, and when its stream has broken.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use altergolden_proto::v1::{IdentityRequest, gateway_worker_client::GatewayWorkerClient};
use fleet_model::{Incarnation, WorkerId};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tonic::{
    Status,
    transport::{Endpoint, Uri},
};

use crate::fleet::Finding;

/// How long finding a worker may take as a whole.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many addresses of one name are tried.
const ADDRESSES: usize = 8;

/// How long a look may wait for a connection, and then for an answer.
const LOOK: Duration = Duration::from_millis(500);

/// Between two refusals: a listener that is being made anew is not gone.
const BETWEEN_REFUSALS: Duration = Duration::from_millis(50);

/// Where a worker's advertised URL leads back to it: the address that answered.
///
/// # Errors
/// FAILED_PRECONDITION, with what to set.
pub(crate) async fn check(
    url: &str,
    worker: &WorkerId,
    incarnation: &Incarnation,
) -> Result<SocketAddr, Status> {
    find(url, worker, incarnation).await.map_err(|why| {
        Status::failed_precondition(format!(
            "the advertised address {url} {why}: set WORKER_ADVERTISE to where the coordinator and the other workers \
             reach this worker"
        ))
    })
}

async fn find(url: &str, worker: &WorkerId, incarnation: &Incarnation) -> Result<SocketAddr, String> {
    let by = Instant::now() + PATIENCE;
    let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    let (Some(host), "http") = (uri.host(), uri.scheme_str().unwrap_or_default()) else {
        return Err("is no http URL".to_owned());
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = timeout(PATIENCE, lookup_host((host, uri.port_u16().unwrap_or(80)))).await;
    let Ok(Ok(addresses)) = found else { return Err("can't be looked up".to_owned()) };
    let addresses: Vec<SocketAddr> = addresses.take(ADDRESSES).collect();
    let mut why = "has no address".to_owned();
    for (tried, &address) in addresses.iter().enumerate() {
        // One that swallows everything leaves time for the others.
        let left = by.saturating_duration_since(Instant::now()) / (addresses.len() - tried) as u32;
        why = match timeout(left, identity(address, &uri)).await {
            Err(_) => "does not answer".to_owned(),
            Ok(Err(why)) => why,
            Ok(Ok((found, life))) if found == worker.as_str() && life == incarnation.as_str() => {
                return Ok(address);
            }
            Ok(Ok((found, life))) => format!("leads to worker {found} ({life})"),
        };
    }
    Err(why)
}

/// What is to be seen at the address of a worker whose stream broke.
pub(crate) async fn look(address: SocketAddr, worker: &WorkerId, incarnation: &Incarnation) -> Finding {
    if refuses(address).await {
        tokio::time::sleep(BETWEEN_REFUSALS).await;
        if refuses(address).await {
            return Finding::Refuses;
        }
    }
    let Ok(uri) = format!("http://{address}").parse() else { return Finding::Unclear };
    match timeout(LOOK, identity(address, &uri)).await {
        Ok(Ok((found, life))) if found == worker.as_str() && life == incarnation.as_str() => Finding::Answers,
        Ok(Ok(_)) => Finding::AnotherAnswers,
        Ok(Err(_)) | Err(_) => Finding::Unclear,
    }
}

/// A connection is refused: nobody listens there. A time-out or no way is not that.
async fn refuses(address: SocketAddr) -> bool {
    let connecting = timeout(LOOK, TcpStream::connect(address)).await;
    matches!(connecting, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

/// Asks the address who it is: name and life.
async fn identity(address: SocketAddr, uri: &Uri) -> Result<(String, String), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let channel = endpoint.origin(uri.clone()).connect().await.map_err(|_| "can't be reached".to_owned())?;
    let answer = GatewayWorkerClient::new(channel).identity(IdentityRequest {}).await;
    let answer = answer.map_err(|status| format!("answers {:?}", status.code()))?.into_inner();
    Ok((answer.worker_id, answer.incarnation))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unimplemented, reason = "the double answers who it is, and nothing else")]

    use altergolden_proto::v1::{
        self,
        gateway_worker_server::{GatewayWorker, GatewayWorkerServer},
    };
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response};

    use super::*;

    /// Answers as worker `w`, life `1`.
    struct Double;

    #[tonic::async_trait]
    impl GatewayWorker for Double {
        async fn identity(
            &self,
            _: Request<IdentityRequest>,
        ) -> Result<Response<v1::IdentityResponse>, Status> {
            let (worker_id, incarnation) = ("w".to_owned(), "1".to_owned());
            Ok(Response::new(v1::IdentityResponse { worker_id, incarnation, version: String::new() }))
        }

        async fn get_shards(
            &self,
            _: Request<v1::GetShardsRequest>,
        ) -> Result<Response<v1::GetShardsResponse>, Status> {
            unimplemented!()
        }

        async fn look_up_guilds(
            &self,
            _: Request<v1::LookUpGuildsRequest>,
        ) -> Result<Response<v1::LookUpGuildsResponse>, Status> {
            unimplemented!()
        }

        async fn look_up_users(
            &self,
            _: Request<v1::LookUpUsersRequest>,
        ) -> Result<Response<v1::LookUpUsersResponse>, Status> {
            unimplemented!()
        }

        type CopyShardStream = tokio_stream::Empty<Result<v1::ShardCopy, Status>>;

        async fn copy_shard(
            &self,
            _: Request<v1::CopyShardRequest>,
        ) -> Result<Response<Self::CopyShardStream>, Status> {
            unimplemented!()
        }

        async fn replay_set_aside(
            &self,
            _: Request<v1::ReplaySetAsideRequest>,
        ) -> Result<Response<v1::ReplaySetAsideResponse>, Status> {
            unimplemented!()
        }

        async fn send_command(
            &self,
            _: Request<v1::SendCommandRequest>,
        ) -> Result<Response<v1::SendCommandResponse>, Status> {
            unimplemented!()
        }

        async fn get_object(
            &self,
            _: Request<v1::GetObjectRequest>,
        ) -> Result<Response<v1::GetObjectResponse>, Status> {
            unimplemented!()
        }

        async fn deliver_message(
            &self,
            _: Request<v1::DeliverMessageRequest>,
        ) -> Result<Response<v1::DeliverMessageResponse>, Status> {
            unimplemented!()
        }

        async fn ask_shards(
            &self,
            _: Request<v1::AskShardsRequest>,
        ) -> Result<Response<v1::AskShardsResponse>, Status> {
            unimplemented!()
        }
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Where a double serves, until the test's runtime ends.
    async fn double() -> SocketAddr {
        let (listener, address) = listener().await;
        let server = tonic::transport::Server::builder().add_service(GatewayWorkerServer::new(Double));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    async fn look_for(address: SocketAddr, worker: &str, life: &str) -> Finding {
        look(address, &worker.parse().unwrap(), &life.parse().unwrap()).await
    }

    #[tokio::test]
    async fn nobody_there_refuses_within_milliseconds() {
        let (listener, address) = listener().await;
        drop(listener);
        let began = Instant::now();
        assert_eq!(look_for(address, "w", "1").await, Finding::Refuses);
        assert!(began.elapsed() >= BETWEEN_REFUSALS, "it takes two refusals");
        assert!(began.elapsed() < LOOK, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn who_answers_tells() {
        let address = double().await;
        assert_eq!(look_for(address, "w", "1").await, Finding::Answers);
        assert_eq!(look_for(address, "w", "2").await, Finding::AnotherAnswers);
        assert_eq!(look_for(address, "v", "1").await, Finding::AnotherAnswers);
    }

    #[tokio::test]
    async fn one_that_accepts_and_says_nothing_is_no_evidence() {
        // A process that is stopped: its kernel accepts.
        let (_listener, address) = listener().await;
        assert_eq!(look_for(address, "w", "1").await, Finding::Unclear);
    }

    #[tokio::test]
    async fn a_name_leads_to_the_address_that_answered() {
        let address = double().await;
        let url = format!("http://localhost:{}", address.port());
        let (worker, life) = ("w".parse().unwrap(), "1".parse().unwrap());
        assert_eq!(check(&url, &worker, &life).await.unwrap(), address);
        let wrong = check(&url, &worker, &"2".parse().unwrap()).await.unwrap_err();
        assert!(wrong.message().contains("leads to worker w (1)"), "{wrong}");
        let nothing = check("http://127.0.0.1:1", &worker, &life).await.unwrap_err();
        assert!(nothing.message().contains("WORKER_ADVERTISE"), "{nothing}");
    }
}
