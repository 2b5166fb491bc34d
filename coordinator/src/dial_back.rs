//! Checks that a worker answers at its advertised address: when it registers, and when its stream has broken.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use altergolden_proto::{
    convert::refusal,
    v1::{IdentityRequest, gateway_worker_client::GatewayWorkerClient},
};
use fleet_model::{AdvertisedAddress, ErrorClass, Incarnation, WorkerId};
use outside_text::printable;
use process::{
    client::GrpcServer,
    credentials::{Credentials, Role},
};
use tokio::{
    net::TcpStream,
    time::{sleep_until, timeout},
};
use tonic::{Status, transport::Uri};

use fleet::Finding;

mod advertised;
#[cfg(test)]
pub(crate) mod fake_worker;

use advertised::look_up;

/// Longest identity answer: two names and a version.
const MOST_BYTES: usize = 4096;

/// Time limit of the check at registration.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time limit of a probe: for the connection, and again for the answer.
const PROBE: Duration = Duration::from_millis(500);

/// Pause between two refusals: a listener that is being opened again is not gone.
const BETWEEN_REFUSALS: Duration = Duration::from_millis(50);

/// Returns the address at which the worker answers under its advertised URL.
///
/// All failures give the same answer after the same time, so that callers cannot scan addresses; the log has the
/// reason.
///
/// # Errors
/// INVALID_ARGUMENT: not a valid address. FAILED_PRECONDITION: the worker was not found there.
pub(crate) async fn check(
    url: &str,
    worker: &WorkerId,
    incarnation: &Incarnation,
    credentials: &Credentials,
) -> Result<SocketAddr, Status> {
    let invalid = |why: &str| {
        refusal(
            ErrorClass::InvalidInput,
            format!("the advertised address {} {why} (WORKER_ADVERTISE)", printable(url)),
        )
    };
    let advertised = AdvertisedAddress::parse(url).map_err(invalid)?;
    let uri = url.parse().map_err(|_| invalid("is not a URL"))?;
    let by = Instant::now() + PATIENCE;
    match find(advertised, &uri, by, worker, incarnation, credentials).await {
        Ok(address) => Ok(address),
        Err(why) => {
            // Not as `worker.id`: lines about invented names are folded together.
            tracing::warn!(claimant = %worker, url = %printable(url), why, "worker not found at its advertised address");
            sleep_until(by.into()).await;
            Err(refusal(
                ErrorClass::NotPermitted,
                format!(
                    "the advertised address {} does not lead to this worker (the coordinator's log says why): set \
                 WORKER_ADVERTISE to where the coordinator and the other workers reach this worker",
                    printable(url)
                ),
            ))
        }
    }
}

async fn find(
    advertised: AdvertisedAddress<'_>,
    uri: &Uri,
    by: Instant,
    worker: &WorkerId,
    incarnation: &Incarnation,
    credentials: &Credentials,
) -> Result<SocketAddr, &'static str> {
    let addresses = look_up(advertised, PATIENCE).await;
    let mut why = "has no address";
    for (tried, &address) in addresses.iter().enumerate() {
        // An address that never answers leaves time for the others.
        let left = by.saturating_duration_since(Instant::now()) / (addresses.len() - tried) as u32;
        why = match timeout(left, identity(address, uri, credentials)).await {
            Err(_) => "does not answer",
            Ok(Err(why)) => why,
            Ok(Ok((found, life))) if found == worker.as_str() && life == incarnation.as_str() => {
                return Ok(address);
            }
            Ok(Ok(_)) => "belongs to another worker or incarnation",
        };
    }
    Err(why)
}

/// Probes the address of a worker whose stream broke. Under TLS only an answer with a worker's certificate counts; a handshake that fails is
/// no evidence.
pub(crate) async fn probe(
    address: SocketAddr,
    scheme: &str,
    worker: &WorkerId,
    incarnation: &Incarnation,
    credentials: &Credentials,
) -> Finding {
    if refuses(address).await {
        tokio::time::sleep(BETWEEN_REFUSALS).await;
        if refuses(address).await {
            return Finding::Refuses;
        }
    }
    let Ok(uri) = format!("{scheme}://{address}").parse() else { return Finding::Unclear };
    match timeout(PROBE, identity(address, &uri, credentials)).await {
        Ok(Ok((found, life))) if found == worker.as_str() && life == incarnation.as_str() => Finding::Answers,
        Ok(Ok(_)) => Finding::AnotherAnswers,
        Ok(Err(_)) | Err(_) => Finding::Unclear,
    }
}

