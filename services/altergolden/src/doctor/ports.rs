//! Checks of the ports that the settings name: free, held by a process of this platform, or by another program.

use std::{
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use process::credentials::{Credentials, Role};
use shard_bridge::{BridgeClient, ClientError};
use tokio::{net::TcpListener, time::timeout};

use super::report::Finding;
use crate::health::{self, is_health_port};

const CHECK: &str = "port";
/// Time to find out what holds a port.
const TIMEOUT: Duration = Duration::from_secs(3);

/// No worker needs to be asked.
const STALE_IS_FINE: Duration = Duration::from_mins(10);

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// gRPC of a program with this role.
    Grpc(Role),
    Health,
    RestProxy,
}

/// A port that a setting names.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedPort {
    pub(super) setting: &'static str,
    pub(super) address: SocketAddr,
    pub(super) service: Service,
}

/// What was found at a port.
#[derive(Debug)]
enum PortState {
    Free,
    /// A process of this platform serves it.
    Ours,
    Stranger,
    /// The system refuses to bind it: why.
    Refused(io::Error),
}

/// Looks at all ports at once. Ports with number 0 are free ones of the system and not listed.
pub(super) async fn look(ports: Vec<NamedPort>, credentials: &Credentials) -> Vec<Finding> {
    let ports: Vec<NamedPort> = ports.into_iter().filter(|port| port.address.port() != 0).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (place, port) in ports.iter().copied().enumerate() {
        let same =
            ports[..place].iter().find(|other| clash(other.address, port.address)).map(|other| other.setting);
        let credentials = credentials.clone();
        tasks.spawn(async move {
            (
                place,
                match same {
                    Some(other) => Finding::fail(
                        CHECK,
                        format!("{} {}: {other} names the same port", port.address, port.setting),
                        format!("give {} another port", port.setting),
                    ),
                    None => judge(port, state(port, &credentials).await),
                },
            )
        });
    }
    let mut findings = tasks.join_all().await;
    findings.sort_by_key(|(place, _)| *place);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// Whether two servers cannot listen on both addresses.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    one.port() == other.port() && (one.ip() == other.ip() || any(one.ip()) || any(other.ip()))
}

async fn state(port: NamedPort, credentials: &Credentials) -> PortState {
    // As a server of ours binds it; the port is free again at once.
    match TcpListener::bind(port.address).await {
        Ok(_) => PortState::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let ours = timeout(TIMEOUT, is_ours(port, credentials)).await.unwrap_or(false);
            if ours { PortState::Ours } else { PortState::Stranger }
        }
        Err(error) => PortState::Refused(error),
    }
}

/// Whether a process of this platform answers at a port.
async fn is_ours(port: NamedPort, credentials: &Credentials) -> bool {
    let mut address = port.address;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() {
            IpAddr::from([127, 0, 0, 1])
        } else {
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
        };
        address.set_ip(loopback);
    }
    let url = format!("http://{address}");
    match port.service {
        Service::Grpc(role) => {
            let secured = format!("https://{address}");
            let has_role = credentials.is_set()
                && answers_as_ours(BridgeClient::connect_with(&secured, TIMEOUT, credentials, role).await)
                    .await;
            // One that is not secured yet, or that these credentials do not open.
            has_role || answers_as_ours(BridgeClient::connect(&url, TIMEOUT).await).await
        }
        Service::Health => is_health_port(&url).await,
        Service::RestProxy => health::is_rest_proxy(&url).await,
    }
}

async fn answers_as_ours(connected: Result<BridgeClient, ClientError>) -> bool {
    let Ok(mut client) = connected else { return false };
    match client.aggregate_stats(STALE_IS_FINE).await {
        Ok(_) => true,
        // A status that was sent has no source; another gRPC server does not know the method.
        Err(ClientError::Refused(status)) => {
            status.source().is_none() && status.code() != tonic::Code::Unimplemented
        }
        Err(_) => false,
    }
}

fn judge(port: NamedPort, state: PortState) -> Finding {
    let NamedPort { setting, address, .. } = port;
    match state {
        PortState::Free => Finding::ok(CHECK, format!("{address} ({setting}) is free")),
        PortState::Ours => {
            Finding::ok(CHECK, format!("{address} ({setting}) is held by a running process of this platform"))
        }
        PortState::Stranger => Finding::fail(
            CHECK,
            format!(
                "{address} ({setting}) is in use by another program, or by an altergolden process that does not answer"
            ),
            format!("find it with `ss -ltnp 'sport = :{}'` and stop it, or set another port", address.port()),
        ),
        PortState::Refused(error) => Finding::fail(
            CHECK,
            format!("{address} ({setting}): {error}"),
            "set an address of this machine, and a port that this user may bind",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Verdict, *};

    fn named(address: SocketAddr) -> NamedPort {
        NamedPort { setting: "HEALTH_PORT", address, service: Service::Health }
    }

    #[tokio::test]
    async fn free_foreign_and_repeated_ports_are_told_apart() {
        let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (taken, open) = (held.local_addr().unwrap(), free.local_addr().unwrap());
        drop(free);
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        // The stranger accepts nothing.
        let findings = look([taken, open, none, open].map(named).to_vec(), &Credentials::none()).await;
        let verdicts: Vec<Verdict> = findings.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Ok, Verdict::Fail]);
        assert!(
            findings[0].text.contains("another program") && findings[2].text.contains("same port"),
            "{findings:?}"
        );
    }

    #[test]
    fn addresses_of_all_interfaces_clash() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(clash(at("0.0.0.0:1"), at("127.0.0.1:1")) && clash(at("127.0.0.1:1"), at("127.0.0.1:1")));
        assert!(!clash(at("127.0.0.2:1"), at("127.0.0.1:1")) && !clash(at("0.0.0.0:1"), at("127.0.0.1:2")));
    }
}
