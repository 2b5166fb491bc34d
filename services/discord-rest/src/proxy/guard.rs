//! Decides from a request's head whether the proxy accepts it. Pure.
//!
//! A web page can reach a port on the loopback, by its address or by a name that resolves to the loopback (DNS rebinding). Bots
//! are not browsers: requests with a browser's headers are rejected, and so are hosts other than this machine. Over TLS the client has
//! checked the name in the certificate, which such a page's name is not.

use http::{HeaderName, StatusCode, header, request::Parts};
use process::{credentials::Peer, server::is_for_localhost};

use super::RestOptions;
use crate::{
    Caller,
    route::{Kind, Route},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestRejected {
    NotEncrypted,
    WebPage,
    Host,
    Gateway,
    NoToken,
    OtherToken,
}

impl RequestRejected {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::NotEncrypted => StatusCode::BAD_REQUEST,
            Self::WebPage | Self::Host | Self::Gateway => StatusCode::FORBIDDEN,
            Self::NoToken | Self::OtherToken => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::NotEncrypted => {
                "callers on other hosts must use https://. A token in this request was sent without encryption, and may be known to \
                 others now: replace it"
            }
            Self::WebPage => {
                "this proxy refuses requests from web pages (Origin or Sec-Fetch-Site is set): call it from a bot"
            }
            Self::Host => {
                "this proxy listens on the loopback, so Host must be localhost or a loopback address: use one of these, \
                 or let it listen on another address (REST_LISTEN)"
            }
            Self::Gateway => {
                "this proxy has no gateway to name: the workers hold this bot's connections to Discord's, and a second one would get \
                 every event twice. Set GATEWAY_LISTEN on the workers, so that bots connect to them, or REST_ALLOW_GATEWAY=true to \
                 let this request through to Discord"
            }
            Self::NoToken => {
                "401: Unauthorized: this request needs the bot's token in its Authorization header"
            }
            Self::OtherToken => {
                "401: Unauthorized: this proxy accepts only the token of its own bot (DISCORD_TOKEN of the workers), as \"Bot TOKEN\": \
                 use that, or set REST_ALLOW_ANY_TOKEN=true on the workers"
            }
        }
    }

    /// The metric label.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NotEncrypted => "not_encrypted",
            Self::WebPage => "web_page",
            Self::Host => "host",
            Self::Gateway => "gateway",
            Self::NoToken | Self::OtherToken => "other_token",
        }
    }
}

/// The proxy's port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    /// Whether it listens on the loopback.
    pub(super) on_loopback: bool,
    /// Whether callers on other hosts need TLS. The worker's own bot code needs none.
    pub(super) has_certificate: bool,
}

/// Rejects requests from web pages, for other hosts, and without encryption from other hosts.
pub(super) fn check_sender(head: &Parts, peer: Option<&Peer>, port: Port) -> Result<(), RequestRejected> {
    let is_tls = peer.is_some_and(|peer| peer.is_tls);
    if port.has_certificate && !is_tls && !peer.is_some_and(|peer| peer.is_on_this_host) {
        return Err(RequestRejected::NotEncrypted);
    }
    // Node's fetch always sets Sec-Fetch-Mode to cors. Browsers that do set Origin or Sec-Fetch-Site as well.
    let is_browser = head.headers.get(&SEC_FETCH_MODE).is_some_and(|mode| mode != "cors");
    if is_browser || head.headers.contains_key(header::ORIGIN) || head.headers.contains_key(&SEC_FETCH_SITE) {
        return Err(RequestRejected::WebPage);
    }
    if port.on_loopback && !is_tls && !is_for_localhost(head) {
        return Err(RequestRejected::Host);
    }
    Ok(())
}

