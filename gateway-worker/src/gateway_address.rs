//! Which addresses the bot's token may be sent to.
//!
//! RESUME and IDENTIFY carry the token, and the addresses that they go to come from outside: the coordinator, READY, a
//! checkpoint, another worker's copy. Each passes through here, whatever its source. A connection is opened only to a
//! [`GatewayAddress`], and only a [`Trust`] and the [`Gateway`] that it lets through make one. Pure.
//!
//! Against Discord itself that is `wss://` to a subdomain of `discord.gg` at the default port. A stand-in or a proxy is
//! trusted when the worker's own settings name it, and then at exactly that scheme, host and port.

use settings::{ApiOrigin, GatewayUrl};
use url::{Host, Url};

/// The domain of Discord's gateways; they are subdomains of it.
const DISCORD: &str = "discord.gg";
/// Longer addresses are refused.
const LONGEST: usize = 512;

/// An address that the token may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayAddress(Url);

/// Why the token must not be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressRefused {
    /// It is no URL, or one that parsers read in different ways.
    #[error("it is not a plain URL")]
    Malformed,
    /// It is neither `ws` nor `wss`.
    #[error("its scheme is neither ws nor wss")]
    Scheme,
    /// It holds a user, a password, a query or a fragment.
    #[error("it holds a user, a query or a fragment")]
    Extras,
    /// It is not below discord.gg, and the settings name no other server.
    #[error("it is not wss:// to a subdomain of discord.gg at the default port, without a path")]
    NotDiscord,
    /// It is not the gateway that the settings name, or that the connection goes to.
    #[error("its scheme, host or port is not that of the configured gateway")]
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

    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

/// What the worker's own settings say of the gateway.
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

    /// Returns the gateway to connect to: the configured one, or else `told`, what the coordinator says.
    ///
    /// # Errors
    /// The address is not Discord's, nor at the host and port of `DISCORD_API_URL`.
    pub(crate) fn gateway(&self, told: &str) -> Result<Gateway, AddressRefused> {
        if let Some(own) = &self.gateway {
            return parse(own.as_str()).map(|url| Gateway(GatewayAddress(url)));
        }
        let url = parse(told)?;
        let is_trusted = is_discord(&url) || self.api.as_ref().is_some_and(|api| is_served_by(&url, api));
        if is_trusted { Ok(Gateway(GatewayAddress(url))) } else { Err(AddressRefused::NotDiscord) }
    }
}

/// The gateway that sessions begin at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway(GatewayAddress);

impl Gateway {
    /// Returns its own address.
    pub(crate) fn address(&self) -> &GatewayAddress {
        &self.0
    }

    /// Returns the address of a `resume_gateway_url`, from wherever it comes.
    ///
    /// # Errors
    /// The token must not be sent there.
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

/// Reads a URL, and refuses what the URL standard would quietly repair: spaces, control characters, backslashes, other
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

/// Whether it is at the host and port of a REST API that is not Discord's: a stand-in serves both. What is spoken to with
/// TLS is not spoken to without.
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
