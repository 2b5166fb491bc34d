//! Parses the addresses that workers advertise: `http://HOST:PORT`, or `https://` with credentials, and nothing else.
//!
//! The coordinator dials them, so they must name only a host and a port: no user, path or query, and no host that one
//! resolver reads as a number and another as a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest host name in characters ([RFC 1035](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
const LONGEST_HOST: usize = 253;

/// The host and port under which a worker is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisedAddress<'a> {
    /// The host.
    pub host: AdvertisedHost<'a>,
    /// The TCP port, from 1.
    pub port: u16,
}

/// The host of an advertised address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvertisedHost<'a> {
    /// The address of one host: not unspecified, broadcast or multicast.
    Ip(IpAddr),
    /// A name to look up.
    Name(&'a str),
}

impl<'a> AdvertisedAddress<'a> {
    /// Parses `http://HOST:PORT` or `https://HOST:PORT`.
    ///
    /// # Errors
    /// What is wrong, as it follows "the advertised address ...".
    pub fn parse(url: &'a str) -> Result<Self, &'static str> {
        const FORM: &str = "is not of the form http://HOST:PORT or https://HOST:PORT";
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or(FORM)?;
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':').ok_or(FORM)?;
        if !(1..=5).contains(&port.len()) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FORM);
        }
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or("needs a port from 1 to 65535")?;
        let host = if let Some(ip) = host.strip_prefix('[') {
            AdvertisedHost::Ip(IpAddr::V6(ip.strip_suffix(']').and_then(|ip| ip.parse().ok()).ok_or(FORM)?))
        } else if let Ok(ip) = host.parse::<Ipv4Addr>() {
            AdvertisedHost::Ip(IpAddr::V4(ip))
        } else if is_name(host) {
            AdvertisedHost::Name(host)
        } else {
            return Err(FORM);
        };
        if let AdvertisedHost::Ip(ip) = host
            && !is_one_host(ip)
        {
            return Err("is not the address of a single host");
        }
        Ok(Self { host, port })
    }
}

/// Whether this is a host name, and not a number in a form that some resolvers accept (`2130706433`, `0x7f.1`,
/// `017700000001`). Those end with a label that begins with a digit, which no top-level domain does.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .or_else(|| last.strip_prefix("0X"))
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= LONGEST_HOST && host.split('.').all(label) && !is_number
}

/// Whether this is a unicast address, and not the unspecified one.
pub fn is_one_host(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_none = match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_broadcast(),
        IpAddr::V6(ip) => ip == Ipv6Addr::UNSPECIFIED,
    };
    !is_none && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_accepted() {
        for url in [
            "http://127.0.0.1:50052",
            "http://127.0.0.1:50052/",
            "http://[::1]:1",
            "http://[fe80::1:2]:65535",
            "http://worker-a:80",
            "http://worker_a.bots.svc.cluster.local:50052",
            "http://worker.svc.:50052",
            "http://3com.example.org:50052",
            "http://9f86d081884c:50052",
        ] {
            assert!(
                AdvertisedAddress::parse(url).is_ok(),
                "{url}: {}",
                AdvertisedAddress::parse(url).unwrap_err()
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("http://{}:1", "a".repeat(300));
        for url in [
            "",
            "http://",
            "http://:1",
            "127.0.0.1:1",
            "httpsx://h:1",
            "https://http://h:1",
            "https://u@h:1",
            "https://h",
            "HTTP://h:1",
            "ws://h:1",
            "file:///etc/passwd",
            "http://h",
            "http://h:",
            "http://h:0",
            "http://h:65536",
            "http://h:+80",
            "http://h: 80",
            "http://h:080808",
            "http://u@h:1",
            "http://u:p@h:1",
            "http://h:1/path",
            "http://h:1//",
            "http://h:1?q",
            "http://h:1#f",
            "http://h:1@x:2",
            "http://0:1",
            "http://0.0.0.0:1",
            "http://0.1.2.3:1",
            "http://[::]:1",
            "http://[::ffff:0.0.0.0]:1",
            "http://255.255.255.255:1",
            "http://224.0.0.1:1",
            "http://[ff02::1]:1",
            "http://2130706433:1",
            "http://0x7f000001:1",
            "http://0x:1",
            "http://017700000001:1",
            "http://127.1:1",
            "http://127.0.0.01:1",
            "http://0x7f.0.0.1:1",
            "http://1.2.3.4.5:1",
            "http://[1.2.3.4]:1",
            "http://[::1:1",
            "http://::1:1",
            "http://[fe80::1%lo]:1",
            "http://a..b:1",
            "http://.a:1",
            "http://a b:1",
            "http://a\nb:1",
            "http://a\u{0}:1",
            "http://\u{ff11}:1",
            "http://h\u{e9}:1",
            "http://a\\b:1",
            &long,
        ] {
            assert!(AdvertisedAddress::parse(url).is_err(), "{url:?} passed");
        }
    }
}
