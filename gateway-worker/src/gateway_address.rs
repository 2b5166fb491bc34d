//! Which addresses the bot's token may be sent to.
//!
//! RESUME and IDENTIFY carry the token, and the addresses for them come from outside: the coordinator, READY, a
//! checkpoint, another worker's copy. All are checked here. A connection is opened only to a [`GatewayAddress`], which
//! only [`Trust`] and [`Gateway`] create. Pure.
//!
//! For Discord that means `wss://` to a subdomain of `discord.gg` at the default port. A stand-in or proxy is trusted
//! only when the worker's settings name it, at exactly that scheme, host and port.

use process::settings::{ApiOrigin, GatewayUrl};
use url::{Host, Url};

/// The parent domain of Discord's gateways.
const DISCORD: &str = "discord.gg";
/// Longer addresses are refused.
const LONGEST: usize = 512;

/// An address that the token may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayAddress(Url);

/// Why the token must not be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressRefused {
    /// Not a URL, or one that parsers read in different ways.
    #[error("not a plain URL")]
    Malformed,
    /// Neither `ws` nor `wss`.
    #[error("the scheme is neither ws nor wss")]
    Scheme,
    /// A user, a password, a query or a fragment is present.
    #[error("it contains a user, a query or a fragment")]
    Extras,
    /// Not a subdomain of discord.gg, and the settings name no other server.
    #[error("not wss:// to a subdomain of discord.gg at the default port, without a path")]
    NotDiscord,
    /// Not the configured gateway, or the one of the present connection.
    #[error("scheme, host or port differ from the configured gateway")]
    NotConfigured,
}

impl GatewayAddress {
    /// Returns the URL to connect to, with `query` after a path that ends with a slash.
    pub(crate) fn with_query(&self, query: &str) -> String {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/", self.0.path().trim_end_matches('/')));
        url.set_query(Some(query));
        url.into()
    }

    /// Returns the host to look up, its port, and whether it is reached by TLS.
    pub(crate) fn server(&self) -> (&str, u16, bool) {
        // IPv6 addresses stand in brackets, with which they cannot be looked up.
        let host = self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        (host, port(&self.0).unwrap_or_default(), self.0.scheme() == "wss")
    }

    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

/// The gateway as the worker's own settings name it.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    gateway: Option<GatewayUrl>,
    api: Option<ApiOrigin>,
}

impl Trust {
    /// Takes `DISCORD_GATEWAY_URL` and `DISCORD_API_URL`, as they are set.
    pub(crate) fn new(gateway: Option<GatewayUrl>, api: Option<ApiOrigin>) -> Self {
        Self { gateway, api }
    }

    /// Returns the gateway to connect to: the configured one, or else `told`, the coordinator's.
    ///
    /// # Errors
    /// `told` is neither Discord's nor at the host and port of `DISCORD_API_URL`.
    pub(crate) fn gateway(&self, told: &str) -> Result<Gateway, AddressRefused> {
        if let Some(own) = &self.gateway {
            return parse(own.as_str()).map(|url| Gateway(GatewayAddress(url)));
        }
        let url = parse(told)?;
        let is_trusted = is_discord(&url) || self.api.as_ref().is_some_and(|api| is_served_by(&url, api));
        if is_trusted { Ok(Gateway(GatewayAddress(url))) } else { Err(AddressRefused::NotDiscord) }
    }
}

/// The gateway at which sessions begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway(GatewayAddress);

impl Gateway {
    /// Returns its own address.
    pub(crate) fn address(&self) -> &GatewayAddress {
        &self.0
    }

    /// Checks a `resume_gateway_url` from any source.
    ///
    /// # Errors
    /// The token must not be sent to that address.
    pub(crate) fn resume(&self, url: &str) -> Result<GatewayAddress, AddressRefused> {
        let url = parse(url)?;
        let gateway = &self.0.0;
        if is_discord(gateway) {
            return if is_discord(&url) { Ok(GatewayAddress(url)) } else { Err(AddressRefused::NotDiscord) };
        }
        if server(gateway) == server(&url) {
            Ok(GatewayAddress(url))
        } else {
            Err(AddressRefused::NotConfigured)
        }
    }
}

/// Parses a URL, rejecting what the URL standard would silently repair: spaces, control characters, backslashes, other
/// alphabets.
fn parse(text: &str) -> Result<Url, AddressRefused> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'%');
    if text.is_empty() || text.len() > LONGEST || !is_plain {
        return Err(AddressRefused::Malformed);
    }
    let url = Url::parse(text).map_err(|_| AddressRefused::Malformed)?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(AddressRefused::Scheme);
    }
    let has_user = !url.username().is_empty() || url.password().is_some() || text.contains('@');
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err(AddressRefused::Extras);
    }
    if url.host_str().is_none_or(str::is_empty) || port(&url).is_none_or(|port| port == 0) {
        return Err(AddressRefused::Malformed);
    }
    Ok(url)
}

fn is_discord(url: &Url) -> bool {
    let is_below = match url.host() {
        Some(Host::Domain(name)) => name
            .strip_suffix(DISCORD)
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| labels.split('.').all(|label| !label.is_empty())),
        _ => false,
    };
    is_below && url.scheme() == "wss" && port(url) == Some(443) && url.path() == "/"
}

/// Whether a URL is at the host and port of a REST API that is not Discord's, as with a stand-in that serves both. An
/// API with TLS needs a gateway with TLS.
fn is_served_by(url: &Url, api: &ApiOrigin) -> bool {
    let (host, api_port) = api.server();
    url.host_str() == Some(host)
        && port(url) == Some(api_port)
        && (api.is_plain_http() || url.scheme() == "wss")
}

fn server(url: &Url) -> (&str, Option<&str>, Option<u16>) {
    (url.scheme(), url.host_str(), port(url))
}

fn port(url: &Url) -> Option<u16> {
    url.port_or_known_default()
}

#[cfg(test)]
mod tests;
