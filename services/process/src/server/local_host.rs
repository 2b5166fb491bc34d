//! Whether a request names this machine: what a port on the loopback accepts against DNS rebinding. Pure.

use std::net::IpAddr;

use http::{HeaderMap, header, request::Parts, uri::Authority};

/// Whether a request's only `Host`, and its target if that has a host, are `localhost` or a loopback address.
///
/// A web page can reach a port on the loopback by a name that resolves to the loopback. Then the host is that name.
pub fn is_for_localhost(head: &Parts) -> bool {
    has_one_local_host(&head.headers) && head.uri.authority().is_none_or(is_local)
}

fn has_one_local_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()?.trim().parse().ok());
    host.is_some_and(|host| is_local(&host)) && hosts.next().is_none()
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    let is_local = match ip {
        Ok(IpAddr::V4(ip)) => ip.is_loopback(),
        Ok(IpAddr::V6(ip)) => ip.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    is_local && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_local(uri: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        is_for_localhost(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_local_hosts_are_accepted() {
        for host in
            ["localhost", "LocalHost:3080", "127.0.0.1:1", "127.9.9.9", "[::1]:3080", "[::ffff:127.0.0.1]"]
        {
            assert!(is_local("/", &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "0.0.0.0",
            "",
            "127.0.0.1@evil",
            "x y",
        ] {
            assert!(!is_local("/", &[host]), "{host}");
        }
        assert!(!is_local("/", &["127.0.0.1", "evil.example"]));
        assert!(!is_local("/", &[]));
        assert!(!is_local("http://evil.example/", &["127.0.0.1"]));
    }
}
