//! The address at which others reach this worker.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{UdpSocket, lookup_host},
    sync::watch,
    time::Instant,
};
use tonic::transport::Uri;

use super::WorkerError;
use crate::{config::WorkerConfig, status::LinkStatus};

/// Time between two look-ups of a name that does not resolve yet.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(1);
/// Time between two warnings of the same problem: a name that is never set up must not be overlooked.
const WARN_AGAIN: Duration = Duration::from_mins(1);

/// Where others reach this worker: as set, or the address that this machine has towards the coordinator, with the bound port.
pub(super) async fn advertised(
    config: &WorkerConfig,
    bound: SocketAddr,
    status: &watch::Sender<LinkStatus>,
) -> Result<String, WorkerError> {
    let scheme = config.credentials.scheme();
    if let Some(advertised) = &config.advertise {
        return Ok(advertised.url(scheme));
    }
    if !bound.ip().is_unspecified() {
        return Ok(format!("{scheme}://{bound}"));
    }
    let coordinator = resolved(config.coordinator.as_str(), bound.is_ipv6(), status).await;
    match address_towards(&coordinator, bound).await {
        Ok(local) => Ok(format!("{scheme}://{}", SocketAddr::new(local, bound.port()))),
        Err(why) => Err(WorkerError::Advertise(format!(
            "this worker listens on {bound} and cannot determine its address towards {coordinator:?} ({why})"
        ))),
    }
}

/// This machine's address on the route to the first of `peers` that has a route; the last failure when none has one.
async fn address_towards(peers: &[SocketAddr], bound: SocketAddr) -> io::Result<IpAddr> {
    // Connecting a UDP socket sends nothing; it asks the routing table.
    let socket = UdpSocket::bind(SocketAddr::new(bound.ip(), 0)).await?;
    socket.connect(peers).await?;
    Ok(socket.local_addr()?.ip())
}

/// The coordinator's addresses, at least one. Where names come and go with containers, the name does not resolve
/// while the coordinator is down. A worker has nothing to do without a coordinator, so this waits until the name resolves.
async fn resolved(coordinator: &str, ipv6: bool, status: &watch::Sender<LinkStatus>) -> Vec<SocketAddr> {
    let uri: Uri = coordinator.parse().expect("it was parsed as a setting");
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(50051));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut warned = Warned::default();
    loop {
        let why = match lookup_host((host, port)).await {
            Ok(found) => {
                let found: Vec<_> = found.filter(|address| address.is_ipv4() || ipv6).collect();
                if !found.is_empty() {
                    return found;
                }
                "it has no IPv4 address".to_owned()
            }
            Err(error) => error.to_string(),
        };
        let problem = format!("cannot resolve {host}: {why}");
        if warned.should_warn(&problem, Instant::now()) {
            tracing::warn!(coordinator, why, "cannot resolve the coordinator's name; retrying");
            status.send_modify(|status| status.coordinator = Err(problem));
        }
        tokio::time::sleep(LOOK_UP_AGAIN).await;
    }
}

/// What was last warned of, and when.
#[derive(Default)]
struct Warned(Option<(String, Instant)>);

impl Warned {
    /// Returns whether to warn: the problem is new, or the last warning is a minute old. Notes the warning.
    fn should_warn(&mut self, problem: &str, now: Instant) -> bool {
        let due =
            self.0.as_ref().is_none_or(|(last, at)| last != problem || now.duration_since(*at) >= WARN_AGAIN);
        if due {
            self.0 = Some((problem.to_owned(), now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unreachable_first_address_is_skipped() {
        // There is no way from an IPv4 socket to an IPv6 address.
        let [no_way, way] = ["[::1]:50051", "127.0.0.1:50051"].map(|address| address.parse().unwrap());
        let bound = "0.0.0.0:0".parse().unwrap();
        let towards = address_towards(&[no_way, way], bound).await.unwrap();
        assert_eq!(towards, IpAddr::from([127, 0, 0, 1]));
        address_towards(&[no_way], bound).await.unwrap_err();
    }

    #[test]
    fn lasting_problem_is_warned_of_once_a_minute() {
        let began = Instant::now();
        let mut warned = Warned::default();
        let due: Vec<u64> =
            (0..150).filter(|&second| warned.should_warn("x", began + Duration::from_secs(second))).collect();
        assert_eq!(due, [0, 60, 120]);
        assert!(warned.should_warn("y", began + Duration::from_secs(150)), "another problem is news");
    }
}