/// Probes a worker at the address where it answered when it registered here, else at its advertised address.
pub(crate) async fn probe_by_url(
    found_at: Option<SocketAddr>,
    url: &str,
    worker: &WorkerId,
    incarnation: &Incarnation,
    credentials: &Credentials,
) -> Finding {
    let address = match (found_at, AdvertisedAddress::parse(url)) {
        (Some(address), _) => Some(address),
        (None, Ok(advertised)) => look_up(advertised, PROBE).await.into_iter().next(),
        (None, Err(_)) => None,
    };
    match address {
        Some(address) => probe(address, scheme(url), worker, incarnation, credentials).await,
        None => Finding::Unclear,
    }
}

/// Returns the scheme of a worker's URL.
pub(crate) fn scheme(url: &str) -> &'static str {
    if url.starts_with("https:") { "https" } else { "http" }
}

/// Returns whether the address refuses a connection: no process listens there. A timeout or a missing route is no refusal.
async fn refuses(address: SocketAddr) -> bool {
    let connecting = timeout(PROBE, TcpStream::connect(address)).await;
    matches!(connecting, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

/// Asks the worker at the address for its name and incarnation.
async fn identity(
    address: SocketAddr,
    uri: &Uri,
    credentials: &Credentials,
) -> Result<(String, String), &'static str> {
    let url = format!("{}://{address}", uri.scheme_str().unwrap_or("http"));
    let server = GrpcServer::new(&url, PATIENCE, PATIENCE).map_err(|_| "is not a valid address")?;
    let server = server.with_origin(uri.clone());
    let channel = server.connect(credentials, Role::Worker).await.map_err(|_| "cannot be reached")?;
    let mut client = GatewayWorkerClient::new(channel).max_decoding_message_size(MOST_BYTES);
    let answer =
        client.identity(IdentityRequest {}).await.map_err(|_| "is not a gateway worker")?.into_inner();
    Ok((answer.worker_id, answer.incarnation))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::{fake_worker::FakeWorker, *};

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn probe_for(address: SocketAddr, worker: &str, life: &str) -> Finding {
        let none = Credentials::none();
        probe(address, "http", &worker.parse().unwrap(), &life.parse().unwrap(), &none).await
    }

    #[tokio::test]
    async fn closed_port_refuses_within_milliseconds() {
        let (listener, address) = listener().await;
        drop(listener);
        let began = Instant::now();
        assert_eq!(probe_for(address, "w", "1").await, Finding::Refuses);
        assert!(began.elapsed() >= BETWEEN_REFUSALS, "it takes two refusals");
        assert!(began.elapsed() < PROBE, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn probe_compares_name_and_incarnation() {
        let address = FakeWorker::start("w", "1").await;
        assert_eq!(probe_for(address, "w", "1").await, Finding::Answers);
        assert_eq!(probe_for(address, "w", "2").await, Finding::AnotherAnswers);
        assert_eq!(probe_for(address, "v", "1").await, Finding::AnotherAnswers);
    }

    #[tokio::test]
    async fn silent_listener_is_no_evidence() {
        // A process that is stopped: its kernel accepts.
        let (_listener, address) = listener().await;
        assert_eq!(probe_for(address, "w", "1").await, Finding::Unclear);
    }

    #[tokio::test]
    async fn check_returns_the_address_that_answered() {
        let address = FakeWorker::start("w", "1").await;
        let url = format!("http://localhost:{}", address.port());
        let (worker, life) = ("w".parse().unwrap(), "1".parse().unwrap());
        assert_eq!(check(&url, &worker, &life, &Credentials::none()).await.unwrap(), address);
        let wrong = check(&url, &worker, &"2".parse().unwrap(), &Credentials::none()).await.unwrap_err();
        assert!(wrong.message().contains("WORKER_ADVERTISE"), "{wrong}");
    }

    /// Closed, silent, another protocol, another worker: the same answer, after the same time.
    #[tokio::test]
    async fn refusal_does_not_reveal_what_is_at_the_address() {
        let (worker, life): (WorkerId, Incarnation) = ("w".parse().unwrap(), "2".parse().unwrap());
        let (silent, silent_at) = listener().await;
        let (closed, closed_at) = listener().await;
        drop(closed);
        let (greets, greets_at) = listener().await;
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = greets.accept().await {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, b"220 mail ready\r\n").await;
            }
        });
        let addresses = [silent_at, closed_at, greets_at, FakeWorker::start("w", "1").await];
        let checks = addresses.map(|address| {
            let (worker, life) = (worker.clone(), life.clone());
            async move {
                let (began, url) = (Instant::now(), format!("http://{address}"));
                let status = check(&url, &worker, &life, &Credentials::none()).await.unwrap_err();
                (status.code(), status.message().replace(&address.to_string(), "X"), began.elapsed())
            }
        });
        let answers = futures_util::future::join_all(checks).await;
        for (code, message, took) in &answers {
            assert_eq!((*code, message), (answers[0].0, &answers[0].1));
            assert!(*took >= PATIENCE, "{took:?}");
        }
        drop(silent);
    }
}
