//! The ports of a fleet: checked before any process starts, then held as long as the supervisor runs.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use tokio::net::TcpSocket;

/// A port that a program of the fleet will bind.
#[derive(Clone, Debug)]
pub(crate) struct WantedPort {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The flag and variable that set it.
    pub(crate) setting: String,
}

/// Checks that each port is free and that no two are the same. Port 0, a free one, always is.
///
/// # Errors
/// The first port that is not, with its setting, in one line.
pub(crate) fn check(wanted: &[WantedPort]) -> Result<(), String> {
    let mut bound = Vec::new();
    for port in wanted.iter().filter(|port| port.address.port() != 0) {
        let WantedPort { address, setting } = port;
        if let Some((_, other)) =
            bound.iter().find(|(_, other): &&(_, &WantedPort)| other.address == *address)
        {
            return Err(format!("{setting}: {address} is also the address of {}", other.setting));
        }
        match TcpListener::bind(address) {
            Ok(listener) => bound.push((listener, port)),
            Err(error) => return Err(format!("cannot bind {address} ({setting}): {error}")),
        }
    }
    Ok(())
}

/// A port that no other supervisor can take.
#[derive(Debug)]
pub(crate) struct HeldPort(#[allow(dead_code, reason = "it is held, not used")] TcpSocket);

/// Holds ports by sockets that never listen, so they get no connections. Programs of the fleet bind them with `SO_REUSEPORT`, which another
/// fleet of this user could do too; but its supervisor [checks](check) the ports first, without that option, and is refused.
pub(crate) fn hold(ports: &[WantedPort]) -> Vec<HeldPort> {
    let mut held = Vec::new();
    for WantedPort { address, setting } in ports.iter().filter(|port| port.address.port() != 0) {
        match hold_one(*address) {
            Ok(port) => held.push(port),
            Err(error) => {
                tracing::warn!(%address, setting, %error, "cannot hold a port; another fleet of this user could share it");
            }
        }
    }
    held
}

fn hold_one(address: SocketAddr) -> io::Result<HeldPort> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(HeldPort(socket))
}

/// Returns `address` with a port that is free now, if its port is 0.
///
/// # Errors
/// No port is free.
pub(crate) fn with_free_port(address: SocketAddr) -> io::Result<SocketAddr> {
    if address.port() == 0 { TcpListener::bind(address)?.local_addr() } else { Ok(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(address: SocketAddr, setting: &str) -> WantedPort {
        WantedPort { address, setting: setting.to_owned() }
    }

    #[tokio::test]
    async fn held_port_is_refused_to_others_and_gets_no_connection() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = [wanted(address, "--coordinator-listen (COORDINATOR_LISTEN)")];
        check(&port).unwrap();
        let held = hold(&port);
        assert_eq!(held.len(), 1);
        check(&port).unwrap_err();
        // A program of the fleet.
        let HeldPort(program) = hold_one(address).unwrap();
        let program = program.listen(16).unwrap();
        for _ in 0..20 {
            let client = tokio::net::TcpStream::connect(address).await.unwrap();
            assert_eq!(program.accept().await.unwrap().1, client.local_addr().unwrap());
        }
    }

    #[test]
    fn ports_in_use_are_named_with_their_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = wanted(taken.unwrap(), "--health-port (HEALTH_PORT)");
        let used = wanted(held.local_addr().unwrap(), "--coordinator-listen (COORDINATOR_LISTEN)");
        check(&[free.clone(), wanted("127.0.0.1:0".parse().unwrap(), "x")]).unwrap();
        let refused = check(&[free.clone(), used]).unwrap_err();
        assert!(refused.contains("--coordinator-listen") && refused.contains("in use"), "{refused}");
        let twice = wanted(free.address, "--manager-health-port (MANAGER_HEALTH_PORT)");
        let refused = check(&[free, twice]).unwrap_err();
        assert!(refused.contains("--manager-health-port") && refused.contains("--health-port"), "{refused}");
    }
}