/// Rejects routes and tokens that this proxy does not serve.
pub(super) fn check_request(
    route: &Route,
    caller: &Caller,
    options: &RestOptions,
) -> Result<(), RequestRejected> {
    if route.is_gateway && !options.allows_gateway && options.gateway.is_none() {
        return Err(RequestRejected::Gateway);
    }
    match &options.only_token {
        Some(_) if !caller.has_token() && route.kind == Kind::Bot => Err(RequestRejected::NoToken),
        Some(own) if caller.has_token() && !caller.has_same_token(own) => Err(RequestRejected::OtherToken),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const LOOPBACK: Port = Port { on_loopback: true, has_certificate: false };
    const OPEN: Port = Port { on_loopback: false, has_certificate: false };

    fn peer(is_on_this_host: bool, is_tls: bool) -> Peer {
        Peer::without_certificate(None, is_on_this_host, is_tls)
    }

    #[test]
    fn other_hosts_need_tls_once_there_is_a_certificate() {
        let head = head("/", &[("host", "rest.example")]);
        for (is_on_this_host, is_tls, taken) in
            [(false, false, false), (false, true, true), (true, false, true), (true, true, true)]
        {
            let peer = peer(is_on_this_host, is_tls);
            let port = Port { has_certificate: true, ..OPEN };
            assert_eq!(check_sender(&head, Some(&peer), port).is_ok(), taken, "{peer:?}");
            assert_eq!(check_sender(&head, Some(&peer), OPEN), Ok(()));
        }
        // Over TLS the client has checked the name; in plain it may be a web page.
        let port = Port { has_certificate: true, ..LOOPBACK };
        assert_eq!(check_sender(&head, Some(&peer(true, true)), port), Ok(()));
        assert_eq!(check_sender(&head, Some(&peer(true, false)), port), Err(RequestRejected::Host));
    }

    #[test]
    fn loopback_accepts_only_local_hosts() {
        assert_eq!(check_sender(&head("/", &[("host", "localhost:3080")]), None, LOOPBACK), Ok(()));
        for hosts in
            [&[("host", "evil.example")][..], &[("host", "127.0.0.1"), ("host", "evil.example")], &[]]
        {
            assert_eq!(
                check_sender(&head("/", hosts), None, LOOPBACK),
                Err(RequestRejected::Host),
                "{hosts:?}"
            );
            assert_eq!(check_sender(&head("/", hosts), None, OPEN), Ok(()), "{hosts:?}");
        }
        let absolute = head("http://evil.example/", &[("host", "127.0.0.1")]);
        assert_eq!(check_sender(&absolute, None, LOOPBACK), Err(RequestRejected::Host));
    }

    #[test]
    fn web_pages_are_refused_and_node_is_not() {
        for (name, value, taken) in [
            ("origin", "http://evil.example", false),
            ("origin", "null", false),
            ("origin", "", false),
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-mode", "no-cors", false),
            ("sec-fetch-mode", "navigate", false),
            ("sec-fetch-mode", "cors", true),
        ] {
            for port in [LOOPBACK, OPEN] {
                let head = head("/", &[("host", "127.0.0.1"), (name, value)]);
                assert_eq!(check_sender(&head, None, port).is_ok(), taken, "{name}: {value}");
            }
        }
    }

    #[test]
    fn only_the_bots_own_token_is_accepted() {
        let own = RestOptions { only_token: Some(Caller::bot("own")), ..RestOptions::default() };
        let any = RestOptions::default();
        for (method, path, authorization, wanted) in [
            ("GET", "/api/v10/users/@me", Some("Bot own"), Ok(())),
            ("GET", "/api/v10/users/@me", Some("bot own"), Ok(())),
            ("GET", "/api/v10/users/@me", Some("Bot other"), Err(RequestRejected::OtherToken)),
            ("GET", "/api/v10/users/@me", Some("Bearer own"), Err(RequestRejected::OtherToken)),
            ("GET", "/api/v10/users/@me", Some("own"), Err(RequestRejected::OtherToken)),
            ("GET", "/api/v10/users/@me", Some(""), Err(RequestRejected::OtherToken)),
            ("GET", "/api/v10/users/@me", None, Err(RequestRejected::NoToken)),
            ("POST", "/api/v10/webhooks/7/token", None, Ok(())),
            ("POST", "/api/v10/webhooks/7/token", Some("Bot other"), Err(RequestRejected::OtherToken)),
            ("POST", "/api/v10/interactions/7/token/callback", None, Ok(())),
            ("POST", "/api/v10/interactions/7/token/callback", Some("Bot own"), Ok(())),
            (
                "POST",
                "/api/v10/interactions/7/token/callback",
                Some("Bot x"),
                Err(RequestRejected::OtherToken),
            ),
            ("GET", "/api/v10/gateway/bot", Some("Bot own"), Err(RequestRejected::Gateway)),
        ] {
            let route = Route::of(&method.parse::<Method>().unwrap(), path, 0).unwrap();
            let authorization = authorization.map(|value| value.parse().unwrap());
            let caller = Caller::of(authorization.as_ref());
            assert_eq!(check_request(&route, &caller, &own), wanted, "{path} {authorization:?}");
            assert_eq!(check_request(&route, &caller, &any).is_ok(), !route.is_gateway, "{path}");
        }
    }
}
