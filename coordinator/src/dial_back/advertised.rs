//! Looks up the addresses that workers advertise.

use std::{net::SocketAddr, time::Duration};

use fleet_model::{AdvertisedAddress, AdvertisedHost, is_one_host};
use tokio::{net::lookup_host, time::timeout};

/// How many addresses of one name are tried.
const ADDRESSES: usize = 8;

/// Returns the socket addresses of a worker; none when its name is not found within `patience`.
pub(super) async fn look_up(advertised: AdvertisedAddress<'_>, patience: Duration) -> Vec<SocketAddr> {
    let port = advertised.port;
    let name = match advertised.host {
        AdvertisedHost::Ip(ip) => return vec![SocketAddr::new(ip, port)],
        AdvertisedHost::Name(name) => name,
    };
    match timeout(patience, lookup_host((name, port))).await {
        Ok(Ok(found)) => found.filter(|address| is_one_host(address.ip())).take(ADDRESSES).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(url: &str, patience: Duration) -> Vec<SocketAddr> {
        look_up(AdvertisedAddress::parse(url).unwrap(), patience).await
    }

    #[tokio::test]
    async fn only_names_are_looked_up() {
        assert_eq!(found("http://127.0.0.1:7", Duration::ZERO).await, ["127.0.0.1:7".parse().unwrap()]);
        let local = found("http://localhost:7", Duration::from_secs(2)).await;
        assert!(!local.is_empty() && local.iter().all(|address| address.ip().is_loopback()));
    }
}
